package lifecycle

import (
	"context"
	"net"
	"strconv"
	"strings"

	"github.com/outposts-dev/outposts/server/outpost"
)

// permit is an address that a hub may open.
type permit struct{ hub, host, port string }

// permitOf is the address that a stored service may be opened at; ok is false if it has none. Rows of the Python
// outpost may hold other forms: https with internal TLS, or no scheme.
func permitOf(hub, address string) (p permit, ok bool) {
	if rest, tls := strings.CutPrefix(address, "https://"); tls {
		address = "http://" + rest
	} else if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	host, port, ok := outpost.ParseAddress(address)
	return permit{hub, host, port}, ok
}

// PermitOpen reports whether a hub may open host and port by SSH: only the address of one of its services whose pod
// runs, as far as is known, since others may have got the address of a pod that has ended. Address is what to dial,
// "host:port".
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
	if status, err := m.spawner.Poll(ctx, e.Key, e.current().state); err == nil && status.Ended {
		return "", false
	}
	return net.JoinHostPort(p.host, p.port), true
}
