package server

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/server/source"
)

// connectionLimits bound the connections of one HTTP listener.
type connectionLimits struct {
	newcomers, newcomersPerSource int           // without a login; the oldest makes room for another
	newcomerTime                  time.Duration // without a login: to send a request, read an answer, or say nothing
	header                        int           // bytes of a header before a login that everybody may send
	large, largePerSource         int           // headers that are longer, up to MaxHeaderBytes
	perHub                        int           // of one hub; its oldest idle one makes room for another
	writeTime                     time.Duration // for a hub to read what is sent to it, while nothing moves
}

// apiLimits hold 2048 × (28 KiB of header, buffers and TLS, and 9 KiB of stack) = 75 MiB of strangers at worst, half of
// it from one source.
var apiLimits = connectionLimits{
	newcomers: 2048, newcomersPerSource: 1024, newcomerTime: 10 * time.Second,
	header: 8 << 10, large: 64, largePerSource: 32,
	perHub: 1024, writeTime: time.Minute,
}

// metricsLimits are for a listener where nobody logs in.
var metricsLimits = connectionLimits{
	newcomers: 256, newcomersPerSource: 128, newcomerTime: 10 * time.Second,
	header: 8 << 10, large: 16, largePerSource: 8,
}

// connections are the connections of one HTTP listener. Until a hub has logged in on it, a connection is a newcomer:
// it has little time, little memory, and its place is lost to later ones, so that a right login gets through a flood
// of silent ones. From then on it counts for its hub, which can take no place from another one.
type connections struct {
	limits    connectionLimits
	newcomers *source.Queue
	large     *source.Queue // newcomers with a long header
	dropped   func(reason string)
	began     time.Time

	mu   sync.Mutex
	hubs map[string]map[*connection]struct{} // those that have logged in stay: a proxy's connection changes hubs often
}

// newConnections returns the registry of a listener. dropped is called with the reason of each connection that is
// closed because of a limit.
func newConnections(limits connectionLimits, dropped func(reason string)) *connections {
	return &connections{
		limits: limits, dropped: dropped, began: time.Now(), hubs: map[string]map[*connection]struct{}{},
		newcomers: source.NewQueue(limits.newcomers, limits.newcomersPerSource, source.Oldest),
		large:     source.NewQueue(limits.large, limits.largePerSource, source.Oldest),
	}
}

// The reasons why a connection is closed because of a limit.
const (
	droppedNewcomer = "newcomers" // too many that have not logged in
	droppedLarge    = "header"    // too many long headers before a login
	droppedSlow     = "timeout"   // too slow before its login
	droppedIdle     = "idle"      // its hub has too many, and nothing was asked on it
	droppedHub      = "hub"       // its hub has too many, all of them busy
)

// listen returns a listener whose connections are in the registry.
func (r *connections) listen(l net.Listener) net.Listener { return &boundedListener{l, r} }

// boundedListener is a listener whose connections are in a registry.
type boundedListener struct {
	net.Listener
	registry *connections
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.registry.add(conn), nil
}

// add takes a new connection in.
func (r *connections) add(conn net.Conn) *connection {
	c := &connection{Conn: conn, registry: r}
	if address, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		c.source = source.Of(address.Addr())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.setDeadline(time.Time{}) // fails on a closed connection only, whose first read fails too
	c.place = r.newcomers.Add(c.source, func() { c.drop(droppedNewcomer) })
	return c
}

// counts returns how many connections have not logged in and how many have.
func (r *connections) counts() (newcomers, loggedIn int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, all := range r.hubs {
		loggedIn += len(all)
	}
	return r.newcomers.Len(), loggedIn
}

// now is the time since the registry began. Reading the clock so costs half of time.Now.
func (r *connections) now() time.Duration { return time.Since(r.began) }

// join counts a connection for a hub, no longer for the one that it had, and reports whether the hub may have it. For
// one over the limit the hub's oldest idle one is closed: that with the oldest answer.
func (r *connections) join(c *connection, had, hub string) bool {
	r.mu.Lock()
	all := r.hubs[hub]
	var oldest *connection
	if len(all) >= r.limits.perHub {
		for other := range all {
			if other.idle.Load() && (oldest == nil || other.wrote.Load() < oldest.wrote.Load()) {
				oldest = other
			}
		}
		if oldest == nil {
			r.mu.Unlock()
			r.dropped(droppedHub)
			return false
		}
		delete(all, oldest)
	}
	if all == nil {
		all = map[*connection]struct{}{}
		r.hubs[hub] = all
	}
	all[c] = struct{}{}
	delete(r.hubs[had], c)
	r.mu.Unlock()
	if oldest != nil {
		oldest.drop(droppedIdle)
	}
	return true
}

// leave takes a connection out of its hub's.
func (r *connections) leave(c *connection, hub string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.hubs[hub], c)
}

// stateChanged follows http.Server.ConnState.
func (r *connections) stateChanged(conn net.Conn, state http.ConnState) {
	c := connectionOf(conn)
	if c == nil {
		return
	}
	switch state {
	case http.StateActive:
		c.setIdle(false)
	case http.StateIdle:
		c.setIdle(true)
	}
}

// connectionOf returns the connection below one of http.Server's; nil if there is none of ours.
func connectionOf(conn net.Conn) *connection {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	c, _ := conn.(*connection)
	return c
}
