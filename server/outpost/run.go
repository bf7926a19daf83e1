package outpost

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	staleAfter = time.Minute // without a sign of the process that starts or stops a service
	firstWait  = 200 * time.Millisecond
	lastWait   = 30 * time.Second
	// clockJump is how far the wall clock may move away from the passing time before it is not believed at once.
	clockJump = 30 * time.Second
	// polledRecently is how long a poll proves that the hub knows a service, whatever its list says.
	polledRecently = 5 * time.Minute
)

// Run loads the services from the Store and does the work that every process does (writes LastUpdate, follows other
// processes' changes if Shared, renews tunnels once) until ctx ends. Then it cancels starts that are under way,
// without removing anything, and waits for its goroutines: the next process finishes or rolls back what is left.
func (m *Manager) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() {
		if !m.load(ctx) {
			return
		}
		loops.Go(func() { m.every(ctx, m.opts.Touch, func() { m.touch(ctx) }) })
		if m.opts.Shared {
			loops.Go(func() { m.every(ctx, syncEvery, func() { m.sync(ctx) }) })
		}
		loops.Go(func() { m.renewTunnels(ctx) })
	})
	<-ctx.Done()
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.stopAll()
	loops.Wait()
	m.work.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	m.touch(last)
	return nil
}

// every calls f after each interval until ctx ends.
func (m *Manager) every(ctx context.Context, interval time.Duration, f func()) {
	for sleep(ctx, interval) {
		f()
	}
}

// load reads all services into memory, trying until the database answers; false if ctx ended before.
func (m *Manager) load(ctx context.Context) bool {
	retry := newBackoff()
	for {
		begin := time.Now()
		rows, err := m.store.All(ctx)
		if err == nil {
			for _, row := range rows {
				e := m.keep(row)
				if row.Unopened {
					m.logger(e).Error("stored service cannot be opened with any key; it is kept as it is")
				}
			}
			m.log.Info("services loaded", "services", len(rows), "duration", time.Since(begin))
			m.loadedOnce.Do(func() { close(m.loaded) })
			break
		}
		m.log.Error("services cannot be loaded yet", "err", err)
		if !retry.wait(ctx) {
			return false
		}
	}
	if m.opts.Shared {
		if !m.waitSpawner(ctx) {
			return false
		}
		m.reconciledOnce.Do(func() { close(m.reconciled) })
	}
	return true
}

// waitSpawner waits until the spawner's caches are filled.
func (m *Manager) waitSpawner(ctx context.Context) bool {
	for {
		err := m.spawner.Ready(ctx)
		if err == nil {
			return true
		}
		m.log.Debug("spawner is not ready yet", "err", err)
		if !sleep(ctx, firstWait) {
			return false
		}
	}
}

// RunLeader does the work that only one process may do at a time, until ctx ends: it reconciles rows and pods at
// once and every few minutes, ends services past their end date, and cleans up what hubs no longer know.
// Polls are answered "running" until the first reconciliation is done (if Shared: until Run has loaded the rows).
func (m *Manager) RunLeader(ctx context.Context) error {
	select {
	case <-m.loaded:
	case <-ctx.Done():
		return nil
	}
	if !m.waitSpawner(ctx) {
		return nil
	}
	retry := newBackoff()
	var elsewhere bool
	for {
		var err error
		if elsewhere, err = m.reconcile(ctx); err == nil {
			break
		}
		m.log.Error("rows and pods cannot be reconciled yet", "err", err)
		if !retry.wait(ctx) {
			return nil
		}
	}
	m.reconciledOnce.Do(func() { close(m.reconciled) })
	var loops sync.WaitGroup
	loops.Go(func() { m.keepReconciling(ctx, elsewhere) })
	if m.opts.EndDates > 0 {
		loops.Go(func() { m.watchEndDates(ctx) })
	}
	if m.opts.Cleanup > 0 {
		loops.Go(func() { m.watchHubs(ctx) })
	}
	loops.Wait()
	return nil
}

