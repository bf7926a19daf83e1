package tunnels

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/sshtest"
	"github.com/outposts-dev/outposts/server/tunnels/remote"
)

// dialling is a world with a system "inner" that dials out and runs lab-1.
func dialling(t *testing.T, change func(*world)) (*world, *outpost) {
	var o *outpost
	w := newWorld(t, func(w *world) {
		o = w.outpost("inner")
		o.allow("lab-1.ns.svc:8888")
		w.systems["inner"] = o.dialsOut()
		if change != nil {
			change(w)
		}
	})
	eventually(t, func() error { // until then nobody is let in
		if !w.tunnels.DialsOut("inner") {
			return errors.New("the tunnels do not know the system")
		}
		return nil
	})
	return w, o
}

// dialsOut is what the file says about an outpost that dials out.
func (o *outpost) dialsOut() remote.System {
	s := o.system()
	return remote.System{DialsOut: true, User: s.User, HostKeys: s.HostKeys}
}

// join connects an outpost to the tunnels, over the relay, and returns what Join will return.
func (w *world) join(o *outpost, process string) <-chan State {
	w.t.Helper()
	conn, err := net.Dial("tcp", o.address.String())
	if err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan State, 1)
	go func() {
		ended <- w.tunnels.Join(context.Background(), "inner", process, conn, func() bool { return true })
	}()
	return ended
}

func (w *world) wantSystem(name string, state State, message string) {
	w.t.Helper()
	eventually(w.t, func() error {
		got, _ := w.tunnels.System(name)
		if got != (SystemState{State: state, Message: message}) {
			return fmt.Errorf("%s is %+v, want %s, %q", name, got, state, message)
		}
		return nil
	})
}

func TestOutpostThatDialsOut(t *testing.T) {
	w, o := dialling(t, nil)
	w.create(w.service("a", "inner", "lab-1.ns.svc:8888", 20001))
	w.wantSystem("inner", Waiting, "Waiting for the outpost.")
	ended := w.join(o, "one")
	w.wantAnswer(20001, "lab-1 of inner")
	w.wantSystem("inner", Connected, "")
	before := time.Now().UTC()
	o.relay.cut()
	if got := <-ended; got != Lost {
		t.Errorf("Join returned %s, want %s", got, Lost)
	}
	var got SystemState
	eventually(t, func() error {
		if got, _ = w.tunnels.System("inner"); got.LastSeen == nil {
			return fmt.Errorf("inner is %+v", got)
		}
		return nil
	})
	if late := got.LastSeen.Sub(before.Truncate(time.Second)); late < 0 || late > time.Minute {
		t.Errorf("last seen %v, want about %v", got.LastSeen, before)
	}
	want := "Waiting for the outpost, last seen " + got.LastSeen.Format("15:04") + " UTC."
	if got.State != Waiting || got.Message != want {
		t.Errorf("got %+v, want %q", got, want)
	}
	w.join(o, "one")
	w.wantAnswer(20001, "lab-1 of inner")
	if made := o.relay.connections(); made != 2 {
		t.Errorf("%d connections were made, want the two of the outpost", made)
	}
}

// A new stream waits for the outpost as it does for a connection that is made.
func TestNewStreamWaitsForTheOutpost(t *testing.T) {
	w, o := dialling(t, nil)
	w.create(w.service("a", "inner", "lab-1.ns.svc:8888", 20001))
	var conn *net.TCPConn
	eventually(t, func() (err error) {
		conn, err = w.dial(20001)
		return err
	})
	defer conn.Close()
	io.WriteString(conn, "echo\n")
	w.join(o, "one")
	wantEcho(t, conn)
}

// Anybody may dial in by the name of a system. Without its host key nothing is sent, and nothing is said about it.
func TestStrangerWhoDialsIn(t *testing.T) {
	var stranger *outpost
	w, o := dialling(t, func(w *world) { stranger = w.outpost("stranger") })
	if got := <-w.join(stranger, "one"); got != WrongHostKey {
		t.Errorf("Join returned %s, want %s", got, WrongHostKey)
	}
	w.wantSystem("inner", Waiting, "Waiting for the outpost.")
	w.join(o, "one")
	w.wantState("inner", Connected)
	if got := <-w.join(stranger, "one"); got != WrongHostKey {
		t.Errorf("Join returned %s, want %s", got, WrongHostKey)
	}
	w.wantState("inner", Connected)
}

func TestNobodyJoinsAnotherSystem(t *testing.T) {
	w, _ := newRemote(t, nil)
	for _, system := range []string{"remote", "none"} {
		near, far := net.Pipe()
		defer far.Close()
		got := w.tunnels.Join(t.Context(), system, "one", near, func() bool { return true })
		if got != Unreachable {
			t.Errorf("%s: Join returned %s, want %s", system, got, Unreachable)
		}
		if _, err := far.Write([]byte("x")); err == nil {
			t.Errorf("%s: the connection is open", system)
		}
	}
}

