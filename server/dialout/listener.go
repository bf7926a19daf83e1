package dialout

import (
	"context"
	"net"
	"sync"
)

// Listener is a [net.Listener] for connections that were made elsewhere. Make it with [NewListener].
type Listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// NewListener returns a listener without connections.
func NewListener() *Listener {
	return &Listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Deliver lets Accept return a connection. When the listener is closed, or ctx ends before that, it closes the
// connection and reports false.
func (l *Listener) Deliver(ctx context.Context, conn net.Conn) bool {
	select {
	case l.conns <- conn:
		return true
	case <-l.closed:
	case <-ctx.Done():
	}
	_ = conn.Close() // nothing was sent
	return false
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
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
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: "dial-out", Net: "unix"} }
