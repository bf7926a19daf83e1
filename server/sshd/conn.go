package sshd

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/source"
	"github.com/outposts-dev/outposts/server/sshd/keys"
	"github.com/outposts-dev/outposts/server/sshd/wire"
)

// Reasons why a connection ended, as logged.
const (
	endClient   = "closed by the client"
	endKey      = "key was removed or has expired"
	endDead     = "client is dead"
	endNoRead   = "client does not read"
	endRekey    = "key exchange stalled"
	endNoReply  = "client does not answer keepalives"
	endProtocol = "protocol error"
	endStopping = "server is stopping"
	endLimit    = "too many connections of this hub"
	endStuck    = "too many protocol errors of this hub"
)

// conn is one connection of a client.
type conn struct {
	server *Server
	wire   *wire.Conn
	source netip.Addr
	start  time.Time

	place *source.Place // among those in handshake

	// Made by the handshake.
	ssh          *ssh.ServerConn
	openRequests <-chan ssh.NewChannel
	requests     <-chan *ssh.Request
	hub          string
	counts       *hubCounts // of the hub
	proved       ssh.PublicKey
	log          *slog.Logger

	ctx    context.Context // ends with the connection
	cancel context.CancelFunc

	reason   atomic.Pointer[string] // why it ended
	channels atomic.Int64           // open or being opened
	opened   atomic.Int64           // ever accepted
	up, down atomic.Int64           // bytes
	mover    *wire.Mover
	tasks    sync.WaitGroup

	// What the keepalive remembers; only its goroutine uses these.
	seenReceived, seenSent int64
	heard, spoke           time.Time
	askedAt                time.Time
	sentWhenAsked          int64
	asking                 atomic.Bool   // a keepalive is under way
	ask                    chan struct{} // holds one; sent to only when none is under way
}

// bytes is what the connection has moved, both ways.
func (c *conn) bytes() int64 { return c.up.Load() + c.down.Load() }

// end closes the connection; the first reason is the one that is logged.
func (c *conn) end(reason string) {
	if c.reason.CompareAndSwap(nil, &reason) {
		c.cancel()
		_ = c.wire.Close() // its failure shows in the reader
	}
}

// key returns the line of the authorized keys that lets the connection in now, or nil.
func (c *conn) key() *keys.Authorized {
	k := c.server.keys.Find(c.proved, c.source, c.server.now())
	if k == nil || k.Hub != c.hub {
		return nil
	}
	return k
}

// serve answers channels and requests until the connection ends.
func (c *conn) serve() {
	c.tasks.Go(c.answerRequests)
	c.tasks.Go(c.keepAlive)
	if err := announceHostKeys(c.ssh, c.server.keys.Hosts()); err == nil {
		for nc := range c.openRequests {
			c.open(nc)
		}
	}
	if c.wire.Broken() {
		c.end(endProtocol)
	}
	c.end(endClient)
	for nc := range c.openRequests { // what came before the library noticed
		_ = nc.Reject(ssh.Prohibited, "closed") // it is closed anyway
	}
	c.tasks.Wait()
}

// finished waits up to limits.libraryGrace until the library has let go of the connection, and reports whether it has.
// ended is closed when it has in the end.
func (c *conn) finished() (ended <-chan struct{}, ok bool) {
	done := make(chan struct{})
	go func() {
		_ = c.ssh.Wait() // always an error; reason says more
		close(done)
	}()
	grace := time.NewTimer(c.server.limits.libraryGrace)
	defer grace.Stop()
	select {
	case <-done:
		return done, true
	case <-grace.C:
		c.wire.Abort()
		return done, false
	}
}

// keepAlive asks the client for a sign of life whenever check wants one.
func (c *conn) keepAlive() {
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.ask:
			_, _, _ = c.ssh.SendRequest("keepalive@openssh.com", true, nil) // any answer is a sign of life
			c.asking.Store(false)
		}
	}
}