// Until a host key is proved, few bytes are read.
func TestStrangerWhoSendsMuch(t *testing.T) {
	w, _ := dialling(t, nil)
	near, far := net.Pipe()
	var sent atomic.Int64
	go io.Copy(io.Discard, far)
	go func() {
		for line := []byte("this is not SSH, but may come before it\r\n"); ; {
			n, err := far.Write(line)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	got := w.tunnels.Join(t.Context(), "inner", "one", near, func() bool { return true })
	if got != Unreachable || sent.Load() > 128<<10 {
		t.Errorf("Join returned %s after %d bytes", got, sent.Load())
	}
}

func TestRefusedKeyOfAnOutpostThatDialsOut(t *testing.T) {
	w, o := dialling(t, func(w *world) { w.key = sshtest.NewKey(w.t) })
	if got := <-w.join(o, "one"); got != RefusedKey {
		t.Errorf("Join returned %s, want %s", got, RefusedKey)
	}
	w.wantState("inner", RefusedKey)
}

// One connection too many is ended once its host key is proved.
func TestConnectionTooMany(t *testing.T) {
	w, o := dialling(t, nil)
	conn, err := net.Dial("tcp", o.address.String())
	if err != nil {
		t.Fatal(err)
	}
	if got := w.tunnels.Join(t.Context(), "inner", "one", conn, func() bool { return false }); got != Unreachable {
		t.Errorf("Join returned %s, want %s", got, Unreachable)
	}
	w.wantState("inner", Waiting)
}

// A connection takes the place of one of the same process, which its streams keep until they end.
func TestProcessThatConnectsAgain(t *testing.T) {
	w, o := dialling(t, nil)
	w.create(w.service("a", "inner", "lab-1.ns.svc:8888", 20001))
	first := w.join(o, "one")
	w.wantAnswer(20001, "lab-1 of inner")
	old := echoing(t, w, 20001)
	w.join(o, "one")
	w.wantJoined("inner", 2)
	wantEcho(t, old)
	select {
	case got := <-first:
		t.Fatalf("the connection ends, %s, while it has a stream", got)
	default:
	}
	old.Close()
	<-first
	w.wantAnswer(20001, "lab-1 of inner")
}

// wantJoined waits until a system has so many connections that it has made.
func (w *world) wantJoined(system string, want int) {
	w.t.Helper()
	l := w.tunnels.shown()[system]
	eventually(w.t, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if n := len(l.joined); n != want {
			return fmt.Errorf("%s has %d connections, want %d", system, n, want)
		}
		return nil
	})
}

// Two processes of one outpost are connected beside each other. When one ends, the other one has the new streams.
func TestTwoProcessesOfOneOutpost(t *testing.T) {
	w, o := dialling(t, nil)
	w.create(w.service("a", "inner", "lab-1.ns.svc:8888", 20001))
	w.join(o, "one")
	w.wantAnswer(20001, "lab-1 of inner")
	streams := echoing(t, w, 20001)
	other := newRelay(t, o.relay.to)
	t.Cleanup(other.cut)
	via := &outpost{address: other.address()}
	ended := w.join(via, "two")
	w.wantJoined("inner", 2)
	newest := echoing(t, w, 20001)
	other.cut()
	<-ended
	wantBroken(t, newest)
	wantEcho(t, streams)
	w.wantAnswer(20001, "lab-1 of inner")
	w.wantState("inner", Connected)
}

// The file may say another way to a system, and that a key is not trusted any more.
func TestSystemThatIsReachedInAnotherWay(t *testing.T) {
	w, o := dialling(t, nil)
	w.create(w.service("a", "inner", "lab-1.ns.svc:8888", 20001))
	ended := w.join(o, "one")
	w.wantAnswer(20001, "lab-1 of inner")
	conn := echoing(t, w, 20001)
	w.tunnels.SetSystems(map[string]remote.System{"inner": o.system()})
	<-ended
	wantBroken(t, conn)
	w.wantAnswer(20001, "lab-1 of inner")
	w.tunnels.SetSystems(map[string]remote.System{"inner": o.dialsOut()})
	w.wantState("inner", Waiting)
	ended = w.join(o, "one")
	w.wantAnswer(20001, "lab-1 of inner")
	s := o.dialsOut()
	s.HostKeys = []ssh.PublicKey{sshtest.NewKey(t).PublicKey()}
	w.tunnels.SetSystems(map[string]remote.System{"inner": s})
	<-ended
	w.wantState("inner", Waiting)
	if got := <-w.join(o, "one"); got != WrongHostKey {
		t.Errorf("Join returned %s, want %s", got, WrongHostKey)
	}
}

// A line that drops all packets is noticed though the other side opened it.
func TestSilentOutpostIsNoticed(t *testing.T) {
	w, o := dialling(t, func(w *world) { w.limits.silence = 2 * time.Second })
	ended := w.join(o, "one")
	eventually(t, func() error { // on a busy machine it may be taken for silent already
		if !strings.Contains(w.log.String(), "the system has connected") {
			return errors.New("the system has not connected")
		}
		return nil
	})
	o.relay.freeze(true)
	if got := <-ended; got != Lost {
		t.Errorf("Join returned %s, want %s", got, Lost)
	}
	w.wantState("inner", Waiting)
}

func TestDialReachesATarget(t *testing.T) {
	w, o := dialling(t, nil)
	w.join(o, "one")
	w.wantState("inner", Connected)
	conn, err := w.tunnels.Dial(t.Context(), "inner", Target{"lab-1.ns.svc", 8888})
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "echo\n")
	wantEcho(t, conn)
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if _, err := w.tunnels.Dial(t.Context(), "none", Target{"lab-1.ns.svc", 8888}); err == nil {
		t.Error("a system that is not there is reached")
	}
}
