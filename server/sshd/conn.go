package sshd

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// Why a connection ended, as logged.
const (
	whyPeer     = "closed by peer"
	whyKey      = "key was removed or has expired"
	whyDead     = "peer is dead"
	whyNoRead   = "peer does not read"
	whyRekey    = "key exchange stalled"
	whyNoReply  = "peer answers no keepalive"
	whyProtocol = "protocol error"
	whyStopping = "server is stopping"
	whyLimit    = "too many connections"
	whyStuck    = "too many protocol errors of this hub"
)

// libraryGrace is how long the SSH library may take to finish after its connection is closed. It can hang for good
// when a peer that breaks the protocol had more packets on the way.
const libraryGrace = 3 * time.Second

// conn is an authenticated connection.
type conn struct {
	server *Server
	wire   *wire
	ssh    *ssh.ServerConn
	source netip.Addr
	hub    string
	proved ssh.PublicKey
	log    *slog.Logger
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc

	why      atomic.Pointer[string]
	channels atomic.Int64 // open or being opened
	opened   atomic.Int64 // ever accepted
	up, down atomic.Int64 // bytes
	pieces   atomic.Int64 // large ones, see movers
	moves    atomic.Bool  // it is one of the movers
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
func (c *conn) end(why string) {
	if c.why.CompareAndSwap(nil, &why) {
		c.cancel()
		_ = c.wire.Close() // its failure shows in the reader
	}
}

// key returns the line of the authorized keys that lets the connection in now, or nil.
func (c *conn) key() *authorizedKey {
	k := c.server.keys.authorized.Load().find(c.proved, c.source, c.server.now())
	if k == nil || k.hub != c.hub {
		return nil
	}
	return k
}

// serve answers channels and requests until the connection ends.
func (c *conn) serve(channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	c.tasks.Go(func() { c.answer(requests) })
	c.tasks.Go(c.keepAlive)
	if err := announceHostKeys(c.ssh, c.server.keys.hosts.Load()); err == nil {
		for nc := range channels {
			c.open(nc)
		}
	}
	c.end(whyPeer)
	for nc := range channels { // what came before the library noticed
		_ = nc.Reject(ssh.Prohibited, "closed") // it is closed anyway
	}
	c.tasks.Wait()
}

// finished waits until the library has let go of the connection and tells whether it has.
func (c *conn) finished() (done <-chan struct{}, ok bool) {
	ended := make(chan struct{})
	go func() {
		_ = c.ssh.Wait() // always an error; why says more
		close(ended)
	}()
	grace := time.NewTimer(libraryGrace)
	defer grace.Stop()
	select {
	case <-ended:
		return ended, true
	case <-grace.C:
		c.wire.abort()
		return ended, false
	}
}

// keepAlive asks the peer for a sign of life whenever check wants one.
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

// answer refuses global requests but those about host keys. A keepalive is answered by the refusal.
func (c *conn) answer(requests <-chan *ssh.Request) {
	proved := false
	for r := range requests {
		var ok bool
		var reply []byte
		switch r.Type {
		case hostKeysProve:
			if !proved { // once: it costs signatures
				proved = true
				var err error
				if reply, err = proveHostKeys(c.ssh, c.server.keys.hosts.Load(), r.Payload); err != nil {
					c.log.Debug("host keys not proved", "err", err)
				}
				ok = err == nil
			}
		case "keepalive@openssh.com", "no-more-sessions@openssh.com":
		default:
			c.server.opts.Observer.Refused(c.hub, RefusedRequest)
			c.log.Debug("request refused", "type", clip(r.Type))
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
	mine, all := c.channels.Add(1), s.channels.Add(1)
	if mine > int64(s.opts.MaxChannelsPerConnection) || all > int64(s.opts.MaxChannels) {
		c.channelDone()
		c.refuse(nc, RefusedLimit)
		return
	}
	c.tasks.Go(func() {
		defer c.channelDone()
		c.forward(nc, t)
	})
}

func (c *conn) channelDone() {
	c.server.channels.Add(-1)
	if c.channels.Add(-1) == 0 && c.server.stopping.Load() {
		c.end(whyStopping)
	}
}

// refuse rejects a channel with the reason and text that go with one of the Refused* words. Peers learn whether it was
// forbidden or failed, and no more.
func (c *conn) refuse(nc ssh.NewChannel, reason string) {
	code, text := ssh.Prohibited, "not permitted"
	switch reason {
	case RefusedType:
		code, text = ssh.UnknownChannelType, "only direct-tcpip is served"
	case RefusedLimit:
		code, text = ssh.ResourceShortage, "too many channels"
	case RefusedStopping:
		code, text = ssh.ResourceShortage, "the server is stopping"
	}
	c.server.opts.Observer.Refused(c.hub, reason)
	c.log.Debug("channel refused", "reason", reason)
	if err := nc.Reject(code, text); err != nil {
		c.log.Debug("refusal not sent", "err", err)
	}
}

// check is called every tick: it asks a silent peer for a sign of life and ends a connection that is dead or stuck.
// All bounds are shortened by one tick, so that what they promise holds.
func (c *conn) check(now time.Time, tick time.Duration) {
	o := &c.server.opts
	if n := c.wire.received.Load(); n != c.seenReceived || c.heard.IsZero() {
		c.seenReceived, c.heard = n, now
	}
	sent := c.wire.sent.Load()
	if sent != c.seenSent || c.spoke.IsZero() {
		c.seenSent, c.spoke = sent, now
	}
	asking := c.asking.Load()
	patience := o.DeadAfter - tick
	stalled := c.wire.stalled(now)
	switch {
	case stalled >= patience:
		c.end(whyNoRead)
	case asking && stalled == 0 && sent == c.sentWhenAsked && now.Sub(c.askedAt) >= patience-o.KeepAliveInterval:
		// The keepalive itself could not be sent, and no write holds it up: a key exchange has begun and does not go on.
		c.end(whyRekey)
	case now.Sub(c.heard) >= patience:
		c.end(whyDead)
	case asking && now.Sub(c.askedAt) >= 10*o.DeadAfter:
		c.end(whyNoReply)
	case !asking && (now.Sub(c.heard) >= o.KeepAliveInterval-tick || now.Sub(c.spoke) >= o.KeepAliveInterval-tick):
		c.sentWhenAsked, c.askedAt = sent, now
		c.asking.Store(true)
		c.ask <- struct{}{}
	}
	if c.key() == nil {
		c.end(whyKey)
	}
}
