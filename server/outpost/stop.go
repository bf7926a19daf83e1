package outpost

import (
	"context"
	"errors"
	"time"

	"github.com/outposts-dev/outposts/server/excerpt"
)

const (
	stopTimeout = 5 * time.Minute  // of one try to remove a service's objects
	logsTimeout = 10 * time.Second // of collecting logs
)

// Stop removes a service in whatever state it is, cancelling its start. It returns when the pod and the row are gone
// (at once if o.Async); a second Stop joins the first and returns nil logs, the first one non-nil.
// Errors: KindNotFound; KindUnavailable if the pod could not be removed yet (it is tried again in the background);
// KindInternal if the row cannot be opened: it is then kept.
func (m *Manager) Stop(ctx context.Context, k Key, o StopOptions) ([]string, error) {
	e, err := m.find(ctx, k)
	if err != nil {
		return nil, err
	}
	if e.unopened {
		return nil, unopened(nil)
	}
	select {
	case <-e.accepted:
		if e.acceptErr != nil && isDone(e.gone) {
			return nil, ErrNotFound
		}
	case <-ctx.Done():
		return nil, Wrap(ctx.Err(), KindUnavailable, "The request ended before the stop.")
	}
	logs := []string{}
	if o.CollectLogs && !o.Async {
		logs = append(logs, m.collectLogs(ctx, e)...)
	}
	first, err := m.beginStop(e, StopAsked)
	if err != nil {
		return nil, err
	}
	if !first {
		logs = nil
	}
	if o.Async {
		return logs, nil
	}
	select {
	case <-e.gone:
		return logs, nil
	case <-e.tried:
		if isDone(e.gone) {
			return logs, nil
		}
		return nil, &Error{Kind: KindUnavailable, Reason: "stop", Message: excerpt.Of(k.Name, excerpt.Name) + " - The server could not be removed yet; the outpost goes on trying."}
	case <-ctx.Done():
		return nil, Wrap(ctx.Err(), KindUnavailable, "The request ended before the stop; the stop goes on.")
	}
}

// beginStop marks a service as being stopped, here and in the Store, cancels its start, and begins its removal. First
// is false if that had been done before; then a removal that nobody works on any more is begun again.
func (m *Manager) beginStop(e *entry, why string) (first bool, err error) {
	e.mu.Lock()
	first = e.phase == phaseStarting || e.phase == phaseRunning
	mine := first || !e.owned
	if first {
		e.phase = phaseStopping
		if p, ok := permitOf(e.Hub, e.address); ok {
			m.index.forbid(e, p)
		}
	}
	e.owned = true
	cancel := e.cancel
	e.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	if !mine {
		return first, nil
	}
	if first {
		m.logger(e).Info("service stopping", "why", why)
		m.markStopping(e)
	}
	if !m.goes(func() { m.remove(e, why) }) {
		return first, errShutdown
	}
	return first, nil
}

// markStopping stores the intent to remove a service. If the database is away the removal goes on without: the hub
// does not ask a second time.
func (m *Manager) markStopping(e *entry) {
	ctx, cancel := context.WithTimeout(m.base, storeTimeout)
	defer cancel()
	if _, err := m.store.MarkStopping(ctx, e.Key); err != nil && KindOf(err) != KindNotFound {
		m.logger(e).Warn("stop cannot be stored; stopping all the same", "err", err)
		return
	}
	e.mu.Lock()
	e.marked = true
	e.mu.Unlock()
	m.notifyFlavors(e) // it counts no more, and only this changes the counts (X61)
}

