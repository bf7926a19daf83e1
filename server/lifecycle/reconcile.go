package lifecycle

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
)

// abandonedAfter is how long a service without a pod is kept for its hub to ask about it.
const abandonedAfter = time.Hour

// reconcile compares rows, pods and what this process works on, and deals with what interrupted processes have left:
// a stop is finished, an asynchronous start that has a pod is gone on with, any other start is rolled back (its hub
// has got an error or will get an event), a pod without a row is removed. It changes nothing unless both rows
// and pods could be read; rows of a namespace whose pods cannot be listed are kept. Later is true if it has left alone
// such rows, or what another process works on, or has until a moment ago.
func (m *Manager) reconcile(ctx context.Context) (later bool, err error) {
	begin := time.Now()
	// Pods first: a row is there before its pod and gone after it, so a pod seen now without a row read later is
	// nobody's.
	found, unseen, err := m.spawner.Found(ctx)
	if err != nil {
		return false, fmt.Errorf("list pods: %w", err)
	}
	m.setUnseen(unseen)
	known := m.snapshot("")
	rows, err := m.store.All(ctx)
	if err != nil {
		return false, fmt.Errorf("list rows: %w", err)
	}
	pods := make(map[outpost.Key]outpost.Found, len(found))
	for _, f := range found {
		pods[f.Key] = f
	}
	inStore := make(map[outpost.Key]bool, len(rows))
	now := m.opts.Now()
	for _, row := range rows {
		inStore[row.Key] = true
		_, hasPod := pods[row.Key]
		// What this process worked on when the rows were read, or has got since, is not left over.
		e, before := m.index.get(row.Key), known[row.Key]
		switch {
		case e == nil && before.entry == nil:
			e = m.keep(row)
		case e == nil || e != before.entry || before.owned:
			continue
		}
		if !row.StopPending && slices.Contains(unseen, e.namespace()) {
			later = true
			continue
		}
		later = m.adopt(e, row, hasPod, now) || later
	}
	for key, before := range known {
		if !inStore[key] && !before.owned {
			m.forget(before.entry)
		}
	}
	for _, f := range found {
		if !inStore[f.Key] {
			m.removeStray(f)
		}
	}
	m.log.Debug("reconciled", "rows", len(rows), "pods", len(found), "duration", time.Since(begin))
	return later, nil
}

// removeStray removes a pod that no row knows.
func (m *Manager) removeStray(f outpost.Found) {
	log := m.log.With("hub", f.Key.Hub, "service", f.Key.Name, "start_id", f.Key.StartID)
	log.Warn("pod without a row is removed", "created", f.Created)
	m.goes(func() {
		ctx, cancel := context.WithTimeout(m.base, stopTimeout)
		defer cancel()
		if err := m.spawner.Stop(ctx, f.Key, f.State); err != nil {
			log.Warn("pod without a row cannot be removed yet", "err", err)
		}
	})
}

// adopt deals with one row that no goroutine of this process works on. Elsewhere is true if another process does, as
// far as can be seen yet.
func (m *Manager) adopt(e *entry, row outpost.Stored, hasPod bool, now time.Time) (elsewhere bool) {
	if e.unopened || row.Unopened {
		return false
	}
	pending := row.StartPending || row.StopPending
	if pending && m.opts.Shared && e.silent(row.LastUpdate) < staleAfter {
		return true
	}
	m.refresh(e, row.Service)
	switch {
	case row.StopPending:
		m.takeOver(e, phaseStopping, func() { m.remove(e, StopLost) })
	case row.StartPending && e.async && hasPod:
		m.resume(e, row.Service)
	case row.StartPending:
		m.rollBack(e)
	case now.Sub(e.lastPoll()) > abandonedAfter && !hasPod:
		m.endAbandoned(e)
	}
	return false
}

// takeOver lets a goroutine of this process work on an entry, unless one does.
func (m *Manager) takeOver(e *entry, p phase, work func()) {
	if e.take(p, nil) {
		m.Changed(e.Key)
		if !m.goes(work) {
			e.release()
		}
	}
}

// rollBack removes what an interrupted start has made. A hub that waits for it is told.
func (m *Manager) rollBack(e *entry) {
	m.logger(e).Warn("interrupted start is rolled back")
	m.takeOver(e, phaseFailed, func() {
		if e.async {
			m.notify.progress(e).fail("The outpost was restarted while the server was starting; start it again.")
		}
		m.remove(e, StopLost)
	})
}

// resume goes on with an asynchronous start whose pod is there: the spawner adopts it.
func (m *Manager) resume(e *entry, s outpost.Service) {
	hub, err := m.hub(s.Hub)
	if err != nil {
		m.rollBack(e)
		return
	}
	r := outpost.StartRequest{
		Key: s.Key, StartDate: s.StartDate, UserID: s.UserID, Flavor: s.Flavor, Body: s.Body, Async: true,
		Resumed: true,
	}
	runtime, _ := s.State[stateRuntime].(string)
	lifetime, err := time.ParseDuration(runtime)
	if err != nil {
		m.logger(e).Warn("interrupted start cannot go on: its run time is not known", "err", err)
		m.rollBack(e)
		return
	}
	m.logger(e).Info("interrupted start goes on")
	ctx, cancel := context.WithCancel(m.base)
	plan, err := m.spawner.Plan(ctx, hub, r, m.OfHub(s.Hub)[s.Flavor])
	if err != nil {
		cancel()
		m.logger(e).Warn("interrupted start cannot go on", "err", err)
		m.rollBack(e)
		return
	}
	plan.State = s.State
	if !e.take(phaseStarting, cancel) || !m.goes(func() { defer cancel(); m.runStart(ctx, e, plan, lifetime) }) {
		cancel()
	}
}

// endAbandoned removes a service whose pod is gone and whose hub has not asked for it for long.
func (m *Manager) endAbandoned(e *entry) {
	at := e.current()
	if at.phase != phaseRunning {
		return
	}
	status, err := m.spawner.Poll(m.base, e.Key, at.state)
	if err != nil || !status.Gone {
		return
	}
	m.logger(e).Info("service has no pod and no hub that asks for it")
	_, _ = m.beginStop(e, StopUnknown)
}
