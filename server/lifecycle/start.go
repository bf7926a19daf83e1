package lifecycle

import (
	"context"
	"maps"
	"time"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Keys of a stored state that are this outpost's own. The Python outpost keeps and ignores keys it does not know.
const (
	stateAsync = "outposts_async" // the hub waits for an event, not for an answer
	// stateRuntime is how long an asynchronous service may live once it runs: "2h0m0s", "0s" without end.
	stateRuntime = "outposts_runtime"
)

const (
	storeTimeout = 10 * time.Second // of one call that must not hang
	cleanupWait  = 5 * time.Second  // how long the answer to a failed start waits for its clean-up
)

// Start starts a service and returns its address "http://host:port", or "" at once if r.Async. The start goes on
// when ctx ends. Errors: KindInvalid, KindConflict (this key exists), KindQuota, KindFailed, KindUnavailable.
func (m *Manager) Start(ctx context.Context, r outpost.StartRequest) (string, error) {
	if r.StartID == "" {
		r.StartID = "0"
	}
	e, err := m.accept(ctx, r)
	if err != nil {
		m.observer.StartRefused(outpost.SubjectOf(r), reasonOf(err))
		m.log.Info("start refused", "hub", r.Hub, "service", r.Name, "start_id", r.StartID, "user_id", r.UserID,
			"reason", reasonOf(err), "err", err)
		return "", err
	}
	if r.Async {
		return "", nil
	}
	start := e.attempt.Load()
	select {
	case <-start.ended:
	case <-ctx.Done():
		return "", outpost.Wrap(ctx.Err(), outpost.KindUnavailable,
			"The request ended before the start; the start goes on.")
	}
	if start.err == nil {
		return e.current().address, nil
	}
	ctx, cancel := context.WithTimeout(ctx, cleanupWait)
	defer cancel()
	select {
	case <-e.gone:
	case <-m.base.Done():
	case <-ctx.Done():
	}
	return "", start.err
}

// accept checks a request, inserts its row and begins the start. The row is there when it returns without an error.
func (m *Manager) accept(ctx context.Context, r outpost.StartRequest) (*entry, error) {
	hub, admission, err := m.admit(ctx, r)
	if err != nil {
		return nil, err
	}
	r.StartDate = m.opts.Now().UTC().Truncate(time.Microsecond) // what a database keeps: it tells starts apart
	plan, row, err := m.plan(ctx, hub, r, admission)
	if err != nil {
		return nil, err
	}
	calls, refused := hub.Callbacks(r.Body.Env)
	m.notify.refused(hub.Name, refused)
	return m.begin(row, calls, plan, admission)
}

// admit decides whether a request may be planned: its hub, names and options, and the flavor that its user may start.
func (m *Manager) admit(ctx context.Context, r outpost.StartRequest) (outpost.Hub, flavor.Admission, error) {
	hub, err := m.hub(r.Hub)
	if err == nil {
		err = hub.CheckRequest(r)
	}
	if err != nil {
		return hub, flavor.Admission{}, err
	}
	// A start before the left-overs are known could be taken for one of them.
	if err := m.waitLoaded(ctx); err != nil {
		return hub, flavor.Admission{}, err
	}
	if err := m.index.free(r.Key); err != nil {
		return hub, flavor.Admission{}, err
	}
	admission, err := m.Admit(ctx, r)
	return hub, admission, err
}

// waitLoaded waits until the rows are in memory.
func (m *Manager) waitLoaded(ctx context.Context) error {
	select {
	case <-m.loaded:
		return nil
	case <-ctx.Done():
		return outpost.Starting(ctx.Err())
	case <-m.base.Done():
		return errShutdown
	}
}

// hub returns a hub that is allowed to use this outpost.
func (m *Manager) hub(name string) (outpost.Hub, error) {
	h, ok := (*m.hubs.Load())[name]
	if !ok {
		return outpost.Hub{}, outpost.Errorf(outpost.KindUnauthorized, "This outpost does not know the hub.")
	}
	return h, nil
}

// plan names the objects of a start and makes its row.
func (m *Manager) plan(
	ctx context.Context, hub outpost.Hub, r outpost.StartRequest, a flavor.Admission,
) (outpost.Plan, outpost.Service, error) {
	plan, err := m.spawner.Plan(ctx, hub, r, a.Flavor)
	if err != nil {
		return outpost.Plan{}, outpost.Service{}, err
	}
	state := plan.State
	if r.Async {
		// Another process may have to go on with it, and what the user is allowed is known only now.
		state = outpost.State{stateAsync: true, stateRuntime: a.Lifetime.String()}
		maps.Copy(state, plan.State)
	}
	return plan, outpost.Service{Summary: outpost.Summary{
		Key: r.Key, UserID: r.UserID, Flavor: r.Flavor, StartPending: true,
		StartDate: r.StartDate, LastUpdate: r.StartDate, EndDate: outpost.NoEnd,
	}, Body: r.Body, State: state}, nil
}

// begin puts a start into memory and the Store and lets it go on in the background. It returns when the row is there.
func (m *Manager) begin(
	row outpost.Service, calls outpost.Callbacks, plan outpost.Plan, a flavor.Admission,
) (*entry, error) {
	ctx, cancel := context.WithCancel(m.base)
	e := newEntry(row, calls)
	e.take(phaseStarting, cancel)
	if !m.goes(func() {
		defer cancel()
		if m.insert(e, row, a) {
			m.runStart(ctx, e, plan, a.Lifetime)
		}
	}) {
		cancel()
		return e, errShutdown
	}
	// The insert is short, and its outcome must be known: it does not end with the request.
	<-e.accepted
	return e, e.acceptErr
}

// insert adds the entry of a start to memory and its row to the Store, and reports whether both are there. If the row
// may be there although the database reported a failure, the entry stays until it is known whose row the key has.
func (m *Manager) insert(e *entry, row outpost.Service, a flavor.Admission) bool {
	ctx, cancel := context.WithTimeout(m.base, storeTimeout)
	defer cancel()
	err := m.index.add(e)
	if err == nil {
		err = outpost.StoreError(m.store.Insert(ctx, row, func(u flavor.Usage) error {
			return m.Check(a, u, row.Summary)
		}))
	}
	if err == nil {
		close(e.accepted)
		return true
	}
	e.acceptErr = err
	e.attempt.Load().end(err)
	if k := outpost.KindOf(err); k != outpost.KindUnavailable && k != outpost.KindInternal {
		m.drop(e)
		close(e.accepted)
		return false
	}
	close(e.accepted)
	m.takeBack(e)
	return false
}
