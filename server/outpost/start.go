package outpost

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/flavor"
)

// Keys of a stored state that are this server's own. The Python peer keeps and ignores keys it does not know.
const (
	stateAsync   = "outposts_async"   // the hub waits for an event, not for an answer
	stateRuntime = "outposts_runtime" // how long an asynchronous service may live once it runs: "2h0m0s", "0s" without end
)

const (
	storeTimeout  = 10 * time.Second // of one call that must not hang
	finishTimeout = time.Minute      // how long a finished start waits for a database that is away
	cleanupWait   = 5 * time.Second  // how long the answer to a failed start waits for its clean-up
)

// errCancelled is the result of a start that was stopped meanwhile.
var errCancelled = &Error{Kind: KindFailed, Reason: "cancelled", Message: "The server was stopped while it was starting."}

// errShutdown is the result of a start when this process ends; the next one deals with what is left.
var errShutdown = &Error{Kind: KindUnavailable, Reason: "shutdown", Message: "The outpost is restarting; try again."}

// Start starts a service and returns its address "http://host:port", or "" at once if r.Async. The start goes on
// when ctx ends. Errors: KindInvalid, KindConflict (this key exists), KindQuota, KindFailed, KindUnavailable.
func (m *Manager) Start(ctx context.Context, r StartRequest) (string, error) {
	if r.StartID == "" {
		r.StartID = "0"
	}
	e, err := m.accept(ctx, r)
	if err != nil {
		m.observer.StartRefused(r.Hub, reasonOf(err))
		m.log.Info("start refused", "hub", r.Hub, "service", r.Name, "start_id", r.StartID, "user_id", r.UserID,
			"reason", reasonOf(err), "err", err)
		return "", err
	}
	if r.Async {
		return "", nil
	}
	e.mu.Lock()
	started := e.started
	e.mu.Unlock()
	select {
	case <-started:
	case <-ctx.Done():
		return "", Wrap(ctx.Err(), KindUnavailable, "The request ended before the start; the start goes on.")
	}
	e.mu.Lock()
	address, err := e.address, e.startErr
	e.mu.Unlock()
	if err != nil {
		wait := time.NewTimer(cleanupWait)
		defer wait.Stop()
		select {
		case <-e.gone:
		case <-m.base.Done():
		case <-ctx.Done():
		case <-wait.C:
		}
		return "", err
	}
	return address, nil
}

// accept checks a request, inserts its row and begins the start. The row is there when it returns without an error.
func (m *Manager) accept(ctx context.Context, r StartRequest) (*entry, error) {
	hub, err := m.hub(r.Hub)
	if err != nil {
		return nil, err
	}
	if err := checkRequest(hub, r); err != nil {
		return nil, err
	}
	// A start before the left-overs are known could be taken for one of them.
	select {
	case <-m.loaded:
	case <-ctx.Done():
		return nil, Starting(ctx.Err())
	case <-m.base.Done():
		return nil, errShutdown
	}
	if m.index.get(r.Key) != nil {
		return nil, conflict(r.Key)
	}
	admission, err := m.flavors.Load().Admit(r.Hub, r.Authentication, r.Flavor)
	if err != nil {
		return nil, flavorError(err, r.Name)
	}
	now := m.opts.Now().UTC()
	r.StartDate = now
	plan, err := m.spawner.Plan(ctx, hub, r, admission.Flavor)
	if err != nil {
		return nil, err
	}
	state := plan.State
	if r.Async {
		// Another process may have to go on with it, and what the user is allowed is told only now.
		state = state.with(stateAsync, true).with(stateRuntime, admission.Lifetime.String())
	}
	row := Service{
		Key: r.Key, UserID: r.UserID, Flavor: r.Flavor, StartDate: now, LastUpdate: now, EndDate: NoEnd,
		StartPending: true, Body: r.Body, State: state,
	}
	calls, refused := callbacksOf(hub, r.Body.Env)
	m.warnRefused(hub, refused)
	e := newEntry(row, calls)
	e.async, e.owned = r.Async, true
	startCtx, cancel := context.WithCancel(m.base)
	e.cancel = cancel
	if _, added := m.index.add(e); !added {
		cancel()
		return nil, conflict(r.Key)
	}
	begun := m.goes(func() {
		defer cancel()
		if m.insert(e, row, func(u flavor.Usage) error {
			return flavorError(admission.Check(u, r.UserID, m.opts.GlobalMaxPerUser), r.Name)
		}) {
			m.runStart(startCtx, e, plan, admission.Lifetime)
		}
	})
	if !begun {
		cancel()
		m.index.remove(e)
		return nil, errShutdown
	}
	// The insert is short, and its outcome must be known: it does not end with the request.
	<-e.accepted
	return e, e.acceptErr
}

