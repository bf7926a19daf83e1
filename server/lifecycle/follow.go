package lifecycle

import (
	"context"
	"slices"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
)

const (
	syncEvery   = 5 * time.Second // to follow other processes, if there are any
	lookEvery   = time.Second     // the same for hubs with a service that another process starts or stops
	flightEvery = time.Second     // between two syncs of a hub on demand
	flightSeats = 256             // that wait for one of them
)

// find returns the entry of a service, from the Store if another process made it.
func (m *Manager) find(ctx context.Context, k outpost.Key) (*entry, error) {
	if k.StartID == "" {
		return nil, outpost.ErrNotFound
	}
	if e := m.index.get(k); e != nil {
		return e, nil
	}
	return m.fetch(ctx, k)
}

// fetch reads a service from the Store into memory. KindNotFound if there is none.
func (m *Manager) fetch(ctx context.Context, k outpost.Key) (*entry, error) {
	s, err := m.store.Get(ctx, k)
	if err != nil {
		return nil, outpost.StoreError(err)
	}
	return m.keep(outpost.Stored{Service: s}), nil
}

// keep makes the entry of a stored service, whose hub may open its address while it runs. It returns the one that is in
// memory already, if there is.
func (m *Manager) keep(s outpost.Stored) *entry {
	hub := (*m.hubs.Load())[s.Hub]
	calls, _ := hub.Callbacks(s.Body.Env)
	s.State = m.spawner.Restore(hub, s.Service)
	e := newEntry(s.Service, calls)
	e.unopened = s.Unopened
	close(e.accepted)
	e = m.index.keep(e)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase == phaseRunning {
		m.index.allow(e)
	}
	return e
}

// refresh takes over what another process has written to a service's row.
func (m *Manager) refresh(e *entry, s outpost.Service) {
	state := m.spawner.Restore((*m.hubs.Load())[s.Hub], s)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.owned {
		return
	}
	if e.phase != phaseOf(s.Summary) {
		defer m.Changed(e.Key)
	}
	e.standing = standing{phase: phaseOf(s.Summary), state: state, address: s.Address, end: s.EndDate}
	if e.phase == phaseRunning {
		m.index.allow(e)
	} else {
		m.index.forbid(e)
	}
}

// forget drops a service that another process has removed.
func (m *Manager) forget(e *entry) {
	e.mu.Lock()
	m.index.forbid(e)
	e.mu.Unlock()
	m.drop(e)
}

// touch writes when services were last polled; those that this process starts or stops count as polled, so that
// other processes see that it works on them.
func (m *Manager) touch(ctx context.Context) {
	now := m.opts.Now()
	at := map[outpost.Key]time.Time{}
	entries := m.index.all("")
	for _, e := range entries {
		if m.opts.Shared && e.current().owned {
			// A sign of life is one that changes, also when this clock has gone back or is behind another's.
			e.seen.Store(max(now.UnixNano(), e.written.Load()+int64(time.Microsecond)))
		}
		if e.seen.Load() > e.written.Load() && !e.unopened {
			at[e.Key] = e.lastPoll()
		}
	}
	if len(at) == 0 {
		return
	}
	if err := m.store.Touch(ctx, at); err != nil {
		m.log.Warn("last updates cannot be stored yet", "services", len(at), "err", err)
		return
	}
	for _, e := range entries {
		if t, ok := at[e.Key]; ok {
			e.written.Store(t.UnixNano())
		}
	}
}

// known is an entry as it was at one moment.
type known struct {
	entry                     *entry
	owned, starting, accepted bool
}

// snapshot returns how the entries are before rows are read, so that what changes meanwhile is not mistaken for what
// another process has done.
func (m *Manager) snapshot(hub string) map[outpost.Key]known {
	list := m.index.all(hub)
	s := make(map[outpost.Key]known, len(list))
	for _, e := range list {
		at := e.current()
		s[e.Key] = known{entry: e, owned: at.owned, starting: at.phase == phaseStarting, accepted: isDone(e.accepted)}
	}
	return s
}

// follow follows what other processes do to the services of all hubs, until ctx ends.
func (m *Manager) follow(ctx context.Context) {
	for last := time.Now(); sleep(ctx, lookEvery); {
		all := time.Since(last) >= syncEvery
		if all {
			last = time.Now()
		}
		for hub := range *m.hubs.Load() {
			if ctx.Err() == nil && (all || m.busyElsewhere(hub)) {
				_ = m.syncRows(ctx, hub) // it is logged, and tried again
			}
		}
	}
}

// busyElsewhere reports whether another process starts or stops a service of a hub.
func (m *Manager) busyElsewhere(hub string) bool {
	return slices.ContainsFunc(m.index.all(hub), func(e *entry) bool {
		at := e.current()
		return !at.owned && at.phase != phaseRunning && !e.unopened
	})
}

// flight is one sync of a hub on demand, for all who ask for it.
type flight struct {
	began   time.Time
	done    chan struct{} // closed when the rows are read
	waiting int           // who asked meanwhile, and in the second after its begin
}

// syncHub is sync for one hub on demand, at most once a second. It returns when enough holds, or when rows have been
// read that are not older than the call. Beyond flightSeats, as in a flood of refused channels, callers do not wait.
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
			_ = m.syncRows(ctx, hub) // it is logged
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

// syncRows follows what other processes have done to the services of one hub. The error is that of the Store.
func (m *Manager) syncRows(ctx context.Context, hub string) error {
	// Entries first: one that is added while the rows are read must not count as removed.
	known := m.snapshot(hub)
	rows, err := m.store.List(ctx, hub)
	if err != nil {
		m.log.Warn("services of other processes cannot be read", "hub", hub, "err", err)
		return outpost.StoreError(err)
	}
	there := make(map[outpost.Key]outpost.Summary, len(rows))
	for _, row := range rows {
		there[row.Key] = row
		m.syncRow(ctx, row)
	}
	for key, before := range known {
		row, ok := there[key]
		switch {
		case !ok && !before.owned:
			m.forget(before.entry)
		case before.owned && before.starting && before.accepted &&
			(!ok || row.StopPending || !before.entry.isStart(row)):
			if before.entry.cancelStart() { // the end of the start removes what it made
				m.logger(before.entry).Info("start is being stopped by another process")
			}
		}
	}
	return nil
}

// syncRow takes over one row that may have changed.
func (m *Manager) syncRow(ctx context.Context, row outpost.Summary) {
	e := m.index.get(row.Key)
	if e != nil && !e.isStart(row) && !e.current().owned {
		m.forget(e) // another process has removed it and started the key anew
		e = nil
	}
	if e == nil {
		if _, err := m.fetch(ctx, row.Key); err != nil && outpost.KindOf(err) != outpost.KindNotFound {
			m.log.Warn("service of another process cannot be read",
				"hub", row.Hub, "service", row.Name, "start_id", row.StartID, "err", err)
		}
		return
	}
	if seen := row.LastUpdate.UnixNano(); seen > e.seen.Load() {
		e.seen.Store(seen)
		e.written.Store(seen)
	}
	if at := e.current(); at.owned || at.phase == phaseOf(row) {
		return
	}
	if s, err := m.store.Get(ctx, row.Key); err == nil {
		m.refresh(e, s)
	}
}
