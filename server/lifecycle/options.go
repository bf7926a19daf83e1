package lifecycle

import (
	"context"
	"log/slog"
	"time"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Options is what a Manager may be given beside its ports. The zero value works: no hubs, no flavors, no limits.
type Options struct {
	// Hubs are allowed to use this outpost. A request of a hub that is not among them is KindUnauthorized.
	Hubs []outpost.Hub
	// Flavors and Credits are the loaded files; nil means not configured. SetFlavors and SetCredits replace them.
	Flavors, Credits *flavor.Flavors
	// GlobalMaxPerUser limits the services of one user of one hub, of any flavor; nil or -1 is no limit.
	GlobalMaxPerUser *int
	// Shared says that other processes work on the same Store: what they start and stop is looked up there, and
	// their unfinished work is taken over only when it has not been touched for a minute.
	Shared bool
	// EndDates is how often RunLeader looks for services past their end date: 0 is 60 s, negative never.
	EndDates time.Duration
	// Cleanup is how often RunLeader asks each hub (Hub.Servers) for its servers: 0 is 1800 s, negative never.
	Cleanup time.Duration
	// CleanupAge is how old a service must be before the clean-up stops it: 0 is 1800 s.
	CleanupAge time.Duration
	// Touch is how often LastUpdate is written: 0 is 10 s.
	Touch time.Duration
	// Reconcile is how often RunLeader compares rows and pods: 0 is 5 min.
	Reconcile time.Duration
	// LogLines is how many lines of a server's log are collected: 0 is 100.
	LogLines int
	// Reachable waits until this outpost's SSH and HTTP can be reached from outside; tunnels are renewed after it.
	// Nil is at once.
	Reachable func(ctx context.Context) error
	// Logger gets one line for each change of a service; nil discards.
	Logger *slog.Logger
	// Observer gets figures for metrics; nil discards.
	Observer Observer
	// Now is the wall clock; nil is time.Now. Waiting always uses package time.
	Now func() time.Time
}

// withDefaults fills in what the zero value stands for.
func (o Options) withDefaults() Options {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&o.EndDates, time.Minute)
	set(&o.Cleanup, 30*time.Minute)
	set(&o.CleanupAge, 30*time.Minute)
	set(&o.Touch, 10*time.Second)
	set(&o.Reconcile, 5*time.Minute)
	if o.LogLines == 0 {
		o.LogLines = 100
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Observer == nil {
		o.Observer = noObserver{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Observer is told what happened, for metrics. Its methods must not block and are called concurrently.
type Observer interface {
	// ServiceStarted is called once for each accepted start when it has ended. An empty reason means that the server
	// runs, else it is a short word of a closed set: the error's Reason or kind, "cancelled" for a stop meanwhile.
	ServiceStarted(hub string, d time.Duration, reason string)
	// StartRefused is called for each start that was refused before anything was made.
	StartRefused(hub string, reason string)
	// ServiceStopped is called once for each service whose objects and row are gone. Why is one of the Stop constants.
	ServiceStopped(hub string, d time.Duration, why string)
	// StopRetried is called for each try of a removal that failed and will be tried again.
	StopRetried(hub string)
	// HubCalled is called for each call back to a hub: call is event, flavors, tunnel, restart or servers.
	HubCalled(hub, call string, err error)
}

// noObserver discards.
type noObserver struct{}

func (noObserver) ServiceStarted(string, time.Duration, string) {}
func (noObserver) StartRefused(string, string)                  {}
func (noObserver) ServiceStopped(string, time.Duration, string) {}
func (noObserver) StopRetried(string)                           {}
func (noObserver) HubCalled(string, string, error)              {}

// Why a service was stopped, for Observer and the log.
const (
	StopAsked   = "asked"   // the hub's DELETE
	StopFailed  = "failed"  // its start failed
	StopEnded   = "ended"   // past its end date
	StopUnknown = "unknown" // its hub no longer knows it
	StopLost    = "lost"    // left over by an interrupted process
)
