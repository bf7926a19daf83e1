package lifecycle

import (
	"context"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
)

const (
	logsTimeout = 10 * time.Second       // of collecting logs
	logsWait    = 250 * time.Millisecond // how long Look waits for the log of a server that has ended
	logsAtOnce  = 16                     // logs of servers that have ended, each of up to 1 MiB
)

// Poll reports whether a service runs. It needs neither Store nor cluster for a service that is in memory.
// Errors: KindNotFound only if the service is certainly gone; [Unopened]; those of the Spawner and the Store.
func (m *Manager) Poll(ctx context.Context, k outpost.Key, collectLogs bool) (outpost.PollResult, error) {
	e, err := m.find(ctx, k)
	if err != nil {
		return m.pollUnknown(k, err)
	}
	e.polled(m.opts.Now())
	return m.poll(ctx, e, collectLogs, logsTimeout)
}

// Look implements [watch.Source].
func (m *Manager) Look(ctx context.Context, k outpost.Key) (outpost.PollResult, error) {
	e, err := m.find(ctx, k)
	if err != nil {
		return m.pollUnknown(k, err)
	}
	return m.poll(ctx, e, false, logsWait)
}

// poll answers a poll. It waits so long for the log of a server that has ended.
func (m *Manager) poll(
	ctx context.Context, e *entry, collectLogs bool, wait time.Duration,
) (outpost.PollResult, error) {
	if e.unopened {
		return outpost.PollResult{}, outpost.Unopened(nil)
	}
	switch at := e.current(); at.phase {
	case phaseFailed:
		return outpost.PollResult{Ended: true, ExitCode: 1}, nil
	case phaseRunning:
		return m.pollPod(ctx, e, at.state, collectLogs, wait)
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
	ctx context.Context, e *entry, state outpost.State, collectLogs bool, wait time.Duration,
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
		// Another process may have removed it, or be about to remove its row.
		row, err := m.store.Get(ctx, e.Key)
		switch {
		case outpost.KindOf(err) == outpost.KindNotFound:
			m.forget(e)
			return outpost.PollResult{}, outpost.ErrNotFound
		case err != nil:
			return outpost.PollResult{}, outpost.StoreError(err)
		case row.StopPending:
			m.refresh(e, row)
			return outpost.PollResult{}, nil
		}
	}
	m.waitReport(ctx, m.reportEnd(e, status), wait)
	end := e.ended.Load()
	switch {
	case end == nil:
		return outpost.PollResult{
			Ended: true, ExitCode: status.ExitCode, KubeReason: status.KubeReason, LogsDue: true,
		}, nil
	case !status.Gone: // else the ended pod was tidied away, and what was seen of it holds
		end = &ending{status.ExitCode, status.KubeReason, end.logs}
	}
	result := outpost.PollResult{Ended: true, ExitCode: end.code, KubeReason: end.reason, Logs: end.logs}
	if end.code == 0 && !collectLogs {
		result.Logs = nil
	}
	return result, nil
}

// waitReport waits until a report is there.
func (m *Manager) waitReport(ctx context.Context, report <-chan struct{}, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case <-report:
	case <-ctx.Done():
	case <-m.base.Done():
	}
}

// reportEnd collects the logs of a service that was found ended, once, and tells the hub of an error (protocol 2.8).
// What it returns is closed when that is done.
func (m *Manager) reportEnd(e *entry, status outpost.Status) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.report != nil {
		return e.report
	}
	report := make(chan struct{})
	if m.goes(func() {
		defer m.Changed(e.Key)
		defer close(report)
		m.report(e, status)
	}) {
		e.report = report
	}
	return report
}

// report is the goroutine of reportEnd.
func (m *Manager) report(e *entry, status outpost.Status) {
	select {
	case m.logSlots <- struct{}{}:
		defer func() { <-m.logSlots }()
	case <-m.base.Done():
		return
	}
	end := &ending{status.ExitCode, status.KubeReason, m.collectLogs(m.base, e)}
	tell := status.ExitCode != 0 && e.calls.Events.URL != ""
	if tell && len(end.logs) == 0 && status.Reason != "" {
		end.logs = []string{status.Reason}
	}
	e.ended.Store(end)
	m.observer.ServiceEnded(e.subject(), status.ExitCode, status.KubeReason)
	m.logger(e).Info("service ended", "exit_code", status.ExitCode, "reason", status.Reason)
	if tell {
		m.notify.ended(e, end.logs)
	}
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
