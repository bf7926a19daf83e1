package lifecycle

import (
	"context"
	"time"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/outpost"
)

const (
	stopTimeout = 5 * time.Minute // of one try to remove a service's objects
)

// Stop removes a service in whatever state it is, cancelling its start. It returns when the pod and the row are gone
// (at once if o.Async); a second Stop joins the first and returns nil logs, the first one non-nil.
// Errors: KindNotFound; KindUnavailable if the pod could not be removed yet (it is tried again in the background);
// [Unopened] if the row cannot be opened: it is then kept.
func (m *Manager) Stop(ctx context.Context, k outpost.Key, o outpost.StopOptions) ([]string, error) {
	e, err := m.find(ctx, k)
	if err != nil {
		return nil, err
	}
	if e.unopened {
		return nil, outpost.Unopened(nil)
	}
	select {
	case <-e.accepted:
		if e.acceptErr != nil && isDone(e.gone) {
			return nil, outpost.ErrNotFound
		}
	case <-ctx.Done():
		return nil, outpost.Wrap(ctx.Err(), outpost.KindUnavailable, "The request ended before the stop.")
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
		if e.yielded.Load() {
			return m.Stop(ctx, k, o) // the key is that of another start
		}
		return logs, nil
	case <-e.tried:
		if isDone(e.gone) {
			return logs, nil
		}
		return nil, &outpost.Error{
			Kind: outpost.KindUnavailable, Reason: "stop",
			Message: excerpt.Of(k.Name, excerpt.Name) +
				" - The server could not be removed yet; the outpost keeps trying.",
		}
	case <-ctx.Done():
		return nil, outpost.Wrap(ctx.Err(), outpost.KindUnavailable,
			"The request ended before the stop; the stop goes on.")
	}
}

// Live returns the keys of all services that are not being stopped.
func (m *Manager) Live() (keys []outpost.Key) {
	for _, e := range m.index.all("") {
		if p := e.current().phase; !e.unopened && (p == phaseStarting || p == phaseRunning) {
			keys = append(keys, e.Key)
		}
	}
	return keys
}

// Evict stops a service in whatever state it is. It does not wait.
func (m *Manager) Evict(k outpost.Key) {
	if e := m.index.get(k); e != nil && !e.unopened {
		_, _ = m.beginStop(e, StopEvicted)
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
		m.index.forbid(e)
	}
	e.owned = true
	e.mu.Unlock()
	m.Changed(e.Key)
	e.cancelStart()
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
	if _, err := m.store.MarkStopping(ctx, e.Key); err != nil && outpost.KindOf(err) != outpost.KindNotFound {
		m.logger(e).Warn("stop cannot be stored; stopping all the same", "err", err)
		return
	}
	e.marked.Store(true)
	m.notify.flavors(e) // it counts no more, and only this changes the counts (protocol 3.3)
}

// remove waits for the end of a cancelled start, then removes objects and row, trying until both are gone or the
// process ends. The caller has taken the entry.
func (m *Manager) remove(e *entry, why string) {
	begin := time.Now()
	e.waitStart()
	if why == StopFailed {
		if m.opts.Shared {
			if row, known := m.rowOf(e); known && row == rowAnother {
				m.yield(e)
				return
			}
		}
		m.markStopping(e) // it no longer counts, whatever happens next
	}
	if !m.insist(e, "pod cannot be removed yet", stopTimeout, func(ctx context.Context) error {
		return m.spawner.Stop(ctx, e.Key, e.current().state)
	}) || !m.insist(e, "row cannot be removed yet", storeTimeout, func(ctx context.Context) error {
		return m.store.Delete(ctx, e.Key)
	}) {
		e.release()
		return
	}
	if !e.marked.Load() {
		m.notify.flavors(e)
	}
	m.useHome(e)
	duration := time.Since(begin)
	m.observer.ServiceStopped(e.subject(), duration, why)
	m.logger(e).Info("service stopped", "why", why, "duration", duration)
	m.drop(e)
}

// insist repeats a step of a removal until it succeeds; false if the process ends before.
func (m *Manager) insist(e *entry, trouble string, limit time.Duration, step func(context.Context) error) bool {
	for retry := newBackoff(); ; retry.wait(m.base) {
		ctx, cancel := context.WithTimeout(m.base, limit)
		err := step(ctx)
		cancel()
		switch {
		case err == nil:
			return true
		case m.base.Err() != nil:
			return false
		}
		m.logger(e).Warn(trouble, "err", err) //nolint:sloglint // a constant at both callers
		m.observer.StopRetried(e.Hub)
		e.markTried()
	}
}

// claim is whose row the key of a start has.
type claim int

const (
	rowNone    claim = iota // there is none
	rowOwn                  // the start's own
	rowAnother              // that of another start, or one that cannot be opened
)

// rowOf reads whose row the key of an entry has, trying until the database answers; known is false if the process
// ends before.
func (m *Manager) rowOf(e *entry) (row claim, known bool) {
	for retry := newBackoff(); ; {
		row, err := m.readRow(e)
		if err == nil {
			return row, true
		}
		m.logger(e).Warn("row cannot be read yet", "err", err)
		if !retry.wait(m.base) {
			return row, false
		}
	}
}

// useHome notes that the home of a service is in use now. That it cannot be noted changes nothing else.
func (m *Manager) useHome(e *entry) {
	name, _ := e.current().state["pvc_name"].(string)
	if name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(m.base, storeTimeout)
	defer cancel()
	home := outpost.Home{Namespace: e.namespace(), Name: name}
	if err := m.store.UseHome(ctx, home, m.opts.Now().UTC().Truncate(time.Microsecond)); err != nil {
		m.logger(e).Warn("use of a home cannot be noted", "namespace", home.Namespace, "claim", name, "err", err)
	}
}

// readRow is one try of rowOf. The error means that the database does not answer.
func (m *Manager) readRow(e *entry) (claim, error) {
	ctx, cancel := context.WithTimeout(m.base, storeTimeout)
	defer cancel()
	s, err := m.store.Get(ctx, e.Key)
	if err == nil {
		if e.isStart(s.Summary) {
			return rowOwn, nil
		}
		return rowAnother, nil
	}
	switch err = outpost.StoreError(err); outpost.KindOf(err) {
	case outpost.KindNotFound:
		return rowNone, nil
	case outpost.KindUnavailable:
		return rowNone, err
	}
	return rowAnother, nil // also if it cannot be opened: this process has just sealed its own
}

// fail says that the start of a service has failed: it is being removed. False if it is being stopped already.
func (m *Manager) fail(e *entry) bool {
	defer m.Changed(e.Key)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase != phaseStopping {
		e.phase = phaseFailed
	}
	return e.phase == phaseFailed
}

// takeBack undoes an insert of which the database has not said whether it was done. Only a row of this very start is
// removed: the hub may have sent the start again, to another process, whose row and pod have the same key. Until that
// is known polls are answered "running".
func (m *Manager) takeBack(e *entry) {
	row, known := m.rowOf(e)
	switch {
	case !known:
		e.release()
	case !m.fail(e): // the hub has asked for a stop meanwhile, which removes whatever has the key
	case row == rowOwn:
		m.remove(e, StopFailed)
	default:
		m.yield(e)
	}
}

// yield leaves the key of an entry to whoever has its row, or will have.
func (m *Manager) yield(e *entry) {
	m.logger(e).Info("start is left to another process")
	e.yielded.Store(true)
	m.forget(e)
	e.release()
}
