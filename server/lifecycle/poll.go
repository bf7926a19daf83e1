package lifecycle

import (
	"context"

	"github.com/outposts-dev/outposts/server/outpost"
)

// Poll reports whether a service runs. It needs neither Store nor cluster for a service that is in memory.
// Errors: KindNotFound only if the service is certainly gone; [Unopened]; those of the Spawner.
func (m *Manager) Poll(ctx context.Context, k outpost.Key, collectLogs bool) (outpost.PollResult, error) {
	e, err := m.find(ctx, k)
	if err != nil {
		return m.pollUnknown(k, err)
	}
	if e.unopened {
		return outpost.PollResult{}, outpost.Unopened(nil)
	}
	e.seen.Store(m.opts.Now().UnixNano())
	switch at := e.current(); at.phase {
	case phaseFailed:
		return outpost.PollResult{Ended: true, ExitCode: 1}, nil
	case phaseRunning:
		return m.pollPod(ctx, e, at.state, collectLogs)
	default:
		if m.opts.Shared && !at.owned {
			return m.pollElsewhere(ctx, e)
		}
		return outpost.PollResult{}, nil
	}
}

// pollUnknown answers a poll for a service that is not in memory and could not be read.
func (m *Manager) pollUnknown(k outpost.Key, err error) (outpost.PollResult, error) {
	if outpost.KindOf(err) == outpost.KindNotFound && !isDone(m.reconciled) && k.StartID != "" {
		return outpost.PollResult{}, nil // it may be a left-over that is not dealt with yet
	}
	return outpost.PollResult{}, err
}

// pollElsewhere answers a poll for a service that another process starts or stops: the row says how far it is.
func (m *Manager) pollElsewhere(ctx context.Context, e *entry) (outpost.PollResult, error) {
	s, err := m.store.Get(ctx, e.Key)
	switch {
	case err == nil:
		m.refresh(e, s)
	case outpost.KindOf(err) == outpost.KindNotFound:
		m.forget(e)
		return outpost.PollResult{}, outpost.ErrNotFound
	}
	return outpost.PollResult{}, nil // a database that does not answer does not end a server
}

// pollPod answers a poll for a service that has been started.
func (m *Manager) pollPod(
	ctx context.Context, e *entry, state outpost.State, collectLogs bool,
) (outpost.PollResult, error) {
	status, err := m.spawner.Poll(ctx, e.Key, state)
	if err != nil {
		return outpost.PollResult{}, err
	}
	if !status.Ended || !isDone(m.reconciled) {
		var result outpost.PollResult
		if collectLogs {
			result.Logs = m.collectLogs(ctx, e)
		}
		return result, nil
	}
	if status.Gone && m.opts.Shared {
		// Another process may have removed it.
		if _, err := m.store.Get(ctx, e.Key); outpost.KindOf(err) == outpost.KindNotFound {
			m.forget(e)
			return outpost.PollResult{}, outpost.ErrNotFound
		}
	}
	end := e.ended.Load()
	switch {
	case end == nil:
		end = m.reportEnd(ctx, e, status)
	case !status.Gone: // else the ended pod was tidied away, and what was seen of it holds
		end = &ending{status.ExitCode, end.logs}
	}
	result := outpost.PollResult{Ended: true, ExitCode: end.code, Logs: end.logs}
	if end.code == 0 && !collectLogs {
		result.Logs = nil
	}
	return result, nil
}

// reportEnd collects the logs of a service that was found ended, once, and tells the hub of an error (protocol 2.8).
func (m *Manager) reportEnd(ctx context.Context, e *entry, status outpost.Status) *ending {
	end := &ending{status.ExitCode, m.collectLogs(ctx, e)}
	if !e.ended.CompareAndSwap(nil, end) {
		return end
	}
	m.logger(e).Info("service ended", "exit_code", status.ExitCode, "reason", status.Reason)
	if status.ExitCode != 0 && e.calls.Events.URL != "" {
		if len(end.logs) == 0 && status.Reason != "" {
			end = &ending{end.code, []string{status.Reason}}
		}
		m.notify.ended(e, end.logs)
	}
	return end
}

// collectLogs returns the last lines of a service's log; a failure is logged, and there are none.
func (m *Manager) collectLogs(ctx context.Context, e *entry) []string {
	ctx, cancel := context.WithTimeout(ctx, logsTimeout)
	defer cancel()
	logs, err := m.spawner.Logs(ctx, e.Key, e.current().state, m.opts.LogLines)
	if err != nil {
		m.logger(e).Warn("logs cannot be collected", "err", err)
	}
	return logs
}