// answerRequests refuses global requests but those about host keys. The refusal is an answer to a keepalive, too.
func (c *conn) answerRequests() {
	proved := false
	for r := range c.requests {
		var ok bool
		var reply []byte
		switch r.Type {
		case hostKeysProve:
			if !proved { // once: it costs signatures
				proved = true
				var err error
				if reply, err = proveHostKeys(c.ssh, c.server.keys.Hosts(), r.Payload); err != nil {
					c.log.Debug("host keys not proved", "err", err)
				}
				ok = err == nil
			}
		case "keepalive@openssh.com", "no-more-sessions@openssh.com":
		default:
			c.server.opts.Observer.Refused(c.hub, RefusedRequest)
			c.log.Debug("request refused", "type", excerpt.Of(r.Type, excerpt.Name))
		}
		if err := r.Reply(ok, reply); err != nil {
			c.log.Debug("request not answered", "err", err)
		}
	}
}

// open answers one request for a channel; the work that may take time is done by a goroutine of its own.
func (c *conn) open(nc ssh.NewChannel) {
	s := c.server
	if nc.ChannelType() != "direct-tcpip" {
		c.refuse(nc, RefusedType)
		return
	}
	t, err := parseTarget(nc.ExtraData())
	switch {
	case err != nil:
		c.refuse(nc, RefusedPayload)
		return
	case s.stopping.Load():
		c.refuse(nc, RefusedStopping)
		return
	}
	if reason := s.takeChannel(c.hub, t); reason != "" {
		c.refuse(nc, reason)
		return
	}
	c.channels.Add(1)
	c.tasks.Go(func() {
		defer c.channelDone(t)
		c.forward(nc, t)
	})
}

func (c *conn) channelDone(t target) {
	c.server.giveChannel(c.hub, t)
	if c.channels.Add(-1) == 0 && c.server.stopping.Load() {
		c.end(endStopping)
	}
}

// refuse rejects a channel with the code and message that go with one of the Refused* reasons. Clients learn whether
// it was forbidden or failed, and no more.
func (c *conn) refuse(nc ssh.NewChannel, reason string) {
	code, message := ssh.Prohibited, "not permitted"
	switch reason {
	case RefusedType:
		code, message = ssh.UnknownChannelType, "only direct-tcpip is served"
	case RefusedLimit:
		code, message = ssh.ResourceShortage, "too many channels"
	case RefusedBusy:
		code, message = ssh.ResourceShortage, "too many channels to this target"
	case RefusedStopping:
		code, message = ssh.ResourceShortage, "the server is stopping"
	}
	c.server.opts.Observer.Refused(c.hub, reason)
	c.log.Debug("channel refused", "reason", reason)
	if err := nc.Reject(code, message); err != nil {
		c.log.Debug("refusal not sent", "err", err)
	}
}

// check is called every tick: it asks a silent client for a sign of life and ends a connection that is dead or stuck.
// All bounds are shortened by one tick, so that what they promise holds.
func (c *conn) check(now time.Time, tick time.Duration) {
	l := &c.server.limits
	if n := c.wire.Received(); n != c.seenReceived || c.heard.IsZero() {
		c.seenReceived, c.heard = n, now
	}
	sent := c.wire.Sent()
	if sent != c.seenSent || c.spoke.IsZero() {
		c.seenSent, c.spoke = sent, now
	}
	asking := c.asking.Load()
	patience := l.deadAfter - tick
	stalled := c.wire.Stalled(now)
	switch {
	case stalled >= patience:
		c.end(endNoRead)
	case asking && stalled == 0 && sent == c.sentWhenAsked && now.Sub(c.askedAt) >= patience-l.keepAliveInterval:
		// The keepalive could not be sent, and no write holds it up: a key exchange has begun and does not go on.
		c.end(endRekey)
	case now.Sub(c.heard) >= patience:
		c.end(endDead)
	case asking && now.Sub(c.askedAt) >= 10*l.deadAfter:
		c.end(endNoReply)
	case !asking && max(now.Sub(c.heard), now.Sub(c.spoke)) >= l.keepAliveInterval-tick:
		c.sentWhenAsked, c.askedAt = sent, now
		c.asking.Store(true)
		c.ask <- struct{}{}
	}
	if c.key() == nil {
		c.end(endKey)
	}
}
