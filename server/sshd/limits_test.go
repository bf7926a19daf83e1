package sshd

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/source"
)

// See protocol 5.5.
func TestConnectionLimit(t *testing.T) {
	var keys []ssh.Signer
	w := newWorld(t, func(w *world) {
		keys = manyHubs(w, 2)
		w.limits.maxConnections = 2
	})
	dial := func(key ssh.Signer) *ssh.Client {
		c, err := w.client(key)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	first := dial(keys[0])
	dial(keys[0])
	w.seen.wait("connections", 2)
	c, err := w.client(keys[0])
	if err == nil {
		if err := c.Wait(); err == nil {
			t.Error("the third connection ended well")
		}
	}
	w.seen.wait("refused "+RefusedConnection, 1)
	w.openService(dial(keys[1])) // another hub's
	w.seen.wait("connections", 3)
	first.Close()
	w.seen.wait("connections", 2)
	w.openService(dial(keys[0]))
}

// flood opens connections from an address of loopback that say no more than this, and waits until the server has seen
// each of them.
func (w *world) flood(from string, n int, said string) []net.Conn {
	w.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	var out []net.Conn
	for range n {
		c, err := dialer.Dial("tcp", w.addr)
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, said); err != nil {
			w.t.Fatal(err)
		}
		_, err = io.ReadFull(c, make([]byte, len(identification)+2))
		if err != nil && !errors.Is(err, io.EOF) && !isReset(err) {
			w.t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

func isReset(err error) bool { return strings.Contains(err.Error(), "reset") }

// A source may fill its share of handshakes as it likes: whoever comes from there to log in gets a place, and who is
// inside stays.
func TestFloodFromOneSource(t *testing.T) {
	for name, said := range map[string]string{"silent": "", "identified": "SSH-2.0-flood\r\n"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			before := w.mustClient()
			w.seen.wait("connections", 1) // its handshake takes no place any more
			w.flood("127.0.0.1", w.limits.maxUnauthenticatedPerSource, said)
			for range 20 {
				w.openService(w.mustClient())
			}
			w.openService(before)
			if n := w.seen.get("handshake " + HandshakeDropped); n == 0 || n > 20 {
				t.Errorf("%d dropped for 20 logins", n)
			}
		})
	}
}

// When all places are taken by those who say nothing, from many sources, a login gets a place from any source.
func TestFloodLeavesRoomForLogins(t *testing.T) {
	w := newWorld(t, nil)
	sources := w.limits.maxUnauthenticated/w.limits.maxUnauthenticatedPerSource + 1
	for i := range sources {
		w.flood(fmt.Sprintf("127.0.1.%d", i+1), w.limits.maxUnauthenticatedPerSource, "")
	}
	w.seen.wait("handshake "+HandshakeDropped, int64(w.limits.maxUnauthenticatedPerSource))
	for i := range 20 {
		w.openService(w.mustClient()) // from a source of its own
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i%sources+1))}}
		raw, err := dialer.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		sc, chans, reqs, err := ssh.NewClientConn(raw, w.addr, w.login(w.hubKey))
		if err != nil {
			t.Fatalf("login %d from a source of the flood: %v", i, err)
		}
		w.openService(ssh.NewClient(sc, chans, reqs))
		sc.Close()
	}
}

// While a flood from its own source goes on, a login of a tenth of a second is let in: always if fewer others come
// meanwhile than half of the source's share, and mostly if somewhat more do.
func TestLoginsSurviveAFloodUnderWay(t *testing.T) {
	const logins = 200
	from := source.Of(netip.MustParseAddr("10.0.0.1"))
	for _, tt := range []struct{ meanwhile, want int }{
		{limitsFor(usualMemory).maxUnauthenticatedPerSource/2 - 1, logins},
		{limitsFor(usualMemory).maxUnauthenticatedPerSource, logins / 4},
	} {
		limits := limitsFor(usualMemory)
		q := newNewcomers(limits, rand.New(rand.NewPCG(1, 2)).IntN)
		flood := func(n int) {
			for range n {
				q.Add(from, func() {})
			}
		}
		flood(limits.maxUnauthenticatedPerSource)
		survived := 0
		for range logins {
			login := q.Add(from, func() {})
			flood(tt.meanwhile)
			login.Advance(stageRecognized)
			flood(10 * limits.maxUnauthenticatedPerSource) // while the key is being proved
			if q.Remove(login) {
				survived++
			}
		}
		if survived < tt.want {
			t.Errorf("%d come meanwhile: %d of %d logins survive, want %d", tt.meanwhile, survived, logins, tt.want)
		}
	}
}

