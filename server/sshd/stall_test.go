package sshd

import (
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/nettest"
)

// gate is a client's connection whose reading can be stopped, as a malicious client would.
type gate struct {
	net.Conn
	mu     sync.Mutex
	open   chan struct{} // closed while reading is allowed
	closed chan struct{}
	once   sync.Once
}

func newGate(c net.Conn) *gate {
	g := &gate{Conn: c, open: make(chan struct{}), closed: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

func (g *gate) Read(p []byte) (int, error) {
	if !g.pass() {
		return 0, net.ErrClosed
	}
	n, err := g.Conn.Read(p)
	if !g.pass() { // shut while the read was under way: its bytes are not seen either
		return 0, net.ErrClosed
	}
	return n, err
}

// pass waits until the gate is open, and reports whether it is not closed.
func (g *gate) pass() bool {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
		return true
	case <-g.closed:
		return false
	}
}

func (g *gate) Close() error {
	g.once.Do(func() { close(g.closed) })
	return g.Conn.Close()
}

// gated connects through a gate.
func (x *timed) gated() (*ssh.Client, *gate) {
	x.t.Helper()
	g := newGate(x.dial())
	return x.handshake(g), g
}

// chatter keeps a channel's client sending, so that the connection is not silent.
func chatter(conn net.Conn) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range tick.C {
		if _, err := conn.Write([]byte("hear me")); err != nil {
			return
		}
	}
}

// sinks makes the service take everything and send nothing: an answer would show that the client still takes something.
func sinks(w *world) {
	w.opts.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
		near, far := nettest.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far); far.Close() }()
		return near, nil
	}
}

// A client that sends but does not read is ended when a write makes no progress, and holds up only itself. Over real
// sockets: under a clock of its own nothing would go on, because goroutines that wait for a lock count as busy. The
// server's clock jumps ahead each time that both clients have given a sign of life, so that nobody is silent for it.
func TestClientThatNeverReads(t *testing.T) {
	const tick = 20 * time.Minute
	pour := make(chan struct{})
	var ahead atomic.Int64
	w := newWorld(t, func(w *world) {
		w.limits.keepAliveInterval, w.limits.deadAfter = 3*tick, 30*tick // the test checks, not the server
		w.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		w.serve(hubName, "endless.svc", 80, serviceAddr.Next(), func(c *net.TCPConn) {
			<-pour
			_, _ = io.Copy(c, neverEnding{})
		})
	})
	other := w.mustClient()
	calm := w.openService(other)
	before := w.server.list()
	raw, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(raw)
	sc, chans, reqs, err := ssh.NewClientConn(g, w.addr, w.login(w.hubKey))
	if err != nil {
		t.Fatal(err)
	}
	c := ssh.NewClient(sc, chans, reqs)
	t.Cleanup(func() { c.Close() })
	talk := w.openService(c)
	stuck := slices.DeleteFunc(w.server.list(), func(c *conn) bool { return slices.Contains(before, c) })[0]
	for range 8 { // more than the kernel keeps
		if _, err := c.Dial("tcp", "endless.svc:80"); err != nil {
			t.Fatal(err)
		}
	}
	g.shut()
	close(pour)
	for w.seen.get("channels") > 1 { // all but the calm one end with the connection
		heard := stuck.wire.Received()
		if _, err := talk.Write([]byte("hear me")); err == nil {
			for stuck.wire.Received() == heard && stuck.ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
		}
		if _, err := calm.Write([]byte{1}); err != nil {
			t.Fatalf("the other connection: %v", err)
		}
		if _, err := io.ReadFull(calm, make([]byte, 1)); err != nil {
			t.Fatalf("the other connection: %v", err)
		}
		ahead.Add(int64(tick))
		w.server.check(tick)
	}
	w.stop()
	w.logged(endNoRead)
}

// A key exchange that is begun and not finished ends the connection, though the client is not silent.
func TestStalledKeyExchange(t *testing.T) {
	inTime(t, func(w *world) { sinks(w); w.limits.rekeyThreshold = 64 << 10 }, func(x *timed) {
		c, g := x.gated()
		talk, err := c.Dial("tcp", join(serviceHost, servicePort))
		if err != nil {
			t.Fatal(err)
		}
		g.shut() // the server's request for new keys is not seen
		if _, err := talk.Write(make([]byte, 128<<10)); err != nil {
			t.Fatal(err)
		}
		go chatter(talk)
		time.Sleep(45*time.Second + libraryGrace)
		x.ended(endRekey)
		c.Close()
	})
}

// A client that never answers a keepalive is ended at last, though it is not silent.
func TestClientThatNeverAnswers(t *testing.T) {
	inTime(t, sinks, func(x *timed) {
		c, g := x.gated()
		talk, err := c.Dial("tcp", join(serviceHost, servicePort))
		if err != nil {
			t.Fatal(err)
		}
		g.shut()
		go chatter(talk)
		time.Sleep(8 * time.Minute)
		x.ended(endNoReply)
		c.Close()
	})
}
