package lifecycle

import (
	"context"
	"time"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Flavors returns the flavors of a hub, each with "current", the number of the hub's services of it.
func (m *Manager) Flavors(ctx context.Context, hub string) (map[string]flavor.Flavor, error) {
	return m.counted(ctx, hub, m.flavors.Load().OfHub(hub))
}

// UserFlavors returns the flavors of one user of a hub, as [Manager.Flavors] does; authentication is decoded JSON, nil
// or an object.
func (m *Manager) UserFlavors(ctx context.Context, hub string, authentication any) (map[string]flavor.Flavor, error) {
	offer, err := m.flavors.Load().OfUser(hub, authentication)
	if err != nil {
		return nil, flavorError(err, "")
	}
	return m.counted(ctx, hub, offer)
}

// counted adds their present use to flavors.
func (m *Manager) counted(
	ctx context.Context, hub string, offer map[string]flavor.Flavor,
) (map[string]flavor.Flavor, error) {
	if len(offer) == 0 {
		return offer, nil
	}
	usage, err := m.store.Usage(ctx, hub)
	if err != nil {
		return nil, storeError(err)
	}
	for name, f := range offer {
		f["current"] = usage.ByFlavor[name]
	}
	return offer, nil
}

// updateTimeout bounds one flavor update.
const updateTimeout = 30 * time.Second

// sendFlavors tells a hub its flavors, again as long as their counts change meanwhile. It is the goroutine of
// notifier.flavors.
func (n *notifier) sendFlavors(call outpost.HubCall) {
	for again := true; again; {
		ctx, cancel := context.WithTimeout(n.m.base, updateTimeout)
		flavors, err := n.m.Flavors(ctx, call.Hub)
		if err == nil {
			err = n.m.hubAPI.PostFlavors(ctx, call, flavors)
		}
		cancel()
		n.m.observer.HubCalled(call.Hub, "flavors", err)
		if err != nil {
			n.m.log.Warn("flavor update not delivered", "hub", call.Hub, "err", err)
		}
		n.mu.Lock()
		if again = n.updates[call]; again {
			n.updates[call] = false
		} else {
			delete(n.updates, call)
		}
		n.mu.Unlock()
	}
}

// Credits returns the credit definitions of a hub.
func (m *Manager) Credits(hub string) map[string]flavor.Flavor { return m.credits.Load().OfHub(hub) }

// UserCredits returns the credit definitions of one user of a hub. Forbidden users get each with cap 0.
func (m *Manager) UserCredits(hub string, authentication any) (map[string]flavor.Flavor, error) {
	offer, err := m.credits.Load().OfUser(hub, authentication)
	if err != nil {
		return nil, flavorError(err, "")
	}
	return offer, nil
}

// SetFlavors replaces the flavors file; nil means not configured.
func (m *Manager) SetFlavors(f *flavor.Flavors) { m.flavors.Store(f) }

// SetCredits replaces the credits file; nil means not configured.
func (m *Manager) SetCredits(f *flavor.Flavors) { m.credits.Store(f) }
