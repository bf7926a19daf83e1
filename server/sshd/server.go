package sshd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// Server forwards ports for hubs. Make it with [New]. All methods are safe for concurrent use; Serve is called once.
type Server struct {
	opts     Options
	now      func() time.Time
	keys     *keyring
	startups *startups
	hubs     map[string]*hubState // by name; the map is never changed
	movers   movers
	bulk     chan struct{} // places for uploads that hold a large buffer
	own      atomic.Pointer[[]netip.Addr]
	channels atomic.Int64
	serving  atomic.Bool
	stopping atomic.Bool

	mu    sync.Mutex
	conns map[*conn]struct{}
	tasks sync.WaitGroup // one for each accepted connection
	lines lineLimit
}

// hubState is what is known of one hub.
type hubState struct {
	up, down atomic.Int64 // bytes since they were last reported
	stuck    atomic.Int64 // connections that the library does not let go of
}

// maxStuck is how many connections of one hub may hang in the library. Each came from a client that breaks the
// protocol on purpose, and keeps some goroutines and packets until this process ends.
const maxStuck = 32

// New reads the keys and returns a server that does not listen yet. It fails if an option is wrong, if there is no
// host key, or if a file of keys belongs to no hub; single lines that are refused are logged.
func New(opts Options) (*Server, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	s := &Server{
		opts: opts,
		now:  time.Now,
		keys: &keyring{
			hostDir: opts.HostKeysDir, authorizedDir: opts.AuthorizedKeysDir, hubs: opts.Hubs,
			log: opts.Logger, observer: opts.Observer,
		},
		startups: newStartups(opts.MaxUnauthenticated, opts.MaxUnauthenticatedPerSource),
		hubs:     map[string]*hubState{},
		movers:   movers{tell: opts.Moving, moved: map[*conn]int64{}},
		bulk:     make(chan struct{}, bulkUploads),
		conns:    map[*conn]struct{}{},
	}
	for _, hub := range opts.Hubs {
		s.hubs[hub] = &hubState{}
	}
	if err := s.keys.load(); err != nil {
		return nil, err
	}
	if err := s.lookAtOwn(); err != nil {
		return nil, fmt.Errorf("own addresses: %w", err)
	}
	return s, nil
}

// lookAtOwn notes the addresses of this host, which are never dialled.
func (s *Server) lookAtOwn() error {
	own, err := ownAddresses()
	if err != nil {
		return err
	}
	s.own.Store(&own)
	return nil
}

// HostKeys returns the public host keys, those not yet in use included.
func (s *Server) HostKeys() []ssh.PublicKey {
	var out []ssh.PublicKey
	for _, signer := range s.keys.hosts.Load().signers {
		out = append(out, signer.PublicKey())
	}
	return out
}

// Reload reads both directories of keys again, whether they seem changed or not. What is wrong with them is returned;
// the rest works. Connections whose key is gone are closed within a few seconds and open nothing more at once.
func (s *Server) Reload() error { return s.keys.reload() }

// Ready tells whether connections are accepted; nil if so.
func (s *Server) Ready() error {
	if !s.serving.Load() || s.stopping.Load() {
		return errors.New("ssh server is not serving")
	}
	return nil
}

// Serve accepts connections until ctx ends. Then it closes the listener and connections without channels at once,
// refuses new channels, waits until the open ones have ended but at most DrainTimeout, closes the rest and returns
// nil when every goroutine of it has ended. It returns an error if the listener fails.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if !s.serving.CompareAndSwap(false, true) {
		return errors.New("serve is called twice")
	}
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		s.stopping.Store(true)
		_ = l.Close() // Accept tells
	})
	defer stop()
	done := make(chan struct{})
	var watchers sync.WaitGroup
	watchers.Go(func() { s.keys.watch(done, s.opts.ReloadInterval, s.sweep) })
	watchers.Go(func() { s.keepAlive(done) })

	err := s.accept(ctx, base, l)
	s.stopping.Store(true)
	s.drain()
	s.movers.stop()
	close(done)
	watchers.Wait()
	s.report()
	return err
}

// accept runs until ctx ends or the listener is closed.
func (s *Server) accept(ctx, base context.Context, l net.Listener) error {
	const longest = time.Second
	pause := 5 * time.Millisecond
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = 5 * time.Millisecond
			s.admit(base, conn)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept: %w", err)
		default: // out of descriptors, or the peer was gone before we looked
			s.opts.Logger.Error("connection not accepted", "err", err)
			t := time.NewTimer(pause)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return nil
			}
			pause = min(2*pause, longest)
		}
	}
}

