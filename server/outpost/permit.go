package outpost

import (
	"context"
	"net"
	"regexp"
	"strconv"
	"strings"
)

// hostForm is a host name or an IPv4 address in lower case.
const hostForm = `[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?`

var (
	hostPattern    = regexp.MustCompile(`\A` + hostForm + `\z`)
	addressPattern = regexp.MustCompile(`\Ahttp://(` + hostForm + `):([1-9][0-9]{0,4})\z`)
)

// IsHost reports whether a string can be the host of an address: a host name or an IPv4 address in lower case.
func IsHost(host string) bool { return hostPattern.MatchString(host) }

// ParseAddress splits the address of a started server, "http://host:port" and nothing else. The hub's client takes it
// apart at the colons and puts it into a command line, so ok is false for any other form: another scheme, IPv6, a path.
func ParseAddress(address string) (host, port string, ok bool) {
	m := addressPattern.FindStringSubmatch(address)
	if m == nil {
		return "", "", false
	}
	if n, err := strconv.Atoi(m[2]); err != nil || n > 65535 {
		return "", "", false
	}
	return m[1], m[2], true
}

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
	host, port, ok := ParseAddress(address)
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
