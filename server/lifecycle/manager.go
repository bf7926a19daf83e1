// Package lifecycle starts, polls and stops the services of hubs, and goes on after a crash where another process left
// off.
//
// The [Manager] checks a request, stores a row and lets the spawner make a pod; it keeps what runs in memory, follows
// the other processes of a shared database, and calls the hubs back.
package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/offer"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/watch"
)

// Options is what a Manager may be given beside its ports. The zero value works: no hubs, no flavors, no limits.
type Options struct {
	// Hubs are allowed to use this outpost. A request of a hub that is not among them is KindUnauthorized.
	Hubs []outpost.Hub
	// Flavors and Credits are the loaded files; nil means not configured. SetFlavors and SetCredits replace them.
	Flavors, Credits *flavor.Flavors
	// GlobalMaxPerUser limits the services of one user of one hub, of any flavor; nil or -1 is no limit.
	GlobalMaxPerUser *int
	// MaxServers returns how many services a hub may have, of any flavor; nil is no limit, for all hubs or for one.
	MaxServers func(hub string) *int
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
	Observer outpost.Observer
	// Version is the program's, for catalogs; empty is "unknown".
	Version string
	// Now is the wall clock; nil is time.Now. Waiting always uses package time.
	Now func() time.Time
}

// withDefaults fills in what the zero value stands for.
func (o Options) withDefaults() Options {
	o.EndDates = cmp.Or(o.EndDates, time.Minute)
	o.Cleanup = cmp.Or(o.Cleanup, 30*time.Minute)
	o.CleanupAge = cmp.Or(o.CleanupAge, 30*time.Minute)
	o.Touch = cmp.Or(o.Touch, 10*time.Second)
	o.Reconcile = cmp.Or(o.Reconcile, 5*time.Minute)
	o.LogLines = cmp.Or(o.LogLines, 100)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	if o.Observer == nil {
		o.Observer = outpost.NoObserver{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Why a service was stopped, for Observer and the log.
const (
	StopAsked   = "asked"   // the hub's DELETE
	StopFailed  = "failed"  // its start failed
	StopEnded   = "ended"   // past its end date
	StopUnknown = "unknown" // its hub no longer knows it
	StopLost    = "lost"    // left over by an interrupted process
	StopEvicted = "evicted" // for a maintenance
)

// Manager decides about services: it checks requests, keeps what runs in memory and in the Store, lets the Spawner
// make and remove pods, and calls the hubs back. All methods are safe for concurrent use.
type Manager struct {
	*offer.Offers

	store    outpost.Store
	spawner  outpost.Spawner
	hubAPI   outpost.HubAPI
	opts     Options
	log      *slog.Logger
	observer outpost.Observer
	hubs     atomic.Pointer[map[string]outpost.Hub]
	index    *index
	notify   *notifier
	boards   *watch.Boards
	logSlots chan struct{} // for reading the logs of servers that have ended

	// base lives as long as the process works: starts and removals run under it, not under a request.
	base    context.Context
	stopAll context.CancelFunc
	work    sync.WaitGroup
	mu      sync.Mutex // guards what follows in this block
	closed  bool
	flights map[string]*flight // the last sync on demand of each hub

	unseen atomic.Pointer[[]string] // namespaces whose pods the last reconciliation could not list; nil is none

	loaded, reconciled         chan struct{} // closed when rows are in memory; when left-overs are dealt with
	loadedOnce, reconciledOnce sync.Once
}

// New makes a Manager. It starts nothing: Run and RunLeader do. The error names every bad option.
func New(store outpost.Store, spawner outpost.Spawner, hubAPI outpost.HubAPI, opts Options) (*Manager, error) {
	opts = opts.withDefaults()
	m := &Manager{
		Offers: offer.New(store, spawner, offer.Options{
			Flavors: opts.Flavors, Credits: opts.Credits, GlobalMaxPerUser: opts.GlobalMaxPerUser,
			MaxServers: opts.MaxServers, Version: opts.Version, Now: opts.Now,
		}),
		store: store, spawner: spawner, hubAPI: hubAPI,
		opts: opts, logSlots: make(chan struct{}, logsAtOnce),
		flights: map[string]*flight{},
		loaded:  make(chan struct{}), reconciled: make(chan struct{}),
	}
	m.notify, m.boards = newNotifier(m), watch.New(m)
	m.index = newIndex(m.boards.Changed)
	m.log, m.observer = m.opts.Logger, m.opts.Observer
	m.base, m.stopAll = context.WithCancel(context.Background())
	if err := m.SetHubs(opts.Hubs); err != nil {
		return nil, err
	}
	return m, nil
}

// SetHubs replaces the hubs that are allowed to use this outpost. Services of a hub that is no longer among them keep
// running. The error names every bad field of every hub, and nothing is changed.
func (m *Manager) SetHubs(hubs []outpost.Hub) error {
	byName := make(map[string]outpost.Hub, len(hubs))
	var errs []error
	for _, h := range hubs {
		if _, twice := byName[h.Name]; twice || h.Name == "" {
			errs = append(errs, fmt.Errorf("hub %q: the name is empty or given twice", h.Name))
		}
		for _, fault := range h.Check() {
			errs = append(errs, fmt.Errorf("hub %q: %s %s", h.Name, fault.Field, fault.Message))
		}
		h.Several = len(hubs) > 1
		byName[h.Name] = h
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	m.hubs.Store(&byName)
	return nil
}

// logger returns the logger with the facts that name a service.
func (m *Manager) logger(e *entry) *slog.Logger {
	return m.log.With("hub", e.Hub, "service", e.Name, "start_id", e.StartID, "user_id", e.userID)
}

// Ready returns nil if the services are loaded and database and Kubernetes answer.
func (m *Manager) Ready(ctx context.Context) error {
	if !isDone(m.loaded) {
		return outpost.Errorf(outpost.KindUnavailable, "The services are not loaded yet.")
	}
	if err := m.store.Ping(ctx); err != nil {
		return outpost.StoreError(err)
	}
	if err := m.spawner.Ready(ctx); err != nil {
		return outpost.Wrap(err, outpost.KindUnavailable, "Kubernetes does not answer")
	}
	return nil
}

// Unseen returns the configured namespaces whose pods the last reconciliation of this process could not list, sorted:
// their services are kept as they are. It is nil if there are none, or while another process leads.
func (m *Manager) Unseen() []string {
	if names := m.unseen.Load(); names != nil {
		return *names
	}
	return nil
}

// setUnseen notes what Unseen returns, and logs a change.
func (m *Manager) setUnseen(names []string) {
	if before := m.unseen.Swap(&names); before == nil && len(names) == 0 ||
		before != nil && slices.Equal(*before, names) {
		return
	}
	if len(names) > 0 {
		m.log.Warn("pods of some namespaces cannot be listed; their services are kept as they are", "namespaces", names)
	} else {
		m.log.Info("pods of all namespaces can be listed again, or another process leads")
	}
}

// Reconciled is closed when left-overs of earlier processes are dealt with: from then on a poll can be answered
// "not found" or "ended".
func (m *Manager) Reconciled() <-chan struct{} { return m.reconciled }

// Catalog returns what a user may start. Errors: KindUnauthorized, and those of [offer.Offers.CatalogOf].
func (m *Manager) Catalog(ctx context.Context, u outpost.User) (catalog.Catalog, error) {
	hub, err := m.hub(u.Hub)
	if err != nil {
		return catalog.Catalog{}, err
	}
	return m.CatalogOf(ctx, hub, u)
}

// List returns the services of a hub by start date.
func (m *Manager) List(ctx context.Context, hub string) ([]outpost.Summary, error) {
	list, err := m.store.List(ctx, hub)
	if err != nil {
		return nil, outpost.StoreError(err)
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

// Watch begins a watch of a hub's services, which the caller closes. KindUnavailable if the rows cannot be read, or the
// hub has too many watches.
func (m *Manager) Watch(ctx context.Context, hub string) (*watch.Watch, error) {
	return m.boards.Open(ctx, hub)
}

// Watches returns how many watches are open, by hub.
func (m *Manager) Watches() map[string]int { return m.boards.Counts() }

// Announce tells watches what maintenance is announced; nil is none.
func (m *Manager) Announce(shown *catalog.Maintenance) { m.boards.Announce(shown) }

// Changed says that a poll of a service may be answered otherwise than before. It never waits.
func (m *Manager) Changed(k outpost.Key) { m.boards.Changed(k) }

// Services implements [watch.Source].
func (m *Manager) Services(ctx context.Context, hub string) ([]outpost.Key, error) {
	err := m.waitLoaded(ctx)
	if err == nil && m.opts.Shared {
		err = m.syncRows(ctx, hub)
	}
	if err != nil {
		return nil, err
	}
	var keys []outpost.Key
	for _, e := range m.index.all(hub) {
		keys = append(keys, e.Key)
	}
	return keys, nil
}

// Known counts as a poll of each of these services of a hub; those that do not exist are passed over. KindUnavailable
// if the rows are not loaded yet.
func (m *Manager) Known(ctx context.Context, hub string, keys []outpost.Key) error {
	if err := m.waitLoaded(ctx); err != nil {
		return err
	}
	missing := func(k outpost.Key) bool { return m.index.get(k) == nil }
	if m.opts.Shared && slices.ContainsFunc(keys, missing) { // another process may have started it a moment ago
		m.syncHub(ctx, hub, func() bool { return !slices.ContainsFunc(keys, missing) })
	}
	now := m.opts.Now()
	for _, k := range keys {
		if e := m.index.get(k); e != nil {
			e.polled(now)
		}
	}
	return nil
}

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

// Count is the number of services of one hub in one state: starting, running or stopping.
type Count struct {
	Hub, State string
	Services   int
}

// FlavorUse returns how many services of each flavor that a hub is offered there are in memory, and what limits them,
// for gauges.
func (m *Manager) FlavorUse() []offer.FlavorUse {
	type group struct{ hub, flavor string }
	used := map[group]int{}
	for _, e := range m.index.all("") {
		if p := e.current().phase; p == phaseStarting || p == phaseRunning {
			used[group{e.Hub, e.flavor}]++
		}
	}
	var list []offer.FlavorUse
	for hub := range *m.hubs.Load() {
		for name, f := range m.OfHub(hub) {
			list = append(list, offer.FlavorUse{Hub: hub, Flavor: name, Used: used[group{hub, name}], Limit: f.Max()})
		}
	}
	return list
}
