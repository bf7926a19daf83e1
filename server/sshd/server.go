// Package sshd is the SSH server of an outpost: local port forwarding to single-user servers, and nothing more.
//
// A hub authenticates with a public key that is bound to it, and may then open direct-tcpip channels (RFC 4254
// section 7.2) to the addresses that Options.PermitOpen allows it. Every other channel and request is refused. There
// are no accounts, no shell, no command and no remote forwarding, so a stolen hub key opens that hub's running
// servers and nothing else.
//
// A connection comes this way: [Server.Serve] accepts it and admits it among those in handshake (newcomers.go),
// handshake.go checks its key against those of package keys, conn.go serves its channels, forward.go checks and dials
// their targets (address.go refuses addresses that no single-user server has), and channel.go copies. limits.go has
// every limit, and waiting.go bounds what is held for those who do not read. Package wire is between the SSH library
// and the sockets.
package sshd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outposts-dev/outposts/server/source"
	"github.com/outposts-dev/outposts/server/sshd/keys"
	"github.com/outposts-dev/outposts/server/sshd/wire"
)

// Server forwards ports for hubs. Make it with [New]. All methods are safe for concurrent use; Serve is called once.
type Server struct {
	opts      Options
	limits    limits
	now       func() time.Time
	keys      *keys.Ring
	newcomers *source.Queue         // those in handshake
	hubs      map[string]*hubCounts // by name; the map is never changed
	movers    *wire.Movers
	channels  *shares
	waiting   *waiting
	own       atomic.Pointer[[]netip.Addr]
	serving   atomic.Bool
	stopping  atomic.Bool

	mu    sync.Mutex
	conns map[*conn]struct{}
	tasks sync.WaitGroup // one for each accepted connection
	lines lineLimit
}

// hubCounts is what the server counts for one hub.
type hubCounts struct {
	up, down atomic.Int64 // bytes since they were last reported
	stuck    atomic.Int64 // connections that the library does not let go of

	waiting     int64          // bytes, guarded by the server's waiting
	connections int            // guarded by the server's mu, as is
	targets     map[target]int // channels to each target
}

// maxStuck is how many connections of one hub may hang in the library. Each came from a client that breaks the
// protocol on purpose, and keeps some goroutines and packets until this process ends.
const maxStuck = 32

// New reads the keys and returns a server that does not listen yet. It fails if an option is wrong, if there is no
// host key, or if a file of keys belongs to no hub; single lines that are refused are logged.
func New(opts Options) (*Server, error) { return newServer(opts, limitsFor(debug.SetMemoryLimit(-1))) }

func newServer(opts Options, l limits) (*Server, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	s := &Server{
		opts:      opts,
		limits:    l,
		now:       time.Now,
		newcomers: newNewcomers(l, rand.IntN),
		hubs:      map[string]*hubCounts{},
		movers:    wire.NewMovers(wire.MoverLook, opts.Moving),
		channels:  newShares(l.maxChannels, len(opts.Hubs)),
		waiting:   newWaiting(l.maxWaiting, opts.Observer),
		conns:     map[*conn]struct{}{},
	}
	for _, hub := range opts.Hubs {
		s.hubs[hub] = &hubCounts{targets: map[target]int{}}
	}
	s.keys, err = keys.Open(opts.HostKeysDir, opts.AuthorizedKeysDir, opts.Hubs, opts.Logger, opts.Observer.Reloaded)
	if err != nil {
		return nil, err
	}
	if err := s.readOwnAddresses(); err != nil {
		return nil, fmt.Errorf("own addresses: %w", err)
	}
	return s, nil
}

// readOwnAddresses notes the addresses of this host, which are never dialled.
func (s *Server) readOwnAddresses() error {
	own, err := ownAddresses()
	if err == nil {
		s.own.Store(&own)
	}
	return err
}

// Ready returns nil while connections are accepted.
func (s *Server) Ready() error {
	if !s.serving.Load() || s.stopping.Load() {
		return errors.New("ssh server is not serving")
	}
	return nil
}

// Serve accepts connections of one or more listeners until ctx ends. Then it closes them and connections without
// channels at once, refuses new channels, waits up to 20 s until the open ones have ended, closes the rest, and returns
// nil when every goroutine of it has ended. It returns an error if a listener fails.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	if !s.serving.CompareAndSwap(false, true) {
		return errors.New("Serve is called twice")
	}
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		s.stopping.Store(true)
		for _, l := range listeners {
			_ = l.Close() // Accept fails then
		}
	})
	defer stop()
	done := make(chan struct{})
	var watchers sync.WaitGroup
	watch := func(interval time.Duration, look func()) { watchers.Go(func() { every(done, interval, look) }) }
	watch(s.limits.reloadInterval, s.sweep)
	tick := max(s.limits.keepAliveInterval/3, time.Millisecond)
	watch(tick, func() { s.check(tick) })
	watch(weighInterval, s.waiting.weigh)

	err := s.acceptAll(ctx, base, listeners)
	s.stopping.Store(true)
	s.drain()
	s.movers.Stop()
	close(done)
	watchers.Wait()
	s.report()
	return err
}

// acceptAll runs until ctx ends or a listener fails.
func (s *Server) acceptAll(ctx, base context.Context, listeners []net.Listener) (err error) {
	ended := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { ended <- s.accept(ctx, base, l) }()
	}
	for range listeners {
		err = cmp.Or(err, <-ended)
		for _, l := range listeners { // one that fails ends the others
			_ = l.Close() // it may be closed
		}
	}
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
		default: // out of descriptors, or the client has gone already
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

