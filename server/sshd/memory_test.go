package sshd

import (
	"net"
	"sync"
	"time"
)

// memListener accepts connections that are made of memory, so that tests can have a clock of their own (synctest).
type memListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemListener() *memListener {
	return &memListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// dial connects to the listener.
func (l *memListener) dial() *memConn {
	near, far := memPipe()
	l.conns <- far
	return near
}

// memConn is one end of a connection whose writes do not wait for the reader, up to a bound, as a socket's do not.
// Frozen, it neither delivers nor takes anything more: its host has lost power.
type memConn struct {
	net.Conn // reading and deadlines
	mu       sync.Mutex
	changed  *sync.Cond
	queue    []byte
	closed   bool
	frozen   bool
	writeBy  *time.Timer
	late     bool
}

const memSocket = 256 << 10

func memPipe() (a, b *memConn) {
	x, y := net.Pipe()
	return newMemConn(x), newMemConn(y)
}

func newMemConn(c net.Conn) *memConn {
	m := &memConn{Conn: c}
	m.changed = sync.NewCond(&m.mu)
	go m.deliver()
	return m
}

func (m *memConn) deliver() {
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
		m.queue = nil
		m.changed.Broadcast()
		m.mu.Unlock()
		_, err := m.Conn.Write(p)
		m.mu.Lock()
		if err != nil {
			m.closed = true
			m.queue = nil
			m.changed.Broadcast()
		}
	}
}

func (m *memConn) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for (len(m.queue) > memSocket || m.frozen) && !m.closed && !m.late {
		m.changed.Wait()
	}
	if m.closed || m.late {
		return 0, net.ErrClosed
	}
	m.queue = append(m.queue, p...)
	m.changed.Broadcast()
	return len(p), nil
}

func (m *memConn) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.changed.Broadcast()
	if m.frozen || len(m.queue) == 0 {
		return m.Conn.Close()
	}
	return nil
}

// SetWriteDeadline bounds a write that waits.
func (m *memConn) SetWriteDeadline(t time.Time) error {
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

// SetDeadline sets both.
func (m *memConn) SetDeadline(t time.Time) error {
	_ = m.SetWriteDeadline(t)
	return m.Conn.SetReadDeadline(t)
}

// freeze stops everything this end sends.
func (m *memConn) freeze() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frozen = true
}
