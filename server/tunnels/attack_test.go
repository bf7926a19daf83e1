package tunnels

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/server/sshd/wire"
	"github.com/outposts-dev/outposts/server/sshtest"
	"github.com/outposts-dev/outposts/server/tunnels/remote"
)

// A Service that is still there, as one that waits for a finalizer, is where nodes lead: its port is nobody else's.
func TestServiceThatIsBeingDeletedKeepsItsPort(t *testing.T) {
	w, _ := newRemote(t, func(w *world) { w.limits.rest = 50 * time.Millisecond })
	svc := w.service("leaving", "remote", "lab-1.ns.svc:8888", 20001)
	w.create(svc)
	w.wantAnswer(20001, "lab-1 of remote")
	svc = svc.DeepCopy()
	svc.DeletionTimestamp, svc.Finalizers = &metav1.Time{Time: time.Now()}, []string{"example.org/wait"}
	w.update(svc)
	w.wantClosed(20001)
	younger := w.service("younger", "remote", "lab-2.ns.svc:8888", 20001)
	w.create(younger)
	w.wantService("younger", ServiceState{
		younger.UID, "PortTaken", "Port 20001 belongs to Service leaving, which had it first.",
	})
	w.wantClosed(20001)
	w.delete("leaving")
	w.wantAnswer(20001, "lab-2 of remote")
}

// The port of a Service that is served is not taken by an older one that is given another port.
func TestServedPortIsNotTaken(t *testing.T) {
	w, _ := newRemote(t, nil)
	older := w.service("older", "remote", "lab-1.ns.svc:8888", 20001)
	w.create(older)
	w.create(w.service("younger", "remote", "lab-2.ns.svc:8888", 20002))
	w.wantAnswer(20001, "lab-1 of remote")
	w.wantAnswer(20002, "lab-2 of remote")
	conn := echoing(t, w, 20002)
	older = older.DeepCopy()
	older.Spec.Ports[0].TargetPort.IntVal = 20002
	w.update(older)
	w.wantService("older", ServiceState{
		older.UID, "PortTaken", "Port 20002 belongs to Service younger, which had it first.",
	})
	wantEcho(t, conn)
	w.wantAnswer(20002, "lab-2 of remote")
	w.wantClosed(20001)
}

// What is damaged on its way ends the connection. The library calls that the end of each channel, but no browser may
// take half of an answer for a whole one.
func TestDamagedConnectionBreaksItsStreams(t *testing.T) {
	w, o := newRemote(t, nil)
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-1 of remote")
	for range 20 {
		conn := echoing(t, w, 20001)
		o.relay.damage()
		io.WriteString(conn, "hey")
		wantBroken(t, conn)
		w.wantAnswer(20001, "lab-1 of remote")
	}
}

// Keys are exchanged anew on a connection, by the server's wish, while the data of its system change.
func TestKeysAreExchangedAnew(t *testing.T) {
	host := sshtest.NewKey(t)
	l := listenLocal(t)
	config := &ssh.ServerConfig{
		Config: ssh.Config{RekeyThreshold: 256},
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			return nil, nil
		},
	}
	config.AddHostKey(host)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go sshtest.ServeEcho(conn, config)
		}
	}()
	address := l.Addr().(*net.TCPAddr)
	system := remote.System{
		Host: "127.0.0.1", Port: uint16(address.Port), User: remote.DefaultUser,
		HostKeys: []ssh.PublicKey{host.PublicKey()},
	}
	w := newWorld(t, func(w *world) { w.systems["remote"] = system })
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantState("remote", Connected)
	var conn *net.TCPConn
	eventually(t, func() (err error) {
		conn, err = w.dial(20001)
		return err
	})
	defer conn.Close()
	for range 50 {
		changed := system
		changed.HostKeys = append([]ssh.PublicKey{sshtest.NewKey(t).PublicKey()}, system.HostKeys...)
		w.tunnels.SetSystems(map[string]remote.System{"remote": changed})
		wantEcho(t, conn)
	}
}

// Who opens streams and does not read them loses them when they hold too much; who reads slowly loses nothing.
func TestStreamsThatAreNotReadAreBounded(t *testing.T) {
	const room = 4
	w, _ := newRemote(t, func(w *world) { w.limits.backlog = room * wire.WindowMemory })
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.create(w.service("b", "remote", "lab-2.ns.svc:8888", 20002))
	w.wantAnswer(20001, "lab-1 of remote")
	w.wantAnswer(20002, "lab-2 of remote")
	slow, err := w.dial(20002)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	io.WriteString(slow, "flood\n")
	if _, err := io.ReadFull(slow, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	var idle []net.Conn
	for range 3 * room {
		conn, err := w.dial(20001)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "flood\n")
		idle = append(idle, conn)
	}
	eventually(t, func() error {
		if n := w.counter(`outpost_tunnels_streams_total`, "remote", "stalled"); n < 2*room {
			return fmt.Errorf("%v streams were broken", n)
		}
		return nil
	})
	for range 8 { // more than any buffer on the way
		if _, err := io.ReadFull(slow, make([]byte, 4<<20)); err != nil {
			t.Fatalf("the stream that is read: %v", err)
		}
	}
	broken := make(chan error, len(idle))
	for _, conn := range idle {
		go func() {
			_, err := io.Copy(io.Discard, conn) // of one that is not broken, until it is closed
			broken <- err
		}()
	}
	for range 2 * room {
		if err := <-broken; err == nil || isTimeout(err) {
			t.Errorf("a stream that was not read ends by %v", err)
		}
	}
}

// A port that cannot be listened on fills no log.
func TestPortThatIsInUseIsSaidOnce(t *testing.T) {
	var mu sync.Mutex
	tried := 0
	w, _ := newRemote(t, func(w *world) {
		listen := w.opts.Listen
		w.opts.Listen = func(ctx context.Context, port uint16) (net.Listener, error) {
			mu.Lock()
			defer mu.Unlock()
			if tried++; tried <= 5 {
				return nil, errors.New("address already in use")
			}
			return listen(ctx, port)
		}
	})
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-1 of remote")
	if n := strings.Count(w.log.String(), "port cannot be listened on"); n != 1 {
		t.Errorf("it is said %d times:\n%s", n, w.log)
	}
}
