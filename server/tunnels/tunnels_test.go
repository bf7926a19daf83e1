package tunnels

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/server/sshtest"
	"github.com/outposts-dev/outposts/server/tunnels/remote"
)

// newRemote is a world with a system "remote" that runs lab-1 and lab-2.
func newRemote(t testing.TB, change func(*world)) (*world, *outpost) {
	var o *outpost
	w := newWorld(t, func(w *world) {
		o = w.outpost("remote")
		o.allow("lab-1.ns.svc:8888")
		o.allow("lab-2.ns.svc:8888")
		if change != nil {
			change(w)
		}
	})
	return w, o
}

func TestServiceLeadsToItsServer(t *testing.T) {
	w, _ := newRemote(t, nil)
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.create(w.service("b", "remote", "lab-2.ns.svc:8888", 20002))
	w.wantAnswer(20001, "lab-1 of remote")
	w.wantAnswer(20002, "lab-2 of remote")
	w.wantState("remote", Connected)
	if err := w.tunnels.Ready(); err != nil {
		t.Error(err)
	}
}

// Both ends send much at once, and each sees the other's end alone.
func TestStreamCarriesBothWays(t *testing.T) {
	w, _ := newRemote(t, nil)
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-1 of remote")
	conn, err := w.dial(20001)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sent := make([]byte, 8<<20)
	for i := range sent {
		sent[i] = byte(rand.Uint32())
	}
	go func() {
		io.WriteString(conn, "echo\n")
		conn.Write(sent)
		conn.CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back of %d, error %v", len(got), len(sent), err)
	}
}

// echoing is a stream that is under way.
func echoing(t *testing.T, w *world, port uint16) *net.TCPConn {
	t.Helper()
	conn, err := w.dial(port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	io.WriteString(conn, "echo\n")
	wantEcho(t, conn)
	return conn
}

func wantEcho(t *testing.T, conn net.Conn) {
	t.Helper()
	got := make([]byte, 3)
	io.WriteString(conn, "hey")
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hey" {
		t.Fatalf("echo: %q, %v", got, err)
	}
}

// wantBroken wants a failure, not an end that could be taken for the end of an answer.
func wantBroken(t *testing.T, conn net.Conn) {
	t.Helper()
	var netErr net.Error
	n, err := conn.Read(make([]byte, 1))
	if err == nil || errors.Is(err, io.EOF) || errors.As(err, &netErr) && netErr.Timeout() {
		t.Errorf("the stream goes on: %d bytes, error %v", n, err)
	}
}

func TestDeletedServiceEndsListenerAndStreams(t *testing.T) {
	w, _ := newRemote(t, nil)
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.create(w.service("b", "remote", "lab-2.ns.svc:8888", 20002))
	w.wantAnswer(20001, "lab-1 of remote")
	w.wantAnswer(20002, "lab-2 of remote")
	conn, other := echoing(t, w, 20001), echoing(t, w, 20002)
	w.delete("a")
	wantBroken(t, conn)
	w.wantClosed(20001)
	wantEcho(t, other)
}

func TestChangedTargetLeadsToTheNewOne(t *testing.T) {
	w, _ := newRemote(t, nil)
	svc := w.service("a", "remote", "lab-1.ns.svc:8888", 20001)
	w.create(svc)
	w.wantAnswer(20001, "lab-1 of remote")
	conn := echoing(t, w, 20001)
	svc = svc.DeepCopy()
	svc.Annotations[targetAnnotation] = "lab-2.ns.svc:8888"
	w.update(svc)
	wantBroken(t, conn)
	w.wantAnswer(20001, "lab-2 of remote")
}

// A port is not given to another Service before all nodes know that the first one is gone.
func TestPortRestsBeforeAnotherServiceGetsIt(t *testing.T) {
	w, _ := newRemote(t, func(w *world) { w.limits.rest = time.Hour })
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-1 of remote")
	w.delete("a")
	b := w.service("b", "remote", "lab-2.ns.svc:8888", 20001)
	w.create(b)
	w.wantService("b", ServiceState{UID: b.UID, State: "Waiting"})
	w.wantClosed(20001)
}

