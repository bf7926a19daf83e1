// Package nettest is a network within the process, so that tests of connections can have a clock of their own
// (testing/synctest): what waits for a socket does not let that go on.
package nettest

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Listener accepts connections that are made by Dial. Make it with [Listen].
type Listener struct {
	address *net.TCPAddr
	accepts chan net.Conn
	closed  chan struct{}
	once    sync.Once

	mu    sync.Mutex
	conns []*Conn // both ends of all that were made
}

// Listen returns a listener without connections.
func Listen() *Listener {
	return &Listener{address: newAddress(), accepts: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepts:
		return c, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.address, Err: net.ErrClosed}
	}
}

// Close implements net.Listener. It may be called twice.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.address }

// Dial connects to the listener, and returns when that has accepted.
func (l *Listener) Dial(ctx context.Context) (*Conn, error) {
	near, far := pipe(newAddress(), l.address)
	l.mu.Lock()
	l.conns = append(l.conns, near, far)
	l.mu.Unlock()
	var err error
	select {
	case l.accepts <- far:
		return near, nil
	case <-l.closed:
		err = syscall.ECONNREFUSED
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: l.address, Err: err}
}

// DialContext is that of http.Transport: it connects to the listener, whatever the address is.
func (l *Listener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := l.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// Freeze lets nothing through any more on the connections that there are, and nobody notices.
func (l *Listener) Freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.Freeze()
	}
}

// Cut closes all connections.
func (l *Listener) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close() // it may be closed
	}
	l.conns = nil
}

// addresses counts those that were given out.
var addresses atomic.Uint32

// newAddress returns another one each time.
func newAddress() *net.TCPAddr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1024 + int(addresses.Add(1)%60000)}
}

// socket is how much is written and not read before a write waits.
const socket = 256 << 10

// Conn is one end of a connection that behaves as one of TCP between two hosts without any delay.
type Conn struct {
	*link
	local, remote *net.TCPAddr
	peer          *Conn

	// What this end has sent and the other has not read, and what else is known of this direction.
	sent   []byte
	lost   int  // bytes that were sent and that the network has dropped
	ended  bool // the other end reads to its end
	reset  bool // the same, and gets an error there
	frozen bool

	closed, broken   bool // broken: what is written is known to arrive nowhere
	reading, writing deadline
	writers          sync.Mutex // a write is not mixed with another one
}

// link is what the two ends of a connection share.
type link struct {
	mu      sync.Mutex
	changed sync.Cond
}

// Pipe returns the two ends of a connection.
func Pipe() (a, b *Conn) { return pipe(newAddress(), newAddress()) }

func pipe(x, y *net.TCPAddr) (a, b *Conn) {
	l := &link{}
	l.changed.L = &l.mu
	a, b = &Conn{link: l, local: x, remote: y}, &Conn{link: l, local: y, remote: x}
	a.peer, b.peer = b, a
	return a, b
}

// deadline is a time from which on something fails. The link's mu guards it.
type deadline struct {
	timer *time.Timer
	over  bool
}

// set begins anew. mu must be held.
func (l *link) set(d *deadline, t time.Time) {
	if d.timer != nil {
		d.timer.Stop()
	}
	d.timer, d.over = nil, false
	switch left := time.Until(t); {
	case t.IsZero():
	case left <= 0:
		d.over = true
	default:
		var timer *time.Timer
		timer = time.AfterFunc(left, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if d.timer == timer { // else it was set again at the same time
				d.over = true
				l.changed.Broadcast()
			}
		})
		d.timer = timer
	}
	l.changed.Broadcast()
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch from := c.peer; {
		case c.closed:
			return 0, c.failure("read", net.ErrClosed)
		case len(p) == 0:
			return 0, nil
		case c.reading.over:
			return 0, c.failure("read", os.ErrDeadlineExceeded)
		case len(from.sent) > 0:
			n := copy(p, from.sent)
			from.sent = from.sent[n:]
			c.changed.Broadcast()
			return n, nil
		case from.reset:
			return 0, c.failure("read", syscall.ECONNRESET)
		case from.ended:
			return 0, io.EOF
		}
		c.changed.Wait()
	}
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.writers.Lock()
	defer c.writers.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		room := socket - len(c.sent) - c.lost
		switch {
		case c.closed:
			return n, c.failure("write", net.ErrClosed)
		case c.writing.over:
			return n, c.failure("write", os.ErrDeadlineExceeded)
		case c.ended, c.broken:
			return n, c.failure("write", syscall.EPIPE)
		case n == len(p):
			return n, nil
		case c.peer.closed && !c.frozen && !c.peer.frozen:
			c.broken = true // only now, as the answer tells: what is written first is lost without an error
			return len(p), nil
		case room > 0:
			piece := p[n:min(len(p), n+room)]
			if n += len(piece); c.frozen {
				c.lost += len(piece)
			} else {
				c.sent = append(c.sent, piece...)
			}
			c.changed.Broadcast()
			continue
		}
		c.changed.Wait()
	}
}

// Close implements net.Conn. Reading ends at once; what was written before is delivered. If there is something that was
// not read, the other end gets an error after that, as of a connection that was reset.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.failure("close", net.ErrClosed)
	}
	c.closed = true
	c.set(&c.reading, time.Time{})
	c.set(&c.writing, time.Time{})
	unread := len(c.peer.sent) > 0
	c.peer.sent = nil
	if c.frozen {
		return nil // nobody notices
	}
	c.reset = unread && !c.ended
	c.peer.broken = c.peer.broken || unread
	c.ended = true
	return nil
}

// CloseWrite lets the other end read to the end, as that of net.TCPConn does.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.failure("close", net.ErrClosed)
	}
	if c.frozen {
		c.broken = true
	} else {
		c.ended = true
	}
	c.changed.Broadcast()
	return nil
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, &c.reading, &c.writing) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.reading) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.writing) }

func (c *Conn) setDeadlines(t time.Time, list ...*deadline) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.failure("set", net.ErrClosed)
	}
	for _, d := range list {
		c.set(d, t)
	}
	return nil
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Freeze delivers nothing any more of what this end sends, its end included: its host has lost power, or the network
// drops all packets.
func (c *Conn) Freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = true
}

// failure is an error as those of package net are.
func (c *Conn) failure(what string, err error) error {
	switch err {
	case syscall.ECONNRESET, syscall.EPIPE:
		err = os.NewSyscallError(what, err)
	}
	return &net.OpError{Op: what, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}
