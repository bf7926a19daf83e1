package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Server serves a Config.
type Server struct {
	logger     *slog.Logger
	transports transports

	mu    sync.Mutex
	ports map[netip.AddrPort]*port
}

// NewServer returns a server that serves nothing yet.
func NewServer(logger *slog.Logger) *Server {
	return &Server{logger: logger, transports: newTransports(), ports: map[netip.AddrPort]*port{}}
}

// Apply serves config from now on, instead of the one before. It returns the ports that cannot be opened, each with the
// reason; the others are served.
func (s *Server) Apply(config Config) map[netip.AddrPort]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for address, p := range s.ports {
		if len(config[address]) == 0 {
			p.close()
			delete(s.ports, address)
		}
	}
	failed := map[netip.AddrPort]error{}
	for address, listeners := range config {
		if len(listeners) == 0 {
			continue
		}
		p := s.ports[address]
		if p == nil {
			var err error
			if p, err = s.open(address); err != nil {
				failed[address] = err
				continue
			}
			s.ports[address] = p
		}
		p.listeners.Store(&listeners)
		p.opened()
	}
	return failed
}

// Close ends everything that is served.
func (s *Server) Close() { s.Apply(nil) }

// port is an open port. It accepts connections itself, looks which listener each is for, and hands those that carry
// requests to an http.Server, which takes them for accepted from a listener.
type port struct {
	server    *Server
	address   netip.AddrPort
	listener  net.Listener
	listeners atomic.Pointer[[]Listener]
	ready     sync.Once
	plain     *handed
	secure    *handed
	http      *http.Server
	ctx       context.Context
	cancel    context.CancelFunc
}

func (s *Server) open(address netip.AddrPort) (*port, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address.String())
	if err != nil {
		return nil, err
	}
	p := &port{
		server: s, address: address, listener: listener,
		plain: newHanded(listener.Addr()), secure: newHanded(listener.Addr()),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.http = &http.Server{
		Handler:           p,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		TLSConfig:         &tls.Config{GetCertificate: p.certificate, MinVersion: tls.VersionTLS12},
		Protocols:         new(http.Protocols),
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	p.http.Protocols.SetHTTP1(true)
	p.http.Protocols.SetHTTP2(true)
	p.http.Protocols.SetUnencryptedHTTP2(true)
	return p, nil
}

// opened begins to accept connections, once there are listeners to ask.
func (p *port) opened() {
	p.ready.Do(func() {
		serve := func(what string, f func() error) {
			if err := f(); err != nil && p.ctx.Err() == nil {
				p.server.logger.Error("port is no longer served", "address", p.address, "what", what, "err", err)
			}
		}
		go serve("HTTP", func() error { return p.http.Serve(p.plain) })
		go serve("HTTPS", func() error { return p.http.ServeTLS(p.secure, "", "") })
		go serve("connections", p.accept)
	})
}

func (p *port) close() {
	p.cancel()
	if err := errors.Join(p.listener.Close(), p.http.Close()); err != nil {
		p.server.logger.Debug("closed a port", "address", p.address, "err", err)
	}
}

func (p *port) accept() error {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return err
		}
		go p.sort(conn)
	}
}

// sort finds out which listener a connection is for, and serves it or hands it on.
func (p *port) sort(conn net.Conn) {
	listeners := *p.listeners.Load()
	switch first := &listeners[0]; {
	case first.Protocol == HTTP:
		p.plain.hand(p.ctx, conn)
	case first.Protocol == TCP:
		p.stream(conn, first, "")
	default:
		p.sortTLS(conn, listeners)
	}
}

func (p *port) sortTLS(conn net.Conn, listeners []Listener) {
	name, conn2, err := peekServerName(conn)
	if err != nil {
		p.server.logger.Debug("no TLS handshake", "address", p.address, "from", conn.RemoteAddr(), "err", err)
		conn.Close()
		return
	}
	name = strings.ToLower(name)
	listener := choose(listeners, name, Protocol.OverTLS)
	switch {
	case listener == nil:
		p.server.logger.Debug("no listener", "address", p.address, "server_name", name)
		conn.Close()
	case listener.Protocol == HTTPS:
		p.secure.hand(p.ctx, conn2)
	case listener.Protocol == TLS:
		p.stream(tls.Server(conn2, &tls.Config{GetCertificate: p.certificate, MinVersion: tls.VersionTLS12}),
			listener, name)
	default:
		p.stream(conn2, listener, name)
	}
}

func (p *port) stream(conn net.Conn, listener *Listener, serverName string) {
	defer conn.Close()
	if err := stream(p.ctx, conn, listener.Streams, serverName); err != nil && p.ctx.Err() == nil {
		p.server.logger.Warn("connection is not passed on", "listener", listener.Name, "err", err)
	}
}

// certificate answers a TLS client with the first certificate of its listener that suits it, or else the first.
func (p *port) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	listener := choose(*p.listeners.Load(), strings.ToLower(hello.ServerName), Protocol.OverTLS)
	if listener == nil || len(listener.Certificates) == 0 {
		return nil, fmt.Errorf("no certificate for %q", hello.ServerName)
	}
	for i := range listener.Certificates {
		if hello.SupportsCertificate(&listener.Certificates[i]) == nil {
			return &listener.Certificates[i], nil
		}
	}
	return &listener.Certificates[0], nil
}

// handed is a net.Listener of connections that were accepted elsewhere.
type handed struct {
	address net.Addr
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newHanded(address net.Addr) *handed {
	return &handed{address: address, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (h *handed) hand(ctx context.Context, conn net.Conn) {
	select {
	case h.conns <- conn:
	case <-h.closed:
		conn.Close()
	case <-ctx.Done():
		conn.Close()
	}
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handed) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

func (h *handed) Addr() net.Addr { return h.address }
