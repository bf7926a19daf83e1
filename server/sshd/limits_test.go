package sshd

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
)

// See protocol 5.5.
func TestChannelLimits(t *testing.T) {
	full := ssh.OpenChannelError{Reason: ssh.ResourceShortage, Message: "too many channels"}
	w := newWorld(t, func(w *world) { w.limits.maxChannelsPerConnection, w.limits.maxChannels = 3, 5 })
	a, b := w.mustClient(), w.mustClient()
	var last net.Conn
	for range 3 {
		last = w.openService(a)
	}
	if diff := cmp.Diff(full, refusal(a, "direct-tcpip", directTCPIP(serviceHost, servicePort))); diff != "" {
		t.Errorf("fourth of a connection (-want +got):\n%s", diff)
	}
	w.openService(b)
	w.openService(b)
	if diff := cmp.Diff(full, refusal(b, "direct-tcpip", directTCPIP(serviceHost, servicePort))); diff != "" {
		t.Errorf("sixth of all (-want +got):\n%s", diff)
	}
	last.Close()
	w.seen.wait("channels", 4)
	for refusal(b, "direct-tcpip", directTCPIP(serviceHost, servicePort)) == full { // the place is freed right after
		runtime.Gosched()
	}
}

func TestConnectionLimit(t *testing.T) {
	w := newWorld(t, func(w *world) { w.limits.maxConnections = 2 })
	first := w.mustClient()
	w.mustClient()
	c, err := w.client(w.hubKey)
	if err == nil {
		if err := c.Wait(); err == nil {
			t.Error("the third connection ended well")
		}
	}
	w.seen.wait("connections", 2)
	first.Close()
	w.seen.wait("connections", 1)
	w.openService(w.mustClient())
}

// silent opens connections that never say a word.
func (w *world) silent(n int) []net.Conn {
	w.t.Helper()
	var out []net.Conn
	for range n {
		c, err := net.Dial("tcp", w.addr)
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { c.Close() })
		_, err = io.ReadFull(c, make([]byte, len(identification)+2))
		if err != nil && !errors.Is(err, io.EOF) && !isReset(err) {
			w.t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

func isReset(err error) bool { return strings.Contains(err.Error(), "reset") }

// A source that fills its share is dropped at the door; who is inside stays.
func TestFloodFromOneSource(t *testing.T) {
	w := newWorld(t, func(w *world) { w.limits.maxUnauthenticatedPerSource = 5 })
	before := w.mustClient()
	w.seen.wait("connections", 1) // its handshake takes no place any more
	w.silent(5)
	if c, err := w.client(w.hubKey); err == nil {
		c.Close()
		t.Error("a sixth connection of the source was let in")
	}
	w.openService(before)
	w.seen.wait("handshake "+HandshakeDropped, 1)
	if n := w.seen.get("handshake " + HandshakeDropped); n != 1 {
		t.Errorf("%d dropped, want one", n)
	}
}

// When all places are taken by those who say nothing, who comes to log in gets the place of the oldest of them.
func TestFloodLeavesRoomForLogins(t *testing.T) {
	w := newWorld(t, func(w *world) { w.limits.maxUnauthenticated, w.limits.maxUnauthenticatedPerSource = 8, 100 })
	flood := w.silent(50)
	for range 20 {
		w.openService(w.mustClient())
	}
	if _, err := io.Copy(io.Discard, flood[0]); err != nil && !isReset(err) {
		t.Error(err)
	}
	if n := w.seen.get("handshake " + HandshakeDropped); n < 42 {
		t.Errorf("%d dropped, want at least 42", n)
	}
}

// All hubs come at once after a restart, from one address behind a NodePort.
func TestReconnectStorm(t *testing.T) {
	const hubs = 100
	w := newWorld(t, nil)
	var wg sync.WaitGroup
	for range hubs {
		wg.Go(func() {
			c, err := w.client(w.hubKey)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			conn, err := c.Dial("tcp", join(serviceHost, servicePort))
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
		})
	}
	wg.Wait()
}

func TestStartupsTakeFromTheGreediest(t *testing.T) {
	s := newStartups(4, 3)
	dropped := map[string]int{}
	var mu sync.Mutex
	admit := func(addr string) *startup {
		return s.admit(netip.MustParseAddr(addr), func() {
			mu.Lock()
			defer mu.Unlock()
			dropped[addr]++
		})
	}
	a1, a2, a3 := admit("10.0.0.1"), admit("10.0.0.1"), admit("10.0.0.1")
	if admit("10.0.0.1") != nil {
		t.Error("a fourth of one source was admitted")
	}
	b := admit("10.0.0.2")
	c := admit("2001:db8::1") // takes a1's place
	d := admit("2001:db8::2") // the same /64; takes a2's place
	got := map[string]bool{
		"a1": s.done(a1), "a2": s.done(a2), "a3": s.done(a3), "b": s.done(b), "c": s.done(c), "d": s.done(d),
	}
	want := map[string]bool{"a1": false, "a2": false, "a3": true, "b": true, "c": true, "d": true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"10.0.0.1": 2}, dropped); diff != "" {
		t.Errorf("dropped (-want +got):\n%s", diff)
	}
	if s.total != 0 || len(s.sources) != 0 {
		t.Errorf("left: %d, %v", s.total, s.sources)
	}
}

func TestLogLinesAreLimited(t *testing.T) {
	var l lineLimit
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	written := 0
	for range 1000 {
		if ok, _ := l.take(now); ok {
			written++
		}
	}
	ok, skipped := l.take(now.Add(lineWindow))
	if written != linesPerWindow || !ok || skipped != 1000-linesPerWindow {
		t.Errorf("written %d, then %v with %d skipped", written, ok, skipped)
	}
}

// What a connection did is one line, with who it was and why it ended; its channels are not at info level.
func TestOneLineForEachConnection(t *testing.T) {
	w := newWorld(t, nil)
	c := w.mustClient()
	conn := w.openService(c)
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	refusal(c, "session", nil)
	c.Close()
	w.seen.wait("connections", 0)
	w.stop()
	var info []string
	for line := range strings.Lines(w.log.String()) {
		if strings.Contains(line, "level=INFO") {
			info = append(info, line)
		}
	}
	if len(info) != 1 {
		t.Fatalf("%d lines at info level, want one:\n%s", len(info), w.log)
	}
	for _, want := range []string{
		"hub=jupyterhub", "key=" + ssh.FingerprintSHA256(w.hubKey.PublicKey()), "remote=127.0.0.1",
		`reason="closed by the client"`, "channels=1", "bytes_up=1", "bytes_down=1",
	} {
		if !strings.Contains(info[0], want) {
			t.Errorf("the line does not say %s:\n%s", want, info[0])
		}
	}
	if w.seen.get("up") != 1 || w.seen.get("down") != 1 {
		t.Errorf("counted %v", w.seen.counts)
	}
}

func TestProbesAreNotLogged(t *testing.T) {
	w := newWorld(t, nil)
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	w.seen.wait("handshake "+HandshakeEmpty, 1)
	if log := w.log.String(); strings.Contains(log, "INFO") {
		t.Errorf("a probe was logged:\n%s", log)
	}
}
