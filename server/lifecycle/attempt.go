package lifecycle

import (
	"context"
	"errors"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
)

// finishTimeout is how long a finished start waits for a database that is away.
const finishTimeout = time.Minute

// attempt is one start of a service by this process.
type attempt struct {
	cancel context.CancelFunc
	ended  chan struct{} // closed when err is set
	err    error
}

// end tells those who wait for the start what it has come to.
func (a *attempt) end(err error) {
	a.err = err
	close(a.ended)
}

// runStart lets the spawner start a service whose row is there and records the outcome.
func (m *Manager) runStart(ctx context.Context, e *entry, plan outpost.Plan, lifetime time.Duration) {
	begin, attempt := time.Now(), e.attempt.Load()
	log := m.logger(e)
	log.Info("service starting", "async", e.async, "flavor", e.flavor)
	m.notify.flavors(e)
	m.useHome(e)
	events := m.notify.progress(e)
	started, err := m.spawner.Start(ctx, plan, events.put)
	if err == nil {
		err = m.finishStart(ctx, e, started, lifetime)
	}
	phase, err := m.settle(ctx, e, started, err)
	duration := time.Since(begin)
	m.observer.ServiceStarted(e.subject(), duration, reasonOf(err))
	switch phase {
	case phaseRunning:
		log.Info("service started", "duration", duration, "target", started.Address)
	case phaseFailed:
		log.Warn("start failed", "duration", duration, "reason", reasonOf(err), "err", err)
	}
	if phase == phaseFailed && e.async && !errors.Is(err, errCancelled) {
		events.fail(publicMessage(err))
	} else {
		events.close()
	}
	attempt.end(err)
	if phase == phaseFailed {
		m.remove(e, StopFailed)
	}
}

// settle records how a start has ended, and returns what has become of the service and the error that is told: a stop
// or the end of the process may have come meanwhile.
func (m *Manager) settle(ctx context.Context, e *entry, started outpost.Started, err error) (phase, error) {
	defer m.Changed(e.Key)
	e.mu.Lock()
	defer e.mu.Unlock()
	if started.State != nil {
		e.state = started.State
	}
	switch {
	case e.phase == phaseStopping:
		err = errCancelled
	case err == nil:
		e.phase, e.address, e.owned = phaseRunning, started.Address, false
		m.index.allow(e)
	case m.base.Err() != nil:
		err, e.owned = errShutdown, false
	case ctx.Err() != nil:
		err, e.phase = errCancelled, phaseFailed // another process stops it
	default:
		e.phase = phaseFailed
	}
	return e.phase, err
}

// finishStart checks the address and stores the outcome of a start. A database that does not answer is waited for: the
// server runs already.
func (m *Manager) finishStart(ctx context.Context, e *entry, s outpost.Started, lifetime time.Duration) error {
	if _, _, ok := outpost.ParseAddress(s.Address); !ok {
		return outpost.Wrap(errors.New("address "+s.Address), outpost.KindInternal,
			"the spawner returned a wrong address")
	}
	end := outpost.NoEnd
	if lifetime > 0 {
		end = m.End(ctx, e.startDate, lifetime)
	}
	ctx, cancel := context.WithTimeout(ctx, finishTimeout)
	defer cancel()
	for retry := newBackoff(); ; {
		err := outpost.StoreError(m.store.FinishStart(ctx, e.Key, s.State, s.Address, end))
		if err == nil {
			e.mu.Lock()
			e.end = end
			e.mu.Unlock()
			return nil
		}
		switch outpost.KindOf(err) {
		case outpost.KindNotFound, outpost.KindConflict:
			// Another process stops this service, and may have looked before the pod was there.
			return errCancelled
		case outpost.KindUnavailable:
			m.logger(e).Warn("started service cannot be stored yet", "err", err)
			if retry.wait(ctx) {
				continue
			}
		}
		return err
	}
}
