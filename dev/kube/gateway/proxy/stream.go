package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// handshakeTimeout bounds how long a client may take for the beginning of its TLS handshake.
const handshakeTimeout = 10 * time.Second

// peekServerName reads the beginning of a TLS handshake and returns the server name in it, and the connection with what
// was read still to be read.
func peekServerName(conn net.Conn) (string, net.Conn, error) {
	if err := conn.SetReadDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return "", nil, err
	}
	var read bytes.Buffer
	var hello *tls.ClientHelloInfo
	//nolint:gosec // no handshake is made with it
	server := tls.Server(readOnly{io.TeeReader(conn, &read)}, &tls.Config{
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			hello = h
			return nil, io.EOF
		},
	})
	if err := server.Handshake(); hello == nil {
		return "", nil, err
	}
	return hello.ServerName, &replayed{Conn: conn, before: &read}, conn.SetReadDeadline(time.Time{})
}

// readOnly is a connection that only reads; what is written to it is lost.
type readOnly struct{ io.Reader }

func (readOnly) Write(p []byte) (int, error)      { return len(p), nil }
func (readOnly) Close() error                     { return nil }
func (readOnly) LocalAddr() net.Addr              { return nil }
func (readOnly) RemoteAddr() net.Addr             { return nil }
func (readOnly) SetDeadline(time.Time) error      { return nil }
func (readOnly) SetReadDeadline(time.Time) error  { return nil }
func (readOnly) SetWriteDeadline(time.Time) error { return nil }

// replayed is a connection of which something was read before.
type replayed struct {
	net.Conn
	before *bytes.Buffer
}

func (c *replayed) Read(p []byte) (int, error) {
	if c.before.Len() > 0 {
		return c.before.Read(p)
	}
	return c.Conn.Read(p)
}

func (c *replayed) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// stream passes a connection on to the backends of the first stream for a server name, and returns when both sides are
// done or ctx ends.
func stream(ctx context.Context, conn net.Conn, streams []Stream, serverName string) error {
	for _, s := range streams {
		if !Hosts(s.Hostname, serverName) {
			continue
		}
		backend, err := dial(ctx, s.Backends)
		if err != nil {
			return err
		}
		defer backend.Close()
		defer context.AfterFunc(ctx, func() {
			conn.Close()
			backend.Close()
		})()
		var both sync.WaitGroup
		both.Go(func() { pass(backend, conn) })
		both.Go(func() { pass(conn, backend) })
		both.Wait()
		return nil
	}
	return errors.New("no route for server name " + serverName)
}

// pass copies one direction of a connection with its end. A side that failed ends the other direction too.
func pass(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil || closeWrite(to) != nil {
		to.Close()
		from.Close()
	}
}
