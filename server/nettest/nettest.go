// Package nettest is a network within the process, so that tests of connections can have a clock of their own
// (testing/synctest): what waits for a socket does not let that go on.
package nettest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Listener accepts connections that are made by Dial. Make it with [Listen].
type Listener struct {
	accepts chan net.Conn
	closed  chan struct{}
	once    sync.Once

	mu    sync.Mutex
	conns []*Conn // both ends of all that were made
}

// Listen returns a listener without connections.
func Listen() *Listener {
	return &Listener{accepts: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepts:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It may be called twice.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// Dial connects to the listener, and returns when that has accepted.
func (l *Listener) Dial(ctx context.Context) (*Conn, error) {
	near, far := Pipe()
	l.mu.Lock()
	l.conns = append(l.conns, near, far)
	l.mu.Unlock()
	var err error
	select {
	case l.accepts <- far:
		return near, nil
	case <-l.closed:
		err = net.ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = near.Close() // nothing was sent
	_ = far.Close()  // as above
	return nil, err
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

// Conn is one end of a connection whose writes do not wait for the reader, up to a bound, as a socket's do not. One
// goroutine of it runs until it is closed, or what the other end does not read any more is.
type Conn struct {
	net.Conn // reading and deadlines
	mu       sync.Mutex
	changed  *sync.Cond
	queue    []byte
	writing  bool // what was in queue
	closed   bool
	frozen   bool
	writeBy  *time.Timer
	late     bool
}

// socket is how much is written before a write waits.
const socket = 256 << 10

// Pipe returns the two ends of a connection.
func Pipe() (a, b *Conn) {
	x, y := net.Pipe()
	return newConn(x), newConn(y)
}

func newConn(c net.Conn) *Conn {
	m := &Conn{Conn: c}
	m.changed = sync.NewCond(&m.mu)
	go m.deliver()
	return m
}

func (m *Conn) deliver() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		for (len(m.queue) == 0 || m.frozen) && !m.closed {
			m.changed.Wait()
		}
		if m.frozen || len(m.queue) == 0 {
			m.Conn.Close()
			return
		}
		p := m.queue
		m.queue, m.writing = nil, true
		m.changed.Broadcast()
		m.mu.Unlock()
		_, err := m.Conn.Write(p)
		m.mu.Lock()
		m.writing = false
		if err != nil {
			m.closed = true
			m.queue = nil
			m.changed.Broadcast()
		}
	}
}

// Read implements net.Conn.
func (m *Conn) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	if err == nil {
		return n, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed && !errors.Is(err, io.EOF) {
		err = net.ErrClosed
	}
	return n, err
}

// Write implements net.Conn.
func (m *Conn) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.queue) > socket && !m.closed && !m.late {
		m.changed.Wait()
	}
	if m.closed || m.late {
		return 0, net.ErrClosed
	}
	m.queue = append(m.queue, p...)
	m.changed.Broadcast()
	return len(p), nil
}

// Close implements net.Conn. Reading ends at once; what was written before is delivered.
func (m *Conn) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.changed.Broadcast()
	if m.frozen || len(m.queue) == 0 && !m.writing {
		return m.Conn.Close()
	}
	return m.Conn.SetReadDeadline(time.Unix(1, 0))
}

// SetWriteDeadline implements net.Conn. It bounds a write that waits.
func (m *Conn) SetWriteDeadline(t time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.writeBy != nil {
		m.writeBy.Stop()
	}
	m.late = false
	if !t.IsZero() {
		m.writeBy = time.AfterFunc(time.Until(t), func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.late = true
			m.changed.Broadcast()
		})
	}
	return nil
}

// SetDeadline implements net.Conn.
func (m *Conn) SetDeadline(t time.Time) error {
	_ = m.SetWriteDeadline(t)
	return m.Conn.SetReadDeadline(t)
}

// Freeze delivers nothing any more of what this end sends: its host has lost power, or the network drops all packets.
func (m *Conn) Freeze() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frozen = true
}
