package server

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outposts-dev/outposts/server/source"
)

// aborted is the read deadline by which http.Server ends a read that it no longer needs.
var aborted = time.Unix(1, 0)

// connection is one connection of an HTTP listener; see [connections].
type connection struct {
	net.Conn
	registry *connections
	source   netip.Prefix
	known    atomic.Bool // a hub has logged in
	cut      atomic.Bool // because of a limit
	ended    atomic.Bool
	idle     atomic.Bool   // no request is under way
	wrote    atomic.Int64  // when something was last written, by registry.now
	writing  time.Duration // write deadline, by registry.now; one call of Write at a time
	wanted   atomic.Int64  // write deadline that http.Server wants, by registry.now; 0 for none
	cleared  atomic.Bool   // there is no write deadline any more

	mu      sync.Mutex
	hub     string        // that logged in last
	place   *source.Place // among the newcomers
	large   *source.Place // among those with a long header; nil for a short one
	header  int           // bytes of a newcomer's request so far
	reading time.Time     // read deadline that http.Server wants of a newcomer
}

// LoggedIn counts the connection for a hub whose login was right, and reports whether the hub may have it.
func (c *connection) LoggedIn(hub string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hub == hub {
		return true
	}
	if !c.registry.join(c, c.hub, hub) {
		return false
	}
	c.hub = hub
	if c.ended.Load() { // it was closed at the same time
		c.registry.leave(c, hub)
	}
	if !c.known.Load() {
		c.leaveQueues()
		_ = c.Conn.SetReadDeadline(c.reading) // as http.Server has set it; a connection that has ended needs none
		c.known.Store(true)                   // last: SetReadDeadline takes no lock from here on
	}
	return true
}

// leaveQueues gives back the places of a newcomer. c.mu must be held.
func (c *connection) leaveQueues() {
	c.registry.newcomers.Remove(c.place)
	if c.large != nil {
		c.registry.large.Remove(c.large)
		c.large = nil
	}
}

// Read implements net.Conn. What a newcomer sends is counted.
func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.known.Load() {
		return n, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, os.ErrDeadlineExceeded) && !c.idle.Load() && !c.reading.Equal(aborted) && !c.cut.Swap(true) {
		c.registry.dropped(droppedSlow)
	}
	c.header += n
	if c.header > c.registry.limits.header && c.large == nil && c.hub == "" && !c.ended.Load() {
		c.large = c.registry.large.Add(c.source, func() { c.drop(droppedLarge) })
	}
	return n, err
}

// Write implements net.Conn. Whoever does not read loses the connection.
func (c *connection) Write(b []byte) (int, error) {
	limit := c.registry.limits.newcomerTime
	if c.known.Load() {
		limit = c.registry.limits.writeTime
	}
	// Setting a deadline costs as much as a short answer: one that has most of its time left is kept.
	now := c.registry.now()
	c.wrote.Store(int64(now))
	if c.writing < now+limit*3/4 || c.cleared.Load() {
		c.cleared.Store(false)
		c.writing = now + limit
		if err := c.Conn.SetWriteDeadline(c.registry.began.Add(c.writing)); err != nil {
			return 0, err
		}
		// Asked for only now: one that comes later is set later too.
		if wanted := time.Duration(c.wanted.Load()); wanted != 0 && wanted < c.writing {
			_ = c.Conn.SetWriteDeadline(c.registry.began.Add(wanted))
		}
	}
	return c.Conn.Write(b)
}

// SetWriteDeadline implements net.Conn. Write gives no more time than this.
func (c *connection) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		c.wanted.Store(0)
		defer c.cleared.Store(true)
	} else {
		c.wanted.Store(int64(t.Sub(c.registry.began)))
	}
	return c.Conn.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn. A newcomer gets less time than http.Server would give it.
func (c *connection) SetReadDeadline(t time.Time) error {
	if c.known.Load() {
		return c.Conn.SetReadDeadline(t)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.setDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *connection) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// setDeadline sets the read deadline. c.mu must be held.
func (c *connection) setDeadline(t time.Time) error {
	c.reading = t
	if c.hub == "" {
		if latest := time.Now().Add(c.registry.limits.newcomerTime); t.IsZero() || t.After(latest) {
			t = latest
		}
	}
	return c.Conn.SetReadDeadline(t)
}

// setIdle notes whether a request is under way. What a newcomer has sent is forgotten with its request.
func (c *connection) setIdle(idle bool) {
	c.idle.Store(idle)
	if !idle || c.known.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header = 0
	if c.large != nil {
		c.registry.large.Remove(c.large)
		c.large = nil
	}
}

// drop closes the connection because of a limit. It takes no lock of the connection: another one's end calls it.
func (c *connection) drop(reason string) {
	if c.ended.Load() || c.cut.Swap(true) {
		return
	}
	c.registry.dropped(reason)
	_ = c.Conn.Close() // http.Server finds it closed, and closes it once more
}

// Close implements net.Conn. It gives back all places.
func (c *connection) Close() error {
	err := c.Conn.Close()
	if c.ended.Swap(true) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaveQueues()
	if c.hub != "" {
		c.registry.leave(c, c.hub)
	}
	return err
}