func TestPortIsGivenToAnotherServiceAfterItsRest(t *testing.T) {
	w, _ := newRemote(t, func(w *world) { w.limits.rest = 50 * time.Millisecond })
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-1 of remote")
	w.delete("a")
	w.create(w.service("b", "remote", "lab-2.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-2 of remote")
}

func TestYoungerClaimIsToldToChooseAgain(t *testing.T) {
	w, _ := newRemote(t, nil)
	older := w.service("older", "remote", "lab-1.ns.svc:8888", 20001)
	w.create(older)
	w.wantAnswer(20001, "lab-1 of remote")
	younger := w.service("younger", "remote", "lab-2.ns.svc:8888", 20001)
	w.create(younger)
	var got []corev1.Event
	eventually(t, func() error {
		list, err := w.client.CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(list.Items) == 0 {
			return errors.New("no event")
		}
		got = list.Items
		return nil
	})
	want := []string{"Service younger PortTaken: Port 20001 belongs to Service older, which had it first."}
	var events []string
	for _, e := range got {
		of := e.InvolvedObject
		events = append(events, fmt.Sprintf("%s %s %s: %s", of.Kind, of.Name, e.Reason, e.Message))
	}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	w.wantAnswer(20001, "lab-1 of remote")
	w.wantService("older", ServiceState{older.UID, "Served", ""})
	w.wantService("younger", ServiceState{
		younger.UID, "PortTaken", "Port 20001 belongs to Service older, which had it first.",
	})
	younger = younger.DeepCopy()
	younger.Spec.Ports[0].TargetPort.IntVal = 20002
	w.update(younger)
	w.wantAnswer(20002, "lab-2 of remote")
}

func TestStrangersServiceIsNotServed(t *testing.T) {
	w, _ := newRemote(t, nil)
	svc := w.service("a", "remote", "lab-1.ns.svc:8888", 20001)
	svc.Spec.Selector = map[string]string{"app": "mine"}
	w.create(svc)
	w.create(w.service("b", "remote", "lab-2.ns.svc:8888", 20002))
	w.wantAnswer(20002, "lab-2 of remote")
	w.wantClosed(20001)
}

func TestRestartedTunnelsServeAtOnce(t *testing.T) {
	w, _ := newRemote(t, nil)
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-1 of remote")
	w.stop()
	w.wantClosed(20001)
	w.start()
	w.wantAnswer(20001, "lab-1 of remote")
}

// Without an API server what it said last holds, and what it says when it is back.
func TestTunnelsGoOnWithoutAnAPIServer(t *testing.T) {
	w, o := newRemote(t, nil)
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.create(w.service("b", "remote", "lab-2.ns.svc:8888", 20002))
	w.wantAnswer(20001, "lab-1 of remote")
	w.wantAnswer(20002, "lab-2 of remote")
	conn := echoing(t, w, 20001)
	w.goAway()
	wantEcho(t, conn)
	w.wantAnswer(20002, "lab-2 of remote")
	o.relay.cut()
	w.wantAnswer(20001, "lab-1 of remote")
	w.delete("b")
	w.create(w.service("c", "remote", "lab-2.ns.svc:8888", 20003))
	w.comeBack()
	w.wantAnswer(20003, "lab-2 of remote")
	w.wantClosed(20002)
}

// A target that the outpost does not permit, or cannot reach, fails at once: the user's server has ended.
func TestRefusedStreamFails(t *testing.T) {
	w, o := newRemote(t, nil)
	o.allow("lab-3.ns.svc:1")
	w.create(w.service("a", "remote", "lab-9.ns.svc:8888", 20001))
	w.create(w.service("b", "remote", "lab-3.ns.svc:1", 20002))
	w.create(w.service("c", "remote", "lab-1.ns.svc:8888", 20003))
	w.wantAnswer(20003, "lab-1 of remote")
	for _, port := range []uint16{20001, 20002} {
		conn, err := w.dial(port)
		if errors.Is(err, syscall.ECONNRESET) {
			continue // it was broken before it was seen to be made
		}
		if err != nil {
			t.Fatal(err)
		}
		wantBroken(t, conn)
		conn.Close()
	}
}

func TestLostConnectionIsRenewed(t *testing.T) {
	w, o := newRemote(t, nil)
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-1 of remote")
	conn := echoing(t, w, 20001)
	o.relay.cut()
	wantBroken(t, conn)
	if got, err := w.ask(20001); got != "lab-1 of remote" || err != nil { // a new stream waits
		t.Errorf("got %q, %v", got, err)
	}
}

// An outpost that ends while many streams run breaks each of them.
func TestOutpostThatEndsWithManyStreams(t *testing.T) {
	w, o := newRemote(t, nil)
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-1 of remote")
	conns := make([]*net.TCPConn, 200)
	for i := range conns {
		conns[i] = echoing(t, w, 20001)
	}
	o.relay.cut()
	for _, conn := range conns {
		wantBroken(t, conn)
	}
	w.wantAnswer(20001, "lab-1 of remote")
}

func TestNewStreamWaitsForTheConnection(t *testing.T) {
	w, o := newRemote(t, nil)
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-1 of remote")
	o.relay.refuse(true)
	o.relay.cut()
	w.wantState("remote", Unreachable)
	answer := make(chan string, 1)
	go func() {
		got, err := w.ask(20001)
		answer <- fmt.Sprint(got, err)
	}()
	tried := o.relay.connections()
	eventually(t, func() error {
		if o.relay.connections() < tried+3 {
			return errors.New("no attempt to connect")
		}
		return nil
	})
	o.relay.refuse(false)
	if got := <-answer; got != "lab-1 of remote<nil>" {
		t.Errorf("got %s", got)
	}
}

func TestNewStreamDoesNotWaitForEver(t *testing.T) {
	w, o := newRemote(t, func(w *world) { w.limits.wait = 100 * time.Millisecond })
	o.relay.refuse(true)
	o.relay.cut()
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantState("remote", Unreachable)
	var conn *net.TCPConn
	eventually(t, func() (err error) {
		conn, err = w.dial(20001)
		return err
	})
	defer conn.Close()
	wantBroken(t, conn)
}

// Nothing tells that the network drops all packets. It is noticed, and the connection is renewed.
func TestSilentConnectionIsRenewed(t *testing.T) {
	w, o := newRemote(t, func(w *world) { w.limits.silence = 2 * time.Second })
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-1 of remote")
	var conn *net.TCPConn
	eventually(t, func() (err error) { // on a busy machine a connection may be taken for silent before it is
		if conn, err = w.dial(20001); err != nil {
			return err
		}
		t.Cleanup(func() { conn.Close() })
		_, err = askOn(conn)
		return err
	})
	o.relay.freeze(true)
	wantBroken(t, conn)
	o.relay.freeze(false)
	w.wantAnswer(20001, "lab-1 of remote")
}

func TestWrongHostKeyGetsNothing(t *testing.T) {
	w, o := newRemote(t, func(w *world) {
		s := w.systems["remote"]
		s.HostKeys = []ssh.PublicKey{sshtest.NewKey(w.t).PublicKey()}
		w.systems["remote"] = s
		w.limits.wait = 50 * time.Millisecond
	})
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantState("remote", WrongHostKey)
	if got, err := w.ask(20001); err == nil {
		t.Errorf("%q has answered", got)
	}
	w.tunnels.SetSystems(map[string]remote.System{"remote": o.system()})
	w.wantAnswer(20001, "lab-1 of remote")
}

// What a refusal was for may be over by then, and who starts a server is told of it until the next attempt.
func TestRefusalIsNotWaitedForWhenSomethingIsNew(t *testing.T) {
	patient := func(w *world) { w.limits.pause, w.limits.longestPause = time.Hour, time.Hour }
	t.Run("host key", func(t *testing.T) {
		w, o := newRemote(t, func(w *world) {
			patient(w)
			s := w.systems["remote"]
			s.HostKeys = []ssh.PublicKey{sshtest.NewKey(w.t).PublicKey()}
			w.systems["remote"] = s
		})
		w.wantState("remote", WrongHostKey)
		w.tunnels.SetSystems(map[string]remote.System{"remote": o.system()})
		w.wantState("remote", Connected)
	})
	t.Run("key", func(t *testing.T) {
		var right ssh.Signer
		w, _ := newRemote(t, func(w *world) {
			patient(w)
			right, w.key = w.key, sshtest.NewKey(w.t)
		})
		w.wantState("remote", RefusedKey)
		w.tunnels.SetKey(right)
		w.wantState("remote", Connected)
	})
}

func TestRefusedKeyIsSaid(t *testing.T) {
	w, _ := newRemote(t, func(w *world) { w.key = sshtest.NewKey(w.t) })
	w.wantState("remote", RefusedKey)
}

func TestChangedKeyIsUsedForTheNextConnection(t *testing.T) {
	var right ssh.Signer
	w, _ := newRemote(t, func(w *world) { right, w.key = w.key, sshtest.NewKey(w.t) })
	w.wantState("remote", RefusedKey)
	w.tunnels.SetKey(right)
	w.wantState("remote", Connected)
}

func TestUnknownHostIsUnreachable(t *testing.T) {
	w, _ := newRemote(t, func(w *world) {
		s := w.systems["remote"]
		s.Host = "no-such-host.invalid"
		w.systems["remote"] = s
	})
	w.wantState("remote", Unreachable)
}

// A host key that is not trusted any more ends the connection that it has proved.
func TestWithdrawnHostKeyEndsTheConnection(t *testing.T) {
	w, o := newRemote(t, nil)
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-1 of remote")
	conn := echoing(t, w, 20001)
	s := o.system()
	s.HostKeys = append(s.HostKeys, sshtest.NewKey(t).PublicKey())
	w.tunnels.SetSystems(map[string]remote.System{"remote": s})
	wantEcho(t, conn)
	s.HostKeys = s.HostKeys[1:]
	w.tunnels.SetSystems(map[string]remote.System{"remote": s})
	wantBroken(t, conn)
	w.wantState("remote", WrongHostKey)
}

// A system that has moved serves new streams at its new address; those that are open go on.
func TestMovedSystem(t *testing.T) {
	w, o := newRemote(t, nil)
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-1 of remote")
	conn := echoing(t, w, 20001)
	other := newRelay(t, o.relay.to)
	t.Cleanup(other.cut)
	o.address = other.address()
	w.tunnels.SetSystems(map[string]remote.System{"remote": o.system()})
	eventually(t, func() error {
		if other.connections() == 0 {
			return errors.New("no connection to the new address")
		}
		return nil
	})
	w.wantAnswer(20001, "lab-1 of remote")
	wantEcho(t, conn)
}

func TestSystemThatIsGoneIsNotServed(t *testing.T) {
	w, o := newRemote(t, nil)
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-1 of remote")
	conn := echoing(t, w, 20001)
	w.tunnels.SetSystems(map[string]remote.System{})
	wantBroken(t, conn)
	w.wantClosed(20001)
	w.tunnels.SetSystems(map[string]remote.System{"remote": o.system()})
	w.wantAnswer(20001, "lab-1 of remote")
}

// Streams have time to end when the process does, and new ones go to another replica.
func TestStreamsMayEnd(t *testing.T) {
	w, _ := newRemote(t, func(w *world) { w.opts.Drain = time.Hour })
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-1 of remote")
	conn := echoing(t, w, 20001)
	stopped := make(chan struct{})
	go func() {
		w.stop()
		close(stopped)
	}()
	w.wantClosed(20001)
	wantEcho(t, conn)
	conn.Close()
	<-stopped
}

func TestStreamsEndWithTheirTime(t *testing.T) {
	w, _ := newRemote(t, func(w *world) { w.opts.Drain = 50 * time.Millisecond })
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-1 of remote")
	conn := echoing(t, w, 20001)
	w.stop()
	wantBroken(t, conn)
}

// The streams of one tunnel are bounded; those of others are not touched.
func TestStreamsOfOneTunnelAreBounded(t *testing.T) {
	w, _ := newRemote(t, func(w *world) { w.limits.tunnelStreams = 2 })
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.create(w.service("b", "remote", "lab-2.ns.svc:8888", 20002))
	w.wantAnswer(20001, "lab-1 of remote")
	w.wantAnswer(20002, "lab-2 of remote")
	var open []*net.TCPConn
	eventually(t, func() error { // the places of earlier streams are given back
		conn, err := w.dial(20001)
		if err != nil {
			return err
		}
		t.Cleanup(func() { conn.Close() })
		io.WriteString(conn, "echo\nhey")
		if _, err := io.ReadFull(conn, make([]byte, 3)); err != nil {
			return err
		}
		if open = append(open, conn); len(open) < 2 {
			return errors.New("one stream is open")
		}
		return nil
	})
	if third, err := w.dial(20001); err == nil { // else it was refused at once
		defer third.Close()
		wantBroken(t, third)
	}
	wantEcho(t, open[0])
	wantEcho(t, open[1])
	w.wantAnswer(20002, "lab-2 of remote")
}

func TestLogNamesNoSecret(t *testing.T) {
	w, o := newRemote(t, nil)
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-1 of remote")
	o.relay.cut()
	w.wantAnswer(20001, "lab-1 of remote")
	if log := w.log.String(); strings.Contains(log, "who are you") || !strings.Contains(log, "connection lost") {
		t.Errorf("log:\n%s", log)
	}
}