// A login has said who it is before a flood of silent connections from its own source can take its place, however many
// come.
func TestLoginsSurviveAnyNumberOfSilentConnections(t *testing.T) {
	l := limitsFor(usualMemory)
	for _, address := range []string{"10.0.0.1", "10.0.0.2"} { // of the flood, and one of many
		t.Run(address, func(t *testing.T) {
			q := newNewcomers(l, rand.IntN)
			flood := func(n int) {
				for i := range n {
					from := netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i%9)})
					q.Add(source.Of(from), func() {})
				}
			}
			flood(20 * l.maxUnauthenticated)
			login := q.Add(source.Of(netip.MustParseAddr(address)), func() {})
			login.Advance(stageIdentified)
			flood(20 * l.maxUnauthenticated)
			if !q.Remove(login) {
				t.Error("the login has lost its place to those who say nothing")
			}
		})
	}
}

// A login that has not said who it is yet is not taken for a silent one of a flood that has.
func TestLoginsSurviveAFloodThatIdentifiesItself(t *testing.T) {
	from := source.Of(netip.MustParseAddr("10.0.0.1"))
	l := limitsFor(usualMemory)
	q := newNewcomers(l, rand.IntN)
	flood := func(n int) {
		for range n {
			q.Add(from, func() {}).Advance(stageIdentified)
		}
	}
	flood(2 * l.maxUnauthenticatedPerSource)
	login := q.Add(from, func() {})
	flood(l.maxUnauthenticatedPerSource/2 - 1)
	if !q.Remove(login) {
		t.Error("the login has lost its place")
	}
}

// All hubs come at once after a restart, from one address behind a NodePort.
func TestReconnectStorm(t *testing.T) {
	var keys []ssh.Signer
	w := newWorld(t, func(w *world) { keys = manyHubs(w, 100) })
	var wg sync.WaitGroup
	for _, key := range keys {
		wg.Go(func() {
			c, err := w.client(key)
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

func TestNewcomersTakeFromTheGreediest(t *testing.T) {
	q := newNewcomers(limits{maxUnauthenticated: 4, maxUnauthenticatedPerSource: 3}, func(int) int { return 0 })
	dropped := map[string]int{}
	admit := func(addr string) *source.Place {
		return q.Add(source.Of(netip.MustParseAddr(addr)), func() { dropped[addr]++ })
	}
	a1, a2, a3 := admit("10.0.0.1"), admit("10.0.0.1"), admit("10.0.0.1")
	a1.Advance(stageRecognized)
	a4 := admit("10.0.0.1") // over the source's bound: a2's place
	b := admit("10.0.0.2")
	c := admit("2001:db8::1") // over the total: a3's place
	d := admit("2001:db8::2") // the same /64: a4's place, as the source that has most
	e := admit("2001:db8::3") // c's place
	got := map[string]bool{
		"a1": q.Remove(a1), "a2": q.Remove(a2), "a3": q.Remove(a3), "a4": q.Remove(a4),
		"b": q.Remove(b), "c": q.Remove(c), "d": q.Remove(d), "e": q.Remove(e),
	}
	want := map[string]bool{
		"a1": true, "a2": false, "a3": false, "a4": false, "b": true, "c": false, "d": true, "e": true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"10.0.0.1": 3, "2001:db8::1": 1}, dropped); diff != "" {
		t.Errorf("dropped (-want +got):\n%s", diff)
	}
	if q.Len() != 0 {
		t.Errorf("%d are left", q.Len())
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
