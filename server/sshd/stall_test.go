package sshd

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// gate is a client's connection whose reading can be stopped, by a peer that means no good.
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

// pass waits until the gate is open, and tells whether it is not closed.
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
func (w *world) gated() (*ssh.Client, *gate) {
	w.t.Helper()
	raw, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	g := newGate(raw)
	sc, chans, reqs, err := ssh.NewClientConn(g, w.addr, &ssh.ClientConfig{
		User: "jhuboutpost", Auth: []ssh.AuthMethod{ssh.PublicKeys(w.hubKey)}, HostKeyCallback: ssh.FixedHostKey(w.hostKey.PublicKey()),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	c := ssh.NewClient(sc, chans, reqs)
	w.t.Cleanup(func() { c.Close() })
	return c, g
}

func impatient(w *world) {
	w.opts.KeepAliveInterval, w.opts.DeadAfter = 200*time.Millisecond, time.Second
}

// chatter keeps a channel's client sending, so that the connection is not silent.
func chatter(conn net.Conn) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := conn.Write([]byte("hear me")); err != nil {
			return
		}
	}
}

func (w *world) logged(why string) {
	w.t.Helper()
	if log := w.log.String(); !strings.Contains(log, "why=\""+why+"\"") {
		w.t.Errorf("the log does not say %q:\n%s", why, log)
	}
}

// A peer that sends but does not read is ended when a write makes no progress, and holds up only itself.
func TestPeerThatNeverReads(t *testing.T) {
	w := newWorld(t, func(w *world) {
		impatient(w)
		w.serve(hubName, "endless.svc", 80, serviceAddr.Next(), func(c *net.TCPConn) { _, _ = io.Copy(c, neverEnding{}) })
	})
	other := w.mustClient()
	c, g := w.gated()
	talk := w.openService(c)
	for range 8 { // more than the kernel keeps
		if _, err := c.Dial("tcp", "endless.svc:80"); err != nil {
			t.Fatal(err)
		}
	}
	g.shut()
	go chatter(talk)
	w.seen.wait("connections", 1)
	if _, err := w.openService(other).Write([]byte{1}); err != nil {
		t.Errorf("the other connection: %v", err)
	}
	w.stop()
	w.logged(whyNoRead)
}

// A key exchange that is begun and not finished ends the connection, though the peer is not silent.
func TestStalledKeyExchange(t *testing.T) {
	w := newWorld(t, func(w *world) {
		impatient(w)
		w.opts.RekeyThreshold = 64 << 10
		w.serve(hubName, "sink.svc", 80, serviceAddr.Next(), func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	})
	c, g := w.gated()
	talk, err := c.Dial("tcp", "sink.svc:80")
	if err != nil {
		t.Fatal(err)
	}
	g.shut() // the server's request for new keys is not seen
	if _, err := talk.Write(make([]byte, 128<<10)); err != nil {
		t.Fatal(err)
	}
	go chatter(talk)
	w.seen.wait("connections", 0)
	w.stop()
	w.logged(whyRekey)
}

// A peer that takes no keepalive for an answer's worth is ended in the end.
func TestPeerThatNeverAnswers(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.opts.KeepAliveInterval, w.opts.DeadAfter = 60*time.Millisecond, 300*time.Millisecond
		// Nothing comes back but keepalives: an answer of the service would show that the peer still takes something.
		w.serve(hubName, "sink.svc", 80, serviceAddr.Next(), func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	})
	c, g := w.gated()
	talk, err := c.Dial("tcp", "sink.svc:80")
	if err != nil {
		t.Fatal(err)
	}
	g.shut()
	go chatter(talk)
	w.seen.wait("connections", 0)
	w.stop()
	w.logged(whyNoReply)
}