// keepReconciling reconciles every few minutes, and sooner as long as there is what only another process can be working
// on: it may have died just before this one was chosen.
func (m *Manager) keepReconciling(ctx context.Context, elsewhere bool) {
	for {
		wait := m.opts.Reconcile
		if elsewhere {
			wait = min(wait, staleAfter)
		}
		if !sleep(ctx, wait) {
			return
		}
		again, err := m.reconcile(ctx)
		if err != nil {
			if ctx.Err() == nil {
				m.log.Warn("rows and pods cannot be reconciled", "err", err)
			}
			continue
		}
		elsewhere = again
	}
}

// watchEndDates stops services past their end date, at once and then after each interval. When the wall clock has
// jumped it waits one interval: else an end date would depend on a moment's wrong time.
func (m *Manager) watchEndDates(ctx context.Context) {
	wall, mono := m.opts.Now().Round(0), time.Now()
	for {
		now := m.opts.Now().Round(0)
		jump := now.Sub(wall) - time.Since(mono)
		wall, mono = now, time.Now()
		if jump.Abs() > clockJump {
			m.log.Warn("the clock has jumped; end dates are looked at again after one interval", "duration", jump)
		} else {
			m.stopEnded(now)
		}
		if !sleep(ctx, m.opts.EndDates) {
			return
		}
	}
}

func (m *Manager) stopEnded(now time.Time) {
	for _, e := range m.index.all("") {
		at := e.current()
		over := at.phase == phaseRunning && !at.owned && !at.end.IsZero() && at.end.Before(now)
		if over && !e.unopened {
			_, _ = m.beginStop(e, StopEnded)
		}
	}
}

// watchHubs asks each hub for its servers, at once and then after each interval, and stops services that it does not
// know.
func (m *Manager) watchHubs(ctx context.Context) {
	for {
		for _, h := range *m.hubs.Load() {
			if h.Servers == nil || ctx.Err() != nil {
				continue
			}
			call := *h.Servers
			call.Hub = h.Name
			list, err := m.hubAPI.Servers(ctx, call)
			m.observer.HubCalled(h.Name, "servers", err)
			if err != nil {
				m.log.Warn("hub does not list its servers; none of its services are stopped", "hub", h.Name, "err", err)
				continue
			}
			m.stopUnknown(h.Name, list)
		}
		if !sleep(ctx, m.opts.Cleanup) {
			return
		}
	}
}

// stopUnknown stops services of one hub that are old enough and not in the hub's list. A service that the hub has
// polled of late is kept: the hub knows it.
func (m *Manager) stopUnknown(hub string, list []string) {
	known := make(map[string]bool, len(list))
	for _, s := range list {
		known[s] = true
	}
	now := m.opts.Now()
	for _, e := range m.index.all(hub) {
		at := e.current()
		if at.phase != phaseRunning || at.owned || e.unopened || now.Sub(e.startDate) < m.opts.CleanupAge {
			continue
		}
		if known[fmt.Sprintf("%d_%s_%s", e.userID, e.Name, e.StartID)] {
			continue
		}
		if now.Sub(e.lastPoll()) < polledRecently {
			m.logger(e).Warn("hub polls a service that is not in its list; it is kept")
			continue
		}
		_, _ = m.beginStop(e, StopUnknown)
	}
}

// backoff waits longer from try to try: 0.2 s, doubling to 30 s, each drawn from the upper half.
type backoff struct{ next time.Duration }

func newBackoff() *backoff { return &backoff{next: firstWait} }

// wait waits for the next try; false if ctx ended.
func (b *backoff) wait(ctx context.Context) bool {
	d := b.next/2 + rand.N(b.next/2)
	b.next = min(2*b.next, lastWait)
	return sleep(ctx, d)
}

// sleep waits; false if ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
