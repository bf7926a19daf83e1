package dialout

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"

	"github.com/coder/websocket"
)

// carry copies between a WebSocket and one end of a [net.Pipe] until one of them ends; then both have ended. What the
// connection has sent before its end is delivered. reason is asked then for what to tell the other side, empty for a
// plain end. The error says how the WebSocket has ended, nil for a plain end.
func carry(ctx context.Context, ws *websocket.Conn, conn net.Conn, reason func() string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ws.SetReadLimit(maxMessage)
	sent := make(chan struct{})
	var ended atomic.Bool // the connection was first
	go func() {
		defer close(sent)
		if err := send(ctx, ws, conn); !errors.Is(err, io.EOF) {
			_ = ws.CloseNow() // it is broken
			return
		}
		ended.Store(true)
		code, why := websocket.StatusNormalClosure, reason()
		if why != "" {
			code = websocket.StatusPolicyViolation
		}
		_ = ws.Close(code, why) // the other side may have gone
	}()
	err := receive(ctx, ws, conn)
	if ended.Load() || errors.Is(err, io.ErrClosedPipe) {
		<-sent // what it has sent is on its way
		return nil
	}
	_ = ws.CloseNow() // it may be closed
	_ = conn.Close()  // send finds it closed
	<-sent
	if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
		return nil
	}
	return err
}

// send copies from the connection, and returns io.EOF when it has ended.
func send(ctx context.Context, ws *websocket.Conn, conn net.Conn) error {
	buf := make([]byte, maxMessage/2)
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			if err := ws.Write(ctx, websocket.MessageBinary, buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return io.EOF
		}
	}
}

// receive copies to the connection.
func receive(ctx context.Context, ws *websocket.Conn, conn net.Conn) error {
	buf := make([]byte, maxMessage/2)
	for {
		kind, r, err := ws.Reader(ctx)
		if err != nil {
			return err
		}
		if kind != websocket.MessageBinary {
			return errors.New("a message is not binary")
		}
		if _, err := io.CopyBuffer(conn, r, buf); err != nil {
			return err
		}
	}
}

// countedConn is a connection that counts what is written to it.
type countedConn struct {
	net.Conn
	writes atomic.Int64
}

// Write implements net.Conn.
func (c *countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// remoteConn is a connection with the address of another one's end.
type remoteConn struct {
	net.Conn
	remote net.Addr
}

// RemoteAddr implements net.Conn.
func (c remoteConn) RemoteAddr() net.Addr { return c.remote }

// WithRemote returns conn with another address of its other end.
func WithRemote(conn net.Conn, remote net.Addr) net.Conn { return remoteConn{conn, remote} }
