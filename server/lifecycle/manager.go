// Package lifecycle starts, polls and stops the services of hubs, and goes on after a crash where another process left
// off.
//
// The [Manager] checks a request, stores a row and lets the spawner make a pod; it keeps what runs in memory, follows
// the other processes of a shared database, and calls the hubs back.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Manager decides about services: it checks requests, keeps what runs in memory and in the Store, lets the Spawner
// make and remove pods, and calls the hubs back. All methods are safe for concurrent use.
type Manager struct {
	store    outpost.Store
	spawner  outpost.Spawner
	hubAPI   outpost.HubAPI
	opts     Options
	log      *slog.Logger
	observer Observer
	hubs     atomic.Pointer[map[string]outpost.Hub]
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

	unseen atomic.Pointer[[]string] // namespaces whose pods the last reconciliation could not list; nil is none

	loaded, reconciled         chan struct{} // closed when rows are in memory; when left-overs are dealt with
	loadedOnce, reconciledOnce sync.Once
}

// New makes a Manager. It starts nothing: Run and RunLeader do. The error names every bad option.
func New(store outpost.Store, spawner outpost.Spawner, hubAPI outpost.HubAPI, opts Options) (*Manager, error) {
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

// hub returns a hub that is allowed to use this outpost.
func (m *Manager) hub(name string) (outpost.Hub, error) {
	h, ok := (*m.hubs.Load())[name]
	if !ok {
		return outpost.Hub{}, outpost.Errorf(outpost.KindUnauthorized, "This outpost does not know the hub.")
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
		return outpost.Errorf(outpost.KindUnavailable, "The services are not loaded yet.")
	}
	if err := m.store.Ping(ctx); err != nil {
		return storeError(err)
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

// List returns the services of a hub by start date.
func (m *Manager) List(ctx context.Context, hub string) ([]outpost.Summary, error) {
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