// admit starts a connection or drops it.
func (s *Server) admit(base context.Context, raw net.Conn) {
	source := sourceOf(raw)
	start := s.now()
	w := newWire(raw)
	st := s.startups.admit(source, w.abort)
	if st == nil {
		_ = raw.Close() // early: nothing is spent on it
		s.opts.Observer.Handshake(HandshakeDropped, 0)
		s.logEnd(source, "too many connections in handshake from this source")
		return
	}
	s.tasks.Go(func() { s.handle(base, w, st, source, start) })
}

// handle is the life of one connection.
func (s *Server) handle(base context.Context, w *wire, st *startup, source netip.Addr, start time.Time) {
	_ = w.SetDeadline(start.Add(s.opts.HandshakeTimeout)) // a closed connection tells when it is read
	sc, channels, requests, err := s.handshake(w, source)
	took := s.now().Sub(start)
	kept := s.startups.done(st)
	if err == nil && !kept {
		err = errors.New("dropped")
	}
	if err != nil {
		w.abort()
		result, why := failure(w, kept, took, s.opts.HandshakeTimeout, err)
		s.opts.Observer.Handshake(result, took)
		if result != HandshakeEmpty {
			s.logEnd(source, why)
		}
		return
	}
	s.opts.Observer.Handshake(HandshakeOK, took)
	_ = w.SetDeadline(time.Time{})
	w.gather(usesGCM(sc))
	s.serveConn(base, w, sc, source, start, channels, requests)
}

// serveConn serves an authenticated connection and writes its line to the log.
func (s *Server) serveConn(base context.Context, w *wire, sc *ssh.ServerConn, source netip.Addr, start time.Time, channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	c := &conn{server: s, wire: w, ssh: sc, source: source, ask: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancel(base)
	defer c.cancel()
	key, err := keyOf(sc)
	if err != nil { // cannot be: such a handshake fails
		s.logEnd(source, err.Error())
		w.abort()
		return
	}
	c.hub, c.proved = key.hub, key.key
	c.log = s.opts.Logger.With("hub", c.hub, "key", key.fingerprint, "remote", source.String())
	s.opts.Observer.Connection(c.hub, 1)
	defer s.opts.Observer.Connection(c.hub, -1)
	if why := s.register(c); why != "" {
		c.end(why)
	}
	c.serve(channels, requests)
	done, ok := c.finished()
	if !ok {
		why := whyProtocol
		c.why.Store(&why)
		stuck := &s.hubs[c.hub].stuck
		stuck.Add(1)
		go func() { // nobody waits for what may hang for good; maxStuck bounds it
			<-done
			stuck.Add(-1)
		}()
	}
	<-w.flushed
	s.unregister(c)
	c.log.Info("connection ended", "why", *c.why.Load(), "duration", s.now().Sub(start).Round(time.Millisecond),
		"channels", c.opened.Load(), "bytes_up", c.up.Load(), "bytes_down", c.down.Load())
}

// register adds a connection to those that are served, or tells why not.
func (s *Server) register(c *conn) (why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopping.Load():
		return whyStopping
	case len(s.conns) >= s.opts.MaxConnections:
		return whyLimit
	case s.hubs[c.hub].stuck.Load() >= maxStuck:
		return whyStuck
	}
	s.conns[c] = struct{}{}
	return ""
}

func (s *Server) unregister(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// list returns the connections that are served now.
func (s *Server) list() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		out = append(out, c)
	}
	return out
}

// sweep closes connections whose key is gone, and reports bytes.
func (s *Server) sweep() {
	for _, c := range s.list() {
		if c.key() == nil {
			c.end(whyKey)
		}
	}
	s.report()
	if err := s.lookAtOwn(); err != nil {
		s.opts.Logger.Error("own addresses not read", "err", err)
	}
}

// report tells the observer the bytes since the last time.
func (s *Server) report() {
	for hub, t := range s.hubs {
		if up, down := t.up.Swap(0), t.down.Swap(0); up != 0 || down != 0 {
			s.opts.Observer.Copied(hub, up, down)
		}
	}
}

// keepAlive checks all connections three times in each KeepAliveInterval.
func (s *Server) keepAlive(done <-chan struct{}) {
	interval := max(s.opts.KeepAliveInterval/3, time.Millisecond)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			now := s.now()
			for _, c := range s.list() {
				c.check(now, interval)
			}
		}
	}
}

// drain ends connections as their last channel ends, all of them after DrainTimeout, and returns when none is left.
func (s *Server) drain() {
	for _, c := range s.list() {
		if c.channels.Load() == 0 {
			c.end(whyStopping)
		}
	}
	s.startups.dropAll()
	idle := make(chan struct{})
	go func() {
		s.tasks.Wait()
		close(idle)
	}()
	limit := time.NewTimer(s.opts.DrainTimeout)
	defer limit.Stop()
	select {
	case <-idle:
		return
	case <-limit.C:
	}
	for _, c := range s.list() {
		c.end(whyStopping)
	}
	<-idle // each is bounded by closeGrace and libraryGrace
}
