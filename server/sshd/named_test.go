package sshd

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
)

// naming is a world with the named target api.example.invalid:80, which is an echo.
func naming(t *testing.T, change func(*world)) (w *world, asked *atomic.Int64) {
	asked = &atomic.Int64{}
	return newWorld(t, func(w *world) {
		w.opts.Named = map[string]func(context.Context, netip.Addr) (net.Conn, error){
			"api.example.invalid:80": func(_ context.Context, client netip.Addr) (net.Conn, error) {
				if !client.IsLoopback() {
					return nil, errors.New("another client")
				}
				asked.Add(1)
				near, far := net.Pipe()
				go func() {
					_, _ = io.Copy(far, far)
					far.Close()
				}()
				return near, nil
			},
		}
		if change != nil {
			change(w)
		}
	}), asked
}

// A named target is opened by its whole name alone (protocol 5.4).
func TestNamedTargets(t *testing.T) {
	w, asked := naming(t, nil)
	c := w.mustClient()
	conn, err := c.Dial("tcp", "api.example.invalid:80")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sent := random(1 << 20)
	go conn.Write(sent)
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != string(sent) {
		t.Errorf("the echo fails: %v", err)
	}
	for _, address := range []string{
		"api.example.invalid:81", "api.example.invalid:8080", "API.example.invalid:80", "x.api.example.invalid:80",
		"api.example.invalid.:80", "127.0.0.1:80",
	} {
		var refused *ssh.OpenChannelError
		if _, err := c.Dial("tcp", address); !errors.As(err, &refused) || refused.Reason != ssh.Prohibited {
			t.Errorf("%s: %v, want %v", address, err, ssh.Prohibited)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the function was called %d times", n)
	}
}

// A key that permits other targets only opens no named one.
func TestNamedTargetIsForKeysThatPermitIt(t *testing.T) {
	for options, want := range map[string]bool{
		`permitopen="api.example.invalid:80"`: true, `permitopen="lab.outpost.svc:8888"`: false,
	} {
		w, asked := naming(t, func(w *world) {
			w.writeKeys(hubName, authorizedLine(options, w.hubKey))
		})
		conn, err := w.mustClient().Dial("tcp", "api.example.invalid:80")
		if got := err == nil; got != want || asked.Load() == 1 != want {
			t.Errorf("%s: opened %v, want %v: %v", options, got, want, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

// Connections of several listeners are served, and all of the listeners end together.
func TestSeveralListeners(t *testing.T) {
	w := newWorld(t, nil)
	s, err := newServer(w.opts, w.limits)
	if err != nil {
		t.Fatal(err)
	}
	var ls []net.Listener
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ls = append(ls, l)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ls...) }()
	for _, l := range ls {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		line := make([]byte, len(identification))
		if _, err := io.ReadFull(conn, line); err != nil || string(line) != identification {
			t.Errorf("%s says %q, %v", l.Addr(), line, err)
		}
		conn.Close()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, l := range ls {
		if conn, err := net.Dial("tcp", l.Addr().String()); err == nil {
			conn.Close()
			t.Errorf("%s is open", l.Addr())
		}
	}
}