// admit starts a connection.
func (s *Server) admit(base context.Context, raw net.Conn) {
	c := &conn{
		server: s, wire: wire.New(raw), source: sourceOf(raw), start: s.now(), ask: make(chan struct{}, 1),
	}
	c.wire.Now = s.now
	c.mover = s.movers.Mover(c.bytes)
	c.place = s.newcomers.Add(source.Of(c.source), c.wire.Abort)
	s.tasks.Go(func() { s.handle(base, c) })
}

// handle is the life of one connection.
func (s *Server) handle(base context.Context, c *conn) {
	_ = c.wire.SetDeadline(c.start.Add(s.limits.handshakeTimeout)) // a closed connection fails when it is read
	err := s.handshake(c)
	took := s.now().Sub(c.start)
	if kept := s.newcomers.Remove(c.place); !kept {
		err = errDropped
	}
	if err != nil {
		c.wire.Abort()
		result, reason := s.failure(c, took, err)
		s.opts.Observer.Handshake(result, took)
		if result != HandshakeEmpty {
			s.logRefused(c.source, reason)
		}
		return
	}
	s.opts.Observer.Handshake(HandshakeOK, took)
	_ = c.wire.SetDeadline(time.Time{})
	s.serveConn(base, c)
}

// serveConn serves an authenticated connection and writes its line to the log.
func (s *Server) serveConn(base context.Context, c *conn) {
	c.ctx, c.cancel = context.WithCancel(base)
	defer c.cancel()
	s.opts.Observer.Connection(c.hub, 1)
	defer s.opts.Observer.Connection(c.hub, -1)
	if reason := s.register(c); reason != "" {
		c.end(reason)
	}
	c.serve()
	if ended, ok := c.finished(); !ok {
		reason := endProtocol
		c.reason.Store(&reason)
		stuck := &c.counts.stuck
		stuck.Add(1)
		go func() { // nobody waits for what may hang for good; maxStuck bounds it
			<-ended
			stuck.Add(-1)
		}()
	}
	c.wire.Wait()
	s.unregister(c)
	c.log.Info("connection ended", "reason", *c.reason.Load(), "duration", s.now().Sub(c.start).Round(time.Millisecond),
		"channels", c.opened.Load(), "bytes_up", c.up.Load(), "bytes_down", c.down.Load())
}

// register adds a connection to those that are served, or returns the reason why not.
func (s *Server) register(c *conn) (refusal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopping.Load():
		return endStopping
	case c.counts.connections >= s.limits.maxConnections:
		s.opts.Observer.Refused(c.hub, RefusedConnection)
		return endLimit
	case c.counts.stuck.Load() >= maxStuck:
		return endStuck
	}
	s.conns[c] = struct{}{}
	c.counts.connections++
	return ""
}

func (s *Server) unregister(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.conns[c]; ok {
		delete(s.conns, c)
		c.counts.connections--
	}
}

// takeChannel counts a channel of a hub to a target, or returns the reason why it is refused.
func (s *Server) takeChannel(hub string, t target) (refusal string) {
	if !s.channels.take(hub) {
		return RefusedLimit
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hubs[hub].targets[t] >= s.limits.maxTargetChannels {
		s.channels.give(hub)
		return RefusedBusy
	}
	s.hubs[hub].targets[t]++
	return ""
}

func (s *Server) giveChannel(hub string, t target) {
	s.channels.give(hub)
	s.mu.Lock()
	defer s.mu.Unlock()
	targets := s.hubs[hub].targets
	if targets[t]--; targets[t] == 0 {
		delete(targets, t)
	}
}

// list returns the connections that are served now.
func (s *Server) list() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.conns))
}

// every calls f after each interval until done is closed.
func every(done <-chan struct{}, interval time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			f()
		}
	}
}

// sweep reads changed keys, closes connections whose key is gone, and reports bytes.
func (s *Server) sweep() {
	_ = s.keys.Refresh() // reported
	for _, c := range s.list() {
		if c.key() == nil {
			c.end(endKey)
		}
	}
	s.report()
	if err := s.readOwnAddresses(); err != nil {
		s.opts.Logger.Error("own addresses not read", "err", err)
	}
}

// report gives the observer the bytes since the last time.
func (s *Server) report() {
	for hub, t := range s.hubs {
		if up, down := t.up.Swap(0), t.down.Swap(0); up != 0 || down != 0 {
			s.opts.Observer.Copied(hub, up, down)
		}
	}
}

// check checks all connections, as it does once in each tick: three times in keepAliveInterval.
func (s *Server) check(tick time.Duration) {
	now := s.now()
	for _, c := range s.list() {
		c.check(now, tick)
	}
}

// drain ends connections as their last channel ends, all of them after drainTimeout, and returns when none is left.
func (s *Server) drain() {
	for _, c := range s.list() {
		if c.channels.Load() == 0 {
			c.end(endStopping)
		}
	}
	s.newcomers.DropAll()
	idle := make(chan struct{})
	go func() {
		s.tasks.Wait()
		close(idle)
	}()
	limit := time.NewTimer(s.limits.drainTimeout)
	defer limit.Stop()
	select {
	case <-idle:
		return
	case <-limit.C:
	}
	for _, c := range s.list() {
		c.end(endStopping)
	}
	<-idle // each is bounded by wire.CloseGrace and limits.libraryGrace
}