// insert stores the row of a start and tells whether it is there. If it may be there although the database reported
// a failure, the entry stays until the row is surely gone.
func (m *Manager) insert(e *entry, row Service, check func(flavor.Usage) error) bool {
	ctx, cancel := context.WithTimeout(m.base, storeTimeout)
	defer cancel()
	err := storeError(m.store.Insert(ctx, row, check))
	if err == nil {
		close(e.accepted)
		return true
	}
	if KindOf(err) == KindConflict {
		err = conflict(e.Key)
	}
	e.mu.Lock()
	e.acceptErr, e.startErr = err, err
	close(e.started)
	e.mu.Unlock()
	if k := KindOf(err); k != KindUnavailable && k != KindInternal {
		m.index.remove(e)
		close(e.accepted)
		e.markGone()
		return false
	}
	e.mu.Lock()
	e.phase = phaseFailed
	e.mu.Unlock()
	close(e.accepted)
	m.remove(e, StopFailed)
	return false
}

// runStart lets the spawner start a service whose row is there and records the outcome.
func (m *Manager) runStart(ctx context.Context, e *entry, plan Plan, lifetime time.Duration) {
	begin := time.Now()
	log := m.logger(e)
	log.Info("service starting", "async", e.async, "flavor", e.flavor)
	m.notifyFlavors(e)
	events := m.newEvents(e)
	started, err := m.spawner.Start(ctx, plan, events.put)
	if err == nil {
		err = m.finishStart(ctx, e, started, lifetime)
	}

	e.mu.Lock()
	if started.State != nil {
		e.state = started.State
	}
	switch {
	case e.phase == phaseStopping:
		err = errCancelled
	case err == nil:
		e.phase, e.address, e.owned = phaseRunning, started.Address, false
		if p, ok := permitOf(e.Hub, e.address); ok {
			m.index.allow(e, p)
		}
	case m.base.Err() != nil:
		err, e.owned = errShutdown, false
	case ctx.Err() != nil:
		err, e.phase = errCancelled, phaseFailed // another process stops it
	default:
		e.phase = phaseFailed
	}
	e.startErr = err
	phase, done := e.phase, e.started
	e.mu.Unlock()

	duration := time.Since(begin)
	m.observer.ServiceStarted(e.Hub, duration, reasonOf(err))
	switch phase {
	case phaseRunning:
		log.Info("service started", "duration", duration, "target", started.Address)
		events.close(Event{})
	case phaseFailed:
		log.Warn("start failed", "duration", duration, "reason", reasonOf(err), "err", err)
		if e.async && !errors.Is(err, errCancelled) {
			events.close(failedStart(m.opts.Now(), publicMessage(err), events.messages()))
		} else {
			events.close(Event{})
		}
	default:
		events.close(Event{})
	}
	close(done)
	if phase == phaseFailed {
		m.remove(e, StopFailed)
	}
}

// finishStart checks the address and stores the outcome of a start. A database that does not answer is waited for: the
// server runs already.
func (m *Manager) finishStart(ctx context.Context, e *entry, s Started, lifetime time.Duration) error {
	if _, _, ok := ParseAddress(s.Address); !ok {
		return Wrap(errors.New("address "+s.Address), KindInternal, "the spawner returned a wrong address")
	}
	end := NoEnd
	if lifetime > 0 {
		end = m.opts.Now().UTC().Add(lifetime)
	}
	ctx, cancel := context.WithTimeout(ctx, finishTimeout)
	defer cancel()
	retry := newBackoff()
	for {
		err := storeError(m.store.FinishStart(ctx, e.Key, s.State, s.Address, end))
		switch KindOf(err) {
		case KindNotFound, KindConflict:
			// Another process stops this service, and may have looked before the pod was there.
			return errCancelled
		case KindUnavailable:
			m.logger(e).Warn("started service cannot be stored yet", "err", err)
			if !retry.wait(ctx) {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		e.mu.Lock()
		e.end = end
		e.mu.Unlock()
		return nil
	}
}

// flavorError is the error for the hub that an error of package flavor means; service is the server's name.
func flavorError(err error, service string) error {
	if refusal, ok := errors.AsType[*flavor.Refusal](err); ok {
		return &Error{Kind: KindQuota, Reason: refusal.Reason, Message: service + " - " + refusal.Error()}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, flavor.ErrAuthentication):
		return Errorf(KindInvalid, "The authentication must be a JSON object.")
	}
	return err
}

// conflict is the answer to a second start of a key (X30).
func conflict(k Key) error {
	return &Error{Kind: KindConflict, Reason: "duplicate", Message: excerpt.Of(k.Name, excerpt.Name) + " - This server is already started or being " +
		"stopped (start id " + excerpt.Of(k.StartID, excerpt.Name) + "); a new start needs a new start id."}
}

// with returns a copy of a state with one more key.
func (s State) with(key string, value any) State {
	c := make(State, len(s)+1)
	maps.Copy(c, s)
	c[key] = value
	return c
}

// reasonOf is a short word for metrics: "" for success, else the error's own or its kind's.
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Reason != "" {
		return e.Reason
	}
	return [...]string{"internal", "invalid", "unauthorized", "not_found", "conflict", "quota", "failed", "unavailable"}[KindOf(err)]
}

// publicMessage is what a hub's user may read of an error.
func publicMessage(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Kind != KindInternal {
		return e.Message
	}
	return "The outpost could not start the server. Its operator finds the cause in the outpost's log."
}
