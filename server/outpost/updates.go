package outpost

import (
	"context"
	"sync"
	"time"
)

// updates sends hubs the counts of their flavors. For each target there is at most one goroutine; a change that comes
// while it is calling makes it call once more, so that 64 starts at once are not 64 calls.
type updates struct {
	mu      sync.Mutex
	targets map[HubCall]*updateTarget
}

type updateTarget struct{ again bool }

// notifyFlavors tells the hub of a service in the background that its counts have changed (contract 2.13).
func (m *Manager) notifyFlavors(e *entry) {
	call := e.calls.flavors
	if call.URL == "" {
		return
	}
	m.updates.mu.Lock()
	defer m.updates.mu.Unlock()
	if t := m.updates.targets[call]; t != nil {
		t.again = true
		return
	}
	t := &updateTarget{}
	if m.goes(func() { m.sendFlavors(call, t) }) {
		m.updates.targets[call] = t
	}
}

func (m *Manager) sendFlavors(call HubCall, t *updateTarget) {
	for {
		ctx, cancel := context.WithTimeout(m.base, 30*time.Second)
		flavors, err := m.Flavors(ctx, call.Hub)
		if err == nil {
			err = m.hubAPI.PostFlavors(ctx, call, flavors)
		}
		cancel()
		m.observer.HubCalled(call.Hub, "flavors", err)
		if err != nil {
			m.log.Warn("flavor update not delivered", "hub", call.Hub, "err", err)
		}
		m.updates.mu.Lock()
		if !t.again {
			delete(m.updates.targets, call)
			m.updates.mu.Unlock()
			return
		}
		t.again = false
		m.updates.mu.Unlock()
	}
}

// warnRefused warns once for each hub that its requests name URLs that it was not allowed.
func (m *Manager) warnRefused(h Hub, refused []string) {
	if len(refused) == 0 {
		return
	}
	m.mu.Lock()
	warned := m.warned[h.Name]
	m.warned[h.Name] = true
	m.mu.Unlock()
	if !warned {
		m.log.Warn("hub is not called back: its URLs are not among its allowed callback URLs", "hub", h.Name, "variables", refused)
	}
}
