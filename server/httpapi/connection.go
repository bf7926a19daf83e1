package httpapi

import (
	"context"
	"sync/atomic"
)

// Connection is a network connection that is told who uses it.
type Connection interface {
	// LoggedIn is called when a hub's login was right, before the body of the request is read, and reports whether the
	// hub may have this connection too.
	LoggedIn(hub string) bool
}

// connectionKey is the key of the connection's memory in a request's context.
type connectionKey struct{}

// memory is what is remembered of a connection.
type memory struct {
	conn  Connection
	known atomic.Pointer[login] // that was right last, with nothing wrong since
}

// ConnContext is for http.Server: requests with the context that it returns belong to one connection.
func (s *Server) ConnContext(ctx context.Context, conn Connection) context.Context {
	return context.WithValue(ctx, connectionKey{}, &memory{conn: conn})
}

// memoryOf returns the memory of the connection of a request; nil where there is none.
func memoryOf(ctx context.Context) *memory {
	m, _ := ctx.Value(connectionKey{}).(*memory)
	return m
}

// knows reports whether a login was right on this connection, and nothing has been wrong since.
func (m *memory) knows(l *login) bool { return m != nil && m.known.Load() == l }

// loggedIn remembers a login that is right, and reports whether its hub may have this connection.
func (m *memory) loggedIn(l *login) bool {
	if m == nil {
		return true
	}
	m.known.Store(l)
	return m.conn.LoggedIn(l.hub)
}

// forget is for a login that is wrong. An Ingress sends requests of many on one connection.
func (m *memory) forget() {
	if m != nil {
		m.known.Store(nil)
	}
}
