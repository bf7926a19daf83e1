package outpost

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// Manager decides about services: it checks requests, keeps what runs in memory and in the Store, lets the Spawner
// make and remove pods, and calls the hubs back. All methods are safe for concurrent use.
type Manager struct {
	store    Store
	spawner  Spawner
	hubAPI   HubAPI
	opts     Options
	log      *slog.Logger
	observer Observer
	hubs     map[string]Hub
	flavors  atomic.Pointer[Flavors]
	credits  atomic.Pointer[Flavors]
}

// Options is what a Manager may be given beside its ports. The zero value works: no hubs, no flavors, no limits.
type Options struct {
	// Hubs may ask this outpost. A request of a hub that is not among them is KindUnauthorized.
	Hubs []Hub
	// Flavors and Credits are the loaded files; nil means not configured. SetFlavors and SetCredits replace them.
	Flavors, Credits *Flavors
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

// Observer is told what happened, for metrics. Its methods must not block and are called concurrently.
type Observer interface {
	// ServiceStarted is called once for each accepted start when it has ended: err nil means it runs. Reason is a
	// short word of a closed set (Reason of the error, else its kind; "cancelled" for a stop meanwhile).
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

// Why a service was stopped, for Observer and the log.
const (
	StopAsked   = "asked"   // the hub's DELETE
	StopFailed  = "failed"  // its start failed
	StopEnded   = "ended"   // past its end date
	StopUnknown = "unknown" // its hub no longer knows it
	StopLost    = "lost"    // left over by an interrupted process
)

// PollResult is what a poll tells the hub. The zero value means running.
type PollResult struct {
	Ended    bool
	ExitCode int      // meaningful if Ended
	Logs     []string // oldest first; nil if none were asked for or there are none
}

// StopOptions says how a hub asked for a stop.
type StopOptions struct {
	Async       bool // answer at once, stop in the background
	CollectLogs bool // return the last log lines; ignored if Async
}

// Count is the number of services of one hub in one state: starting, running, ended, stopping.
type Count struct {
	Hub, State string
	Services   int
}

// New makes a Manager. It starts nothing: Run and RunLeader do.
func New(store Store, spawner Spawner, hubAPI HubAPI, opts Options) (*Manager, error) {
	return nil, errors.New("not yet")
}

// Run loads the services from the Store and does the work that every process does (writes LastUpdate, follows other
// processes' changes if Shared, renews tunnels once) until ctx ends. Then it cancels starts that are under way,
// without removing anything, and waits for its goroutines: the next process finishes or rolls back what is left.
func (m *Manager) Run(ctx context.Context) error { return errors.New("not yet") }

// RunLeader does the work that only one process may do at a time, until ctx ends: it reconciles rows and pods at
// once and every few minutes, ends services past their end date, and cleans up what hubs no longer know.
// Polls are answered "running" until the first reconciliation is done (if Shared: until Run has loaded the rows).
func (m *Manager) RunLeader(ctx context.Context) error { return errors.New("not yet") }

// Ready tells whether the services are loaded and database and Kubernetes answer; nil if so.
func (m *Manager) Ready(ctx context.Context) error { return errors.New("not yet") }

// Start starts a service and returns its address "http://host:port", or "" at once if r.Async. The start goes on
// when ctx ends. Errors: KindInvalid, KindConflict (this key exists), KindQuota, KindFailed, KindUnavailable.
func (m *Manager) Start(ctx context.Context, r StartRequest) (string, error) {
	return "", errors.New("not yet")
}

// Poll tells whether a service runs. It needs neither Store nor cluster for a service that is in memory.
// Errors: KindNotFound only if the service is certainly gone; KindInternal if its row cannot be opened.
func (m *Manager) Poll(ctx context.Context, k Key, collectLogs bool) (PollResult, error) {
	return PollResult{}, errors.New("not yet")
}

// Stop removes a service in whatever state it is, cancelling its start. It returns when the pod and the row are gone
// (at once if o.Async); a second Stop joins the first and returns nil logs, the first one non-nil.
// Errors: KindNotFound; KindUnavailable if the pod could not be removed yet (it is tried again in the background).
func (m *Manager) Stop(ctx context.Context, k Key, o StopOptions) ([]string, error) {
	return nil, errors.New("not yet")
}

// List returns the services of a hub by start date.
func (m *Manager) List(ctx context.Context, hub string) ([]Summary, error) {
	return nil, errors.New("not yet")
}

// Flavors returns the flavors of a hub, each with "current", the number of the hub's services of it.
func (m *Manager) Flavors(ctx context.Context, hub string) (map[string]Flavor, error) {
	return nil, errors.New("not yet")
}

// UserFlavors returns the flavors of one user of a hub; authentication is decoded JSON, nil or an object.
func (m *Manager) UserFlavors(ctx context.Context, hub string, authentication any) (map[string]Flavor, error) {
	return nil, errors.New("not yet")
}

// Credits returns the credit definitions of a hub.
func (m *Manager) Credits(hub string) (map[string]Flavor, error) { return nil, errors.New("not yet") }

// UserCredits returns the credit definitions of one user of a hub. Forbidden users get each with cap 0.
func (m *Manager) UserCredits(hub string, authentication any) (map[string]Flavor, error) {
	return nil, errors.New("not yet")
}

// SetFlavors replaces the flavors file, SetCredits the credits file; nil means not configured.
func (m *Manager) SetFlavors(f *Flavors) { m.flavors.Store(f) }

// SetCredits replaces the credits file; nil means not configured.
func (m *Manager) SetCredits(f *Flavors) { m.credits.Store(f) }

// PermitOpen tells whether a hub may open host and port by SSH: only the address of one of its running services.
// Address is what to dial, "host:port".
func (m *Manager) PermitOpen(ctx context.Context, hub, host string, port int) (address string, ok bool) {
	return "", false
}

// Counts returns how many services there are in memory, for gauges.
func (m *Manager) Counts() []Count { return nil }
