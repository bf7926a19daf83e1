package outpost

import "time"

// Observer is told what happens to services, for metrics and records. Its methods must not block and are called
// concurrently.
type Observer interface {
	// ServiceStarted is called once for each accepted start when it has ended. An empty reason means that the server
	// runs, else it is a short word of a closed set: the error's Reason or kind, "cancelled" for a stop meanwhile.
	ServiceStarted(s Subject, d time.Duration, reason string)
	// StartRefused is called for each start that was refused before anything was made.
	StartRefused(s Subject, reason string)
	// ServiceEnded is called once by each process that finds a service ended by itself. Reason is Kubernetes' own word.
	ServiceEnded(s Subject, exitCode int, reason string)
	// ServiceStopped is called once for each service whose objects and row are gone. Why is one of lifecycle's Stop
	// constants.
	ServiceStopped(s Subject, d time.Duration, why string)
	// StopRetried is called for each try of a removal that failed and will be tried again.
	StopRetried(hub string)
	// HubCalled is called for each call back to a hub: call is event, notice, flavors, tunnel, restart or servers.
	HubCalled(hub, call string, err error)
}

// Subject is the service that something happens to. What a request says of a start that is refused has not been judged.
type Subject struct {
	Key
	User   string // JUPYTERHUB_USER
	UserID int
	Flavor string // empty for none
	State  State  // names of its objects; nil if none were planned
}

// SubjectOf is the subject of a request.
func SubjectOf(r StartRequest) Subject {
	return Subject{Key: r.Key, User: r.Body.Env[EnvUser], UserID: r.UserID, Flavor: r.Flavor}
}

// EnvUser is the variable of a request in which the hub names the user.
const EnvUser = "JUPYTERHUB_USER"

// NoObserver discards.
type NoObserver struct{}

// ServiceStarted implements [Observer].
func (NoObserver) ServiceStarted(Subject, time.Duration, string) {}

// StartRefused implements [Observer].
func (NoObserver) StartRefused(Subject, string) {}

// ServiceEnded implements [Observer].
func (NoObserver) ServiceEnded(Subject, int, string) {}

// ServiceStopped implements [Observer].
func (NoObserver) ServiceStopped(Subject, time.Duration, string) {}

// StopRetried implements [Observer].
func (NoObserver) StopRetried(string) {}

// HubCalled implements [Observer].
func (NoObserver) HubCalled(string, string, error) {}
