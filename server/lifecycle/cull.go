package lifecycle

import (
	"context"
	"fmt"
	"time"
)

const (
	// clockJump is how far the wall clock may move away from the passing time before it is not believed at once.
	clockJump = 30 * time.Second
	// polledRecently is how long a poll proves that the hub knows a service, whatever its list says.
	polledRecently = 5 * time.Minute
)

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
	doubted := map[string]bool{} // hubs whose last list had none of their services
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
				delete(doubted, h.Name)
				m.log.Warn("hub does not list its servers; none of its services are stopped", "hub", h.Name, "err", err)
				continue
			}
			doubted[h.Name] = m.stopUnknown(h.Name, list, doubted[h.Name])
		}
		if !sleep(ctx, m.opts.Cleanup) {
			return
		}
	}
}

// stopUnknown stops services of one hub that are old enough and not in the hub's list. A service that the hub has
// polled of late is kept: the hub knows it. A list with none of the hub's services may come from a hub that has lost
// its database: it is believed only if the list before was the same (again). None reports whether this one is.
func (m *Manager) stopUnknown(hub string, list []string, again bool) (none bool) {
	inList := make(map[string]bool, len(list))
	for _, s := range list {
		inList[s] = true
	}
	none = true
	var unknown []*entry
	now := m.opts.Now()
	for _, e := range m.index.all(hub) {
		at := e.current()
		switch {
		case inList[fmt.Sprintf("%d_%s_%s", e.userID, e.Name, e.StartID)]:
			none = false
		case at.phase != phaseRunning || at.owned || e.unopened || now.Sub(e.startDate) < m.opts.CleanupAge:
		case now.Sub(e.lastPoll()) < polledRecently:
			m.logger(e).Warn("hub polls a service that is not in its list; it is kept")
		default:
			unknown = append(unknown, e)
		}
	}
	if len(unknown) == 0 {
		return false
	}
	if none && !again {
		m.log.Warn("hub lists none of its services; they are stopped if its next list has none either",
			"hub", hub, "services", len(unknown))
		return true
	}
	for _, e := range unknown {
		_, _ = m.beginStop(e, StopUnknown)
	}
	return none
}
