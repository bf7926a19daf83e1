package sshd

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
)

// A stop lets what is under way finish, and starts nothing new (protocol 5.5).
func TestStopDrains(t *testing.T) {
	w := newWorld(t, func(w *world) { w.limits.drainTimeout = time.Hour })
	idle, busy := w.mustClient(), w.mustClient()
	conn := w.openService(busy)
	stopped := make(chan struct{})
	go func() {
		w.stop()
		close(stopped)
	}()
	if err := idle.Wait(); err == nil { // closed at once
		t.Error("the idle connection ended well")
	}
	stopping := ssh.OpenChannelError{Reason: ssh.ResourceShortage, Message: "the server is stopping"}
	if diff := cmp.Diff(stopping, refusal(busy, "direct-tcpip", directTCPIP(serviceHost, servicePort))); diff != "" {
		t.Errorf("new channel (-want +got):\n%s", diff)
	}
	if _, err := net.Dial("tcp", w.addr); err == nil {
		t.Error("a new connection was accepted")
	}
	if w.server.Ready() == nil {
		t.Error("Ready while stopping")
	}
	sent := random(1 << 20)
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.(closeWriter).CloseWrite()
	}()
	if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("the open channel: got %d bytes, %v", len(got), err)
	}
	<-stopped // the last channel has ended
}

// What does not end by itself is closed when the time is over.
func TestStopIsBounded(t *testing.T) {
	w := newWorld(t, func(w *world) { w.limits.drainTimeout = 50 * time.Millisecond })
	conn := w.openService(w.mustClient())
	silent, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	w.stop()
	if _, err := io.ReadAll(conn); err != nil {
		t.Logf("the channel ended by %v", err)
	}
	w.logged(endStopping)
}

func TestReady(t *testing.T) {
	w := newWorld(t, nil)
	w.mustClient()
	if err := w.server.Ready(); err != nil {
		t.Error(err)
	}
	w.stop()
	if w.server.Ready() == nil {
		t.Error("Ready after the end")
	}
	if err := w.server.Serve(context.Background(), nil); err == nil {
		t.Error("Serve works twice")
	}
}

func TestServeFailsWithItsListener(t *testing.T) {
	w := newWorld(t, nil)
	server, err := New(w.opts)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := server.Serve(t.Context(), l); err == nil {
		t.Error("no error from a closed listener")
	}
}