// remove waits for the end of a cancelled start, then removes objects and row, trying until both are gone or the
// process ends. The caller has set the phase and owned.
func (m *Manager) remove(e *entry, why string) {
	begin := time.Now()
	e.mu.Lock()
	started := e.started
	e.mu.Unlock()
	<-started
	if why == StopFailed {
		m.markStopping(e) // it no longer counts, whatever happens next
	}
	removed := func() error {
		ctx, cancel := context.WithTimeout(m.base, stopTimeout)
		defer cancel()
		e.mu.Lock()
		state := e.state
		e.mu.Unlock()
		return m.spawner.Stop(ctx, e.Key, state)
	}
	deleted := func() error {
		ctx, cancel := context.WithTimeout(m.base, storeTimeout)
		defer cancel()
		return m.store.Delete(ctx, e.Key)
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{{"pod cannot be removed yet", removed}, {"row cannot be removed yet", deleted}} {
		retry := newBackoff()
		for {
			err := step.do()
			if err == nil {
				break
			}
			if m.base.Err() != nil {
				e.mu.Lock()
				e.owned = false
				e.mu.Unlock()
				return
			}
			m.logger(e).Warn(step.what, "err", err) //nolint:sloglint // a constant of the table of steps
			m.observer.StopRetried(e.Hub)
			e.markTried()
			retry.wait(m.base)
		}
	}
	m.index.remove(e)
	e.mu.Lock()
	marked := e.marked
	e.mu.Unlock()
	if !marked {
		m.notifyFlavors(e)
	}
	duration := time.Since(begin)
	m.observer.ServiceStopped(e.Hub, duration, why)
	m.logger(e).Info("service stopped", "why", why, "duration", duration)
	e.markGone()
}

func (e *entry) markTried() { e.triedOnce.Do(func() { close(e.tried) }) }
func (e *entry) markGone()  { e.goneOnce.Do(func() { close(e.gone) }) }

// collectLogs returns the last lines of a service's log; a failure is logged, and there are none.
func (m *Manager) collectLogs(ctx context.Context, e *entry) []string {
	ctx, cancel := context.WithTimeout(ctx, logsTimeout)
	defer cancel()
	e.mu.Lock()
	state := e.state
	e.mu.Unlock()
	logs, err := m.spawner.Logs(ctx, e.Key, state, m.opts.LogLines)
	if err != nil {
		m.logger(e).Warn("logs cannot be collected", "err", err)
	}
	return logs
}

// find returns the entry of a service, from the Store if another process made it.
func (m *Manager) find(ctx context.Context, k Key) (*entry, error) {
	if k.StartID == "" {
		return nil, ErrNotFound
	}
	if e := m.index.get(k); e != nil {
		return e, nil
	}
	return m.fetch(ctx, k)
}

// fetch reads a service from the Store into memory. KindNotFound if there is none.
func (m *Manager) fetch(ctx context.Context, k Key) (*entry, error) {
	s, err := m.store.Get(ctx, k)
	if err != nil {
		if KindOf(err) == KindInternal && isKinded(err) {
			return nil, unopened(err)
		}
		return nil, storeError(err)
	}
	e, _ := m.index.add(m.entryOf(Stored{Service: s}))
	m.permitEntry(e)
	return e, nil
}

// entryOf makes the entry of a stored service.
func (m *Manager) entryOf(s Stored) *entry {
	hub := (*m.hubs.Load())[s.Hub]
	calls, _ := callbacksOf(hub, s.Body.Env)
	s.State = m.spawner.Restore(hub, s.Service)
	e := newEntry(s.Service, calls)
	e.unopened = s.Unopened
	e.async, _ = s.State[stateAsync].(bool)
	close(e.accepted)
	close(e.started)
	return e
}

// permitEntry lets the hub of a running service open its address.
func (m *Manager) permitEntry(e *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p, ok := permitOf(e.Hub, e.address); ok && e.phase == phaseRunning {
		m.index.allow(e, p)
	}
}

func isKinded(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok
}

// unopened is the answer for a row that no key of the ring opens (X71): nothing is done with it.
func unopened(cause error) error {
	return &Error{Kind: KindInternal, Reason: "unopened", Message: "The stored service cannot be opened with the outpost's keys.", Cause: cause}
}
