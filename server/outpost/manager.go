// Package outpost is the domain of the server: what an outpost does for its hubs, not with what.
//
// A hub asks for a single-user server (a [Service]); the Manager checks flavor and quota, stores the service and
// lets a [Spawner] make it. Everything outside (database, Kubernetes, hubs) is behind the interfaces of ports.go.
package outpost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outposts-dev/outposts/server/flavor"
)

// Options is what a Manager may be given beside its ports. The zero value works: no hubs, no flavors, no limits.
type Options struct {
	// Hubs are allowed to use this outpost. A request of a hub that is not among them is KindUnauthorized.
	Hubs []Hub
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

// Manager decides about services: it checks requests, keeps what runs in memory and in the Store, lets the Spawner
// make and remove pods, and calls the hubs back. All methods are safe for concurrent use.
type Manager struct {
	store    Store
	spawner  Spawner
	hubAPI   HubAPI
	opts     Options
	log      *slog.Logger
	observer Observer
	hubs     atomic.Pointer[map[string]Hub]
	flavors  atomic.Pointer[flavor.Flavors]
	credits  atomic.Pointer[flavor.Flavors]
	index    *index
	notify   *notifier

	// base lives as long as the process works: starts and removals run under it, not under a request.
	base    context.Context
	stopAll context.CancelFunc
	work    sync.WaitGroup
	mu      sync.Mutex // guards what follows in this block
	closed  bool
	flights map[string]*flight // the last sync on demand of each hub

	loaded, reconciled         chan struct{} // closed when rows are in memory; when left-overs are dealt with
	loadedOnce, reconciledOnce sync.Once
}

// New makes a Manager. It starts nothing: Run and RunLeader do. The error names every bad option.
func New(store Store, spawner Spawner, hubAPI HubAPI, opts Options) (*Manager, error) {
	m := &Manager{
		store: store, spawner: spawner, hubAPI: hubAPI,
		opts: opts.withDefaults(), index: newIndex(),
		flights: map[string]*flight{},
		loaded:  make(chan struct{}), reconciled: make(chan struct{}),
	}
	m.notify = newNotifier(m)
	m.log, m.observer = m.opts.Logger, m.opts.Observer
	m.base, m.stopAll = context.WithCancel(context.Background())
	m.flavors.Store(opts.Flavors)
	m.credits.Store(opts.Credits)
	if err := m.SetHubs(opts.Hubs); err != nil {
		return nil, err
	}
	return m, nil
}

// SetHubs replaces the hubs that are allowed to use this outpost. Services of a hub that is no longer among them keep
// running. The error names every bad field of every hub, and nothing is changed.
func (m *Manager) SetHubs(hubs []Hub) error {
	byName := make(map[string]Hub, len(hubs))
	var errs []error
	for _, h := range hubs {
		if _, twice := byName[h.Name]; twice || h.Name == "" {
			errs = append(errs, fmt.Errorf("hub %q: the name is empty or given twice", h.Name))
		}
		for _, fault := range h.Check() {
			errs = append(errs, fmt.Errorf("hub %q: %s %s", h.Name, fault.Field, fault.Message))
		}
		byName[h.Name] = h
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	m.hubs.Store(&byName)
	return nil
}

// hub returns a hub that is allowed to use this outpost.
func (m *Manager) hub(name string) (Hub, error) {
	h, ok := (*m.hubs.Load())[name]
	if !ok {
		return Hub{}, Errorf(KindUnauthorized, "This outpost does not know the hub.")
	}
	return h, nil
}

// goes runs f in a goroutine that Run waits for; false if the Manager is being stopped.
func (m *Manager) goes(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.work.Go(f)
	return true
}

// logger returns the logger with the facts that name a service.
func (m *Manager) logger(e *entry) *slog.Logger {
	return m.log.With("hub", e.Hub, "service", e.Name, "start_id", e.StartID, "user_id", e.userID)
}

// Ready returns nil if the services are loaded and database and Kubernetes answer.
func (m *Manager) Ready(ctx context.Context) error {
	if !isDone(m.loaded) {
		return Errorf(KindUnavailable, "The services are not loaded yet.")
	}
	if err := m.store.Ping(ctx); err != nil {
		return storeError(err)
	}
	if err := m.spawner.Ready(ctx); err != nil {
		return Wrap(err, KindUnavailable, "Kubernetes does not answer")
	}
	return nil
}

// Reconciled is closed when left-overs of earlier processes are dealt with: from then on a poll can be answered
// "not found" or "ended".
func (m *Manager) Reconciled() <-chan struct{} { return m.reconciled }

// List returns the services of a hub by start date.
func (m *Manager) List(ctx context.Context, hub string) ([]Summary, error) {
	list, err := m.store.List(ctx, hub)
	if err != nil {
		return nil, storeError(err)
	}
	for i := range list {
		// The Store's LastUpdate lags behind by a batch.
		if e := m.index.get(list[i].Key); e != nil {
			if seen := e.lastPoll(); seen.After(list[i].LastUpdate) {
				list[i].LastUpdate = seen
			}
		}
	}
	return list, nil
}

// Flavors returns the flavors of a hub, each with "current", the number of the hub's services of it.
func (m *Manager) Flavors(ctx context.Context, hub string) (map[string]flavor.Flavor, error) {
	return m.counted(ctx, hub, m.flavors.Load().OfHub(hub))
}

// UserFlavors returns the flavors of one user of a hub, as [Manager.Flavors] does; authentication is decoded JSON, nil
// or an object.
func (m *Manager) UserFlavors(ctx context.Context, hub string, authentication any) (map[string]flavor.Flavor, error) {
	offer, err := m.flavors.Load().OfUser(hub, authentication)
	if err != nil {
		return nil, flavorError(err, "")
	}
	return m.counted(ctx, hub, offer)
}

// counted adds their present use to flavors.
func (m *Manager) counted(ctx context.Context, hub string, offer map[string]flavor.Flavor) (map[string]flavor.Flavor, error) {
	if len(offer) == 0 {
		return offer, nil
	}
	usage, err := m.store.Usage(ctx, hub)
	if err != nil {
		return nil, storeError(err)
	}
	for name, f := range offer {
		f["current"] = usage.ByFlavor[name]
	}
	return offer, nil
}

// Credits returns the credit definitions of a hub.
func (m *Manager) Credits(hub string) map[string]flavor.Flavor { return m.credits.Load().OfHub(hub) }

// UserCredits returns the credit definitions of one user of a hub. Forbidden users get each with cap 0.
func (m *Manager) UserCredits(hub string, authentication any) (map[string]flavor.Flavor, error) {
	offer, err := m.credits.Load().OfUser(hub, authentication)
	if err != nil {
		return nil, flavorError(err, "")
	}
	return offer, nil
}

// SetFlavors replaces the flavors file; nil means not configured.
func (m *Manager) SetFlavors(f *flavor.Flavors) { m.flavors.Store(f) }

// SetCredits replaces the credits file; nil means not configured.
func (m *Manager) SetCredits(f *flavor.Flavors) { m.credits.Store(f) }

// Counts returns how many services there are in memory, for gauges: by hub, then state.
func (m *Manager) Counts() []Count {
	type group struct{ hub, state string }
	counts := map[group]int{}
	for name := range *m.hubs.Load() {
		for p := phaseStarting; p <= phaseStopping; p++ {
			counts[group{name, p.String()}] = 0
		}
	}
	for _, e := range m.index.all("") {
		counts[group{e.Hub, e.current().phase.String()}]++
	}
	list := make([]Count, 0, len(counts))
	for g, n := range counts {
		list = append(list, Count{Hub: g.hub, State: g.state, Services: n})
	}
	slices.SortFunc(list, func(a, b Count) int {
		return strings.Compare(a.Hub+"\x00"+a.State, b.Hub+"\x00"+b.State)
	})
	return list
}
