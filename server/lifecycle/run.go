package lifecycle

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	staleAfter = time.Minute // without a sign of the process that starts or stops a service
	firstWait  = 200 * time.Millisecond
	lastWait   = 30 * time.Second
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
		loops.Go(func() {
			for sleep(ctx, m.opts.Touch) {
				m.touch(ctx)
			}
		})
		if m.opts.Shared {
			loops.Go(func() { m.follow(ctx) })
		}
		loops.Go(func() { m.renewTunnels(ctx) })
	})
	<-ctx.Done()
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.boards.Close()
	m.stopAll()
	loops.Wait()
	m.work.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	m.touch(last)
	return nil
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

// RunLeader does the work that only one process may do at a time, until ctx ends: it ends services past their end date,
// reconciles rows and pods at once and every few minutes, and after the first time cleans up what hubs no longer
// know. Polls are answered "running" until the first reconciliation is done (if Shared: until Run has loaded the rows).
func (m *Manager) RunLeader(ctx context.Context) error {
	select {
	case <-m.loaded:
	case <-ctx.Done():
		return nil
	}
	defer m.setUnseen(nil)
	var loops sync.WaitGroup
	defer loops.Wait()
	if m.opts.EndDates > 0 {
		loops.Go(func() { m.watchEndDates(ctx) })
	}
	if !m.waitSpawner(ctx) {
		return nil
	}
	retry := newBackoff()
	var later bool
	for {
		var err error
		if later, err = m.reconcile(ctx); err == nil {
			break
		}
		m.log.Error("rows and pods cannot be reconciled yet", "err", err)
		if !retry.wait(ctx) {
			return nil
		}
	}
	m.reconciledOnce.Do(func() { close(m.reconciled) })
	loops.Go(func() { m.keepReconciling(ctx, later) })
	if m.opts.Cleanup > 0 {
		loops.Go(func() { m.watchHubs(ctx) })
	}
	return nil
}

// keepReconciling reconciles every few minutes, and sooner as long as something was left for later: the process that
// seems to work on it may have died just before this one was chosen.
func (m *Manager) keepReconciling(ctx context.Context, later bool) {
	for {
		wait := m.opts.Reconcile
		if later {
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
		later = again
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
