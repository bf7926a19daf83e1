package outpost

import (
	"context"
	"net"
	"strconv"
	"time"
)

// Poll tells whether a service runs. It needs neither Store nor cluster for a service that is in memory.
// Errors: KindNotFound only if the service is certainly gone; KindInternal if its row cannot be opened.
func (m *Manager) Poll(ctx context.Context, k Key, collectLogs bool) (PollResult, error) {
	e := m.index.get(k)
	if e == nil {
		var err error
		if e, err = m.find(ctx, k); err != nil {
			return m.pollUnknown(k, err)
		}
	}
	if e.unopened {
		return PollResult{}, unopened(nil)
	}
	e.seen.Store(m.opts.Now().UnixNano())
	e.mu.Lock()
	phase, state, owned, ended, logs, code := e.phase, e.state, e.owned, e.ended, e.logs, e.code
	e.mu.Unlock()
	switch phase {
	case phaseFailed:
		return PollResult{Ended: true, ExitCode: 1}, nil
	case phaseStarting, phaseStopping:
		if m.opts.Shared && !owned {
			return m.pollElsewhere(ctx, e)
		}
		return PollResult{}, nil
	}
	status, err := m.spawner.Poll(ctx, k, state)
	if err != nil {
		return PollResult{}, err
	}
	if !status.Ended || !isDone(m.reconciled) {
		var result PollResult
		if collectLogs {
			result.Logs = m.collectLogs(ctx, e)
		}
		return result, nil
	}
	if status.Gone && m.opts.Shared {
		// Another process may have removed it.
		if _, err := m.store.Get(ctx, k); KindOf(err) == KindNotFound && err != nil {
			m.forget(e)
			return PollResult{}, ErrNotFound
		}
	}
	if !ended {
		logs, code = m.reportEnd(ctx, e, status), status.ExitCode
	} else if !status.Gone {
		code = status.ExitCode
	} // else the ended pod was tidied away; what was seen of it holds
	if code == 0 && !collectLogs {
		logs = nil
	}
	return PollResult{Ended: true, ExitCode: code, Logs: logs}, nil
}

// pollUnknown answers a poll for a service that is not in memory and could not be read.
func (m *Manager) pollUnknown(k Key, err error) (PollResult, error) {
	if KindOf(err) == KindNotFound && !isDone(m.reconciled) && k.StartID != "" {
		return PollResult{}, nil // it may be a left-over that is not dealt with yet
	}
	return PollResult{}, err
}

// pollElsewhere answers a poll for a service that another process starts or stops: the row says how far it is.
func (m *Manager) pollElsewhere(ctx context.Context, e *entry) (PollResult, error) {
	s, err := m.store.Get(ctx, e.Key)
	switch {
	case KindOf(err) == KindNotFound && err != nil:
		m.forget(e)
		return PollResult{}, ErrNotFound
	case err == nil:
		m.refresh(e, s)
	}
	return PollResult{}, nil // a database that is away is no reason to end a server
}

// reportEnd collects the logs of a service that was found ended, once, and tells the hub of an error (X40).
func (m *Manager) reportEnd(ctx context.Context, e *entry, status Status) []string {
	logs := m.collectLogs(ctx, e)
	e.mu.Lock()
	first := !e.ended
	if first {
		e.ended, e.logs, e.code = true, logs, status.ExitCode
	}
	e.mu.Unlock()
	if !first {
		return logs
	}
	m.logger(e).Info("service ended", "exit_code", status.ExitCode, "reason", status.Reason)
	if status.ExitCode != 0 && e.calls.events.URL != "" {
		if len(logs) == 0 && status.Reason != "" {
			logs = []string{status.Reason}
		}
		m.goes(func() { _ = m.postEvent(m.base, e, failedPoll(logs)) })
	}
	return logs
}

// refresh takes over what another process has written to a service's row.
func (m *Manager) refresh(e *entry, s Service) {
	state := m.spawner.Restore((*m.hubs.Load())[s.Hub], s)
	e.mu.Lock()
	if e.owned {
		e.mu.Unlock()
		return
	}
	e.state, e.address, e.end = state, s.Address, s.EndDate
	switch {
	case s.StopPending:
		e.phase = phaseStopping
	case s.StartPending:
		e.phase = phaseStarting
	default:
		e.phase = phaseRunning
	}
	p, ok := permitOf(e.Hub, e.address)
	switch {
	case ok && e.phase == phaseRunning:
		m.index.allow(e, p)
	case ok:
		m.index.forbid(e, p)
	}
	e.mu.Unlock()
}

// forget drops a service that another process has removed.
func (m *Manager) forget(e *entry) {
	e.mu.Lock()
	if p, ok := permitOf(e.Hub, e.address); ok {
		m.index.forbid(e, p)
	}
	e.mu.Unlock()
	m.index.remove(e)
	e.markGone()
}

// touch writes when services were last polled; those that this process starts or stops count as polled, so that
// other processes see that it works on them.
func (m *Manager) touch(ctx context.Context) {
	now := m.opts.Now()
	at := map[Key]time.Time{}
	entries := m.index.all("")
	for _, e := range entries {
		e.mu.Lock()
		working := e.owned
		e.mu.Unlock()
		if working && m.opts.Shared {
			// A sign of life is one that changes, also when this clock has gone back or is behind another's.
			e.seen.Store(max(now.UnixNano(), e.written.Load()+int64(time.Microsecond)))
		}
		if seen := e.seen.Load(); seen > e.written.Load() && !e.unopened {
			at[e.Key] = time.Unix(0, seen).UTC()
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

// PermitOpen tells whether a hub may open host and port by SSH: only the address of one of its services whose pod runs, as far as
// is known: others may have got the address of a pod that has ended. Address is what to dial, "host:port".
func (m *Manager) PermitOpen(ctx context.Context, hub, host string, port int) (address string, ok bool) {
	p := permit{hub: hub, host: host, port: strconv.Itoa(port)}
	e := m.index.permitted(p)
	if e == nil && m.opts.Shared {
		m.syncHub(ctx, hub, func() bool { return m.index.permitted(p) != nil })
		e = m.index.permitted(p)
	}
	if e == nil {
		return "", false
	}
	e.mu.Lock()
	state := e.state
	e.mu.Unlock()
	if status, err := m.spawner.Poll(ctx, e.Key, state); err == nil && status.Ended {
		return "", false
	}
	return net.JoinHostPort(p.host, p.port), true
}
