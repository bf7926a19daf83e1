package lifecycle

import (
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"

	"github.com/outposts-dev/outposts/server/outpost"
)

// index finds services in memory, and which hub may open which address. Lock order: an entry's mu before the index's.
type index struct {
	mu      sync.RWMutex
	byKey   map[outpost.Key]*entry
	byHub   map[string]map[outpost.Key]*entry
	permits map[permit]*entry
	changed func(outpost.Key) // of each entry that comes or goes
}

func newIndex(changed func(outpost.Key)) *index {
	return &index{
		byKey: map[outpost.Key]*entry{}, byHub: map[string]map[outpost.Key]*entry{}, permits: map[permit]*entry{},
		changed: changed,
	}
}

// get returns the entry of a key, or nil.
func (x *index) get(k outpost.Key) *entry {
	x.mu.RLock()
	e := x.byKey[k]
	x.mu.RUnlock()
	return e
}

// free returns the error of a start whose key is taken; nil if it is free.
func (x *index) free(k outpost.Key) error {
	if x.get(k) != nil {
		return outpost.Duplicate(k)
	}
	return nil
}

// add adds an entry; the error is that of free.
func (x *index) add(e *entry) error {
	if x.keep(e) != e {
		return outpost.Duplicate(e.Key)
	}
	return nil
}

// keep adds an entry unless its key is taken, and returns the one that is in the index now.
func (x *index) keep(e *entry) *entry {
	x.mu.Lock()
	defer x.mu.Unlock()
	if old := x.byKey[e.Key]; old != nil {
		return old
	}
	x.byKey[e.Key] = e
	hub := x.byHub[e.Hub]
	if hub == nil {
		hub = map[outpost.Key]*entry{}
		x.byHub[e.Hub] = hub
	}
	hub[e.Key] = e
	x.changed(e.Key)
	return e
}

// remove removes an entry, if it is still the one of its key.
func (x *index) remove(e *entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byKey[e.Key] != e {
		return
	}
	delete(x.byKey, e.Key)
	delete(x.byHub[e.Hub], e.Key)
	if len(x.byHub[e.Hub]) == 0 {
		delete(x.byHub, e.Hub)
	}
	x.changed(e.Key)
}

// drop takes a service that is gone out of memory, and tells those who wait for its end.
func (m *Manager) drop(e *entry) {
	m.index.remove(e)
	e.markGone()
}

// allow lets the hub of a service open its address; forbid takes it back, unless another service has the address by
// now. The caller holds e.mu.
func (x *index) allow(e *entry) {
	if p, ok := permitOf(e.Hub, e.address); ok {
		x.mu.Lock()
		x.permits[p] = e
		x.mu.Unlock()
	}
}

func (x *index) forbid(e *entry) {
	if p, ok := permitOf(e.Hub, e.address); ok {
		x.mu.Lock()
		if x.permits[p] == e {
			delete(x.permits, p)
		}
		x.mu.Unlock()
	}
}

// permitted returns the running service that has the address, nil for none.
func (x *index) permitted(p permit) *entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.permits[p]
}

// all returns every entry, of one hub if hub is not empty.
func (x *index) all(hub string) []*entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	from := x.byKey
	if hub != "" {
		from = x.byHub[hub]
	}
	return slices.Collect(maps.Values(from))
}

// permit is an address that a hub may open.
type permit struct{ hub, host, port string }

// permitOf is the address that a stored service may be opened at; ok is false if it has none.
func permitOf(hub, address string) (p permit, ok bool) {
	host, port, ok := outpost.ParseStored(address)
	return permit{hub, host, port}, ok
}

// PermitOpen reports whether a hub may open host and port by SSH: only the address of one of its services whose pod
// runs, since others may have got the IP address of a pod that has ended. While Kubernetes does not say whether the pod
// runs, a host name stays open and an IP address does not. Address is what to dial, "host:port".
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
	status, err := m.spawner.Poll(ctx, e.Key, e.current().state)
	if status.Ended || err != nil && outpost.IsIP(host) {
		return "", false
	}
	return net.JoinHostPort(p.host, p.port), true
}
