package sshd

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/nettest"
	"github.com/outposts-dev/outposts/server/sshtest"
)

// timed is a server in memory under a clock of its own.
type timed struct {
	t *testing.T
	w *world
	l *nettest.Listener

	stop func() // ends the server and waits for it
}

// inTime runs a test under its own clock. The service behind the server echoes, in memory too.
func inTime(t *testing.T, change func(*world), test func(*timed)) {
	w := &world{
		t: t, limits: limitsFor(usualMemory), hosts: t.TempDir(), keys: t.TempDir(),
		log: &lockedBuffer{}, seen: newRecorder(),
		services: map[string]map[string]bool{},
	}
	w.limits.reloadInterval = time.Hour
	w.hostKey = w.writeHostKey("ssh_host_ed25519_key")
	w.hubKey = sshtest.NewKey(t)
	w.writeKeys(hubName, authorizedLine("", w.hubKey))
	w.allow(hubName, serviceHost, servicePort)
	synctest.Test(t, func(t *testing.T) {
		w.opts = Options{
			Hubs: []string{hubName}, HostKeysDir: w.hosts, AuthorizedKeysDir: w.keys, PermitOpen: w.permit,
			Observer: w.seen,
			Logger:   newWorldLogger(w),
			Resolve:  func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{serviceAddr}, nil },
			Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
				near, far := nettest.Pipe()
				go func() { _, _ = io.Copy(far, far); far.Close() }()
				return near, nil
			},
		}
		if change != nil {
			change(w)
		}
		server, err := newServer(w.opts, w.limits)
		if err != nil {
			t.Fatal(err)
		}
		w.server = server
		ctx, cancel := context.WithCancel(t.Context())
		l := nettest.Listen()
		done := make(chan error)
		go func() { done <- server.Serve(ctx, l) }()
		stop := sync.OnceFunc(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		test(&timed{t, w, l, stop})
		stop()
	})
}

// connect returns a client and its end of the connection.
func (x *timed) connect() (*ssh.Client, *nettest.Conn) {
	x.t.Helper()
	conn := x.dial()
	return x.handshake(conn), conn
}

func (x *timed) dial() *nettest.Conn {
	x.t.Helper()
	conn, err := x.l.Dial(context.Background())
	if err != nil {
		x.t.Fatal(err)
	}
	return conn
}

// handshake makes a client of a connection.
func (x *timed) handshake(conn net.Conn) *ssh.Client {
	x.t.Helper()
	sc, chans, reqs, err := ssh.NewClientConn(conn, "", x.w.login(x.w.hubKey))
	if err != nil {
		x.t.Fatal(err)
	}
	return ssh.NewClient(sc, chans, reqs)
}

func (x *timed) echoes(conn net.Conn) {
	x.t.Helper()
	if _, err := conn.Write([]byte("still there?")); err != nil {
		x.t.Fatal(err)
	}
	got := make([]byte, len("still there?"))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "still there?" {
		x.t.Fatalf("got %q, %v", got, err)
	}
}

// A WebSocket that is silent for a quarter of an hour and for two, and a connection that has no channel for a day
// (protocol 5.1).
func TestIdleConnectionsStay(t *testing.T) {
	inTime(t, nil, func(x *timed) {
		c, _ := x.connect()
		conn, err := c.Dial("tcp", join(serviceHost, servicePort))
		if err != nil {
			t.Fatal(err)
		}
		for _, idle := range []time.Duration{15 * time.Minute, 2 * time.Hour} {
			time.Sleep(idle) // the bubble's clock
			x.echoes(conn)
		}
		conn.Close()
		time.Sleep(24 * time.Hour)
		if conn, err = c.Dial("tcp", join(serviceHost, servicePort)); err != nil {
			t.Fatal(err)
		}
		x.echoes(conn)
		c.Close()
		c.Wait()
		synctest.Wait()
	})
}

// ended checks that no connection is left, and the reason.
func (x *timed) ended(reason string) {
	x.t.Helper()
	synctest.Wait()
	x.w.logged(reason)
	if n := x.w.seen.get("connections"); n != 0 {
		x.t.Errorf("%d connections are left", n)
	}
}

// libraryGrace is how long the end of a connection may take at most.
const libraryGrace = 3 * time.Second

// However the silence falls between the looks at it, a dead client is found within 45 s (protocol 5.5).
func TestDeadClientIsFound(t *testing.T) {
	for _, after := range []time.Duration{
		time.Millisecond, 4999 * time.Millisecond, 17 * time.Second, 61 * time.Second,
	} {
		inTime(t, nil, func(x *timed) {
			c, conn := x.connect()
			time.Sleep(after)
			conn.Freeze()
			time.Sleep(24 * time.Second)
			if n := x.w.seen.get("connections"); n != 1 { // it may come back
				t.Errorf("silent after %v: ended within 24 s", after)
			}
			time.Sleep(21*time.Second + libraryGrace)
			x.ended(endDead)
			conn.Close()
			c.Close()
		})
	}
}

// A client that begins nothing, or stops in the middle of a handshake, is dropped in time (protocol 5.2).
func TestHandshakeDeadline(t *testing.T) {
	for _, said := range []string{"", "SSH-2.0-slow\r\n", "SSH-2.0-"} {
		inTime(t, nil, func(x *timed) {
			conn := x.dial()
			if _, err := conn.Write([]byte(said)); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			_, err := io.Copy(io.Discard, conn)
			if took := time.Since(begin); took != 10*time.Second {
				t.Errorf("%q: dropped after %v, %v", said, took, err)
			}
			synctest.Wait()
			if n := x.w.seen.get("handshake " + HandshakeTimeout); n != 1 {
				t.Errorf("%q: counted %v", said, x.w.seen.counts)
			}
			conn.Close()
		})
	}
}

// A client that offers an authorized key and never proves that it holds it is dropped in time.
func TestKeyThatIsNeverProved(t *testing.T) {
	inTime(t, nil, func(x *timed) {
		conn := x.dial()
		held := make(chan struct{})
		begin := time.Now()
		go func() {
			_, _, _, err := ssh.NewClientConn(conn, "", x.w.login(reluctant{x.w.hubKey, held}))
			if err == nil {
				t.Error("let in")
			}
		}()
		x.w.seen.wait("handshake "+HandshakeTimeout, 1)
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("dropped after %v", took)
		}
		close(held)
		conn.Close()
	})
}

// reluctant is a key that signs nothing until held is closed.
type reluctant struct {
	ssh.Signer
	held chan struct{}
}

func (r reluctant) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	<-r.held
	return r.Signer.Sign(rand, data)
}
