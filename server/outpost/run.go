package outpost

import (
	"context"
	"sync"
	"time"
)

const (
	staleAfter    = time.Minute     // without a sign of the process that starts or stops a service
	syncEvery     = 5 * time.Second // to follow other processes, if there are any
	flightEvery   = time.Second     // between two syncs of a hub on demand
	flightSeats   = 256             // that wait for one of them
	tunnelTries   = 5
	tunnelPause   = 5 * time.Second
	tunnelsAtOnce = 8
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

// load reads all services into memory, trying until the database answers. It tells whether it did.
func (m *Manager) load(ctx context.Context) bool {
	retry := newBackoff()
	for {
		begin := time.Now()
		rows, err := m.store.All(ctx)
		if err == nil {
			for _, row := range rows {
				e, _ := m.index.add(m.entryOf(row))
				m.permitEntry(e)
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

// sync follows what other processes have done to the services of all hubs.
func (m *Manager) sync(ctx context.Context) {
	for hub := range *m.hubs.Load() {
		if ctx.Err() != nil {
			return
		}
		m.syncRows(ctx, hub)
	}
}

// flight is one sync of a hub on demand, for all who ask for it.
type flight struct {
	began   time.Time
	done    chan struct{} // closed when the rows are read
	waiting int           // who asked meanwhile, and in the second after its begin
}

// syncHub is sync for one hub on demand, at most once a second. It returns when enough holds, or when rows have been read
// that are not older than the call. Those who come in a flood, as refused channels do, are not waited with.
func (m *Manager) syncHub(ctx context.Context, hub string, enough func() bool) {
	if _, ok := (*m.hubs.Load())[hub]; !ok {
		return
	}
	for came := time.Now(); ; {
		m.mu.Lock()
		f := m.flights[hub]
		if f == nil || isDone(f.done) && time.Since(f.began) >= flightEvery {
			f = &flight{began: time.Now(), done: make(chan struct{})}
			m.flights[hub] = f
			m.mu.Unlock()
			defer close(f.done)
			ctx, cancel := context.WithTimeout(m.base, storeTimeout) // others wait for it too
			defer cancel()
			m.syncRows(ctx, hub)
			return
		}
		f.waiting++
		crowded := f.waiting > flightSeats
		m.mu.Unlock()
		if crowded {
			return
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return
		}
		if enough() || f.began.After(came) || !sleep(ctx, time.Until(f.began.Add(flightEvery))) {
			return
		}
	}
}

func (m *Manager) syncRows(ctx context.Context, hub string) {
	// Entries first: one that is added while the rows are read must not count as removed.
	known := m.snapshot(hub)
	rows, err := m.store.List(ctx, hub)
	if err != nil {
		m.log.Warn("services of other processes cannot be read", "hub", hub, "err", err)
		return
	}
	there := make(map[Key]Summary, len(rows))
	for _, row := range rows {
		there[row.Key] = row
		e := m.index.get(row.Key)
		if e == nil {
			if _, err := m.fetch(ctx, row.Key); err != nil && KindOf(err) != KindNotFound {
				m.log.Warn("service of another process cannot be read", "hub", hub, "service", row.Name, "start_id", row.StartID, "err", err)
			}
			continue
		}
		if seen := row.LastUpdate.UnixNano(); seen > e.seen.Load() {
			e.seen.Store(seen)
			e.written.Store(seen)
		}
		e.mu.Lock()
		changed := !e.owned && e.phase != phaseOf(row)
		e.mu.Unlock()
		if changed {
			if s, err := m.store.Get(ctx, row.Key); err == nil {
				m.refresh(e, s)
			}
		}
	}
	for key, before := range known {
		row, ok := there[key]
		switch e := before.entry; {
		case !ok && !before.owned:
			m.forget(e)
		case before.owned && before.starting && before.accepted && (!ok || row.StopPending):
			e.mu.Lock()
			cancel := e.cancel
			e.mu.Unlock()
			if cancel != nil {
				m.logger(e).Info("start is being stopped by another process")
				cancel() // the end of the start removes what it made
			}
		}
	}
}

func phaseOf(row Summary) phase {
	switch {
	case row.StopPending:
		return phaseStopping
	case row.StartPending:
		return phaseStarting
	}
	return phaseRunning
}

// renewTunnels asks the hubs for the tunnels that broke with the process before this one, once SSH and HTTP can be
// reached (contract 2.11).
func (m *Manager) renewTunnels(ctx context.Context) {
	type renewal struct {
		call HubCall
		what string
		do   func(context.Context, HubCall) error
	}
	var list []renewal
	for _, h := range *m.hubs.Load() {
		if h.TunnelRestart != nil {
			call := *h.TunnelRestart
			call.Hub = h.Name
			list = append(list, renewal{call, "restart", m.hubAPI.RestartTunnels})
		}
		if !h.RecreateTunnels {
			continue
		}
		for _, e := range m.index.all(h.Name) {
			e.mu.Lock()
			running, address := e.phase == phaseRunning, e.address
			e.mu.Unlock()
			if running && address != "" && e.calls.tunnel.URL != "" {
				list = append(list, renewal{e.calls.tunnel, "tunnel", func(ctx context.Context, c HubCall) error {
					return m.hubAPI.PostTunnel(ctx, c, address)
				}})
			}
		}
	}
	if len(list) == 0 {
		return
	}
	if m.opts.Reachable != nil {
		if err := m.opts.Reachable(ctx); err != nil {
			if ctx.Err() == nil {
				m.log.Error("tunnels are not renewed: this outpost cannot be reached", "err", err)
			}
			return
		}
	}
	slots := make(chan struct{}, tunnelsAtOnce)
	var calls sync.WaitGroup
	for _, r := range list {
		slots <- struct{}{}
		calls.Go(func() {
			defer func() { <-slots }()
			m.renew(ctx, r.call, r.what, r.do)
		})
	}
	calls.Wait()
}

// renew tries a renewal several times; an answer that is final ends it: after a 400 the hub has stopped the server.
func (m *Manager) renew(ctx context.Context, call HubCall, what string, do func(context.Context, HubCall) error) {
	for try := 1; ; try++ {
		err := do(ctx, call)
		m.observer.HubCalled(call.Hub, what, err)
		switch {
		case err == nil:
			m.log.Info("tunnels renewed", "hub", call.Hub, "call", what)
			return
		case KindOf(err) == KindFailed || try == tunnelTries:
			m.log.Warn("tunnel not renewed", "hub", call.Hub, "call", what, "try", try, "err", err)
			return
		case !sleep(ctx, tunnelPause):
			return
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

// keepReconciling reconciles every few minutes, and sooner as long as there is what only another process can be working on: it may
// have died just before this one was chosen.
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
