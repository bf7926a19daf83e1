package sshd

import (
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// settled waits until the number of goroutines is at most the limit; something is lost if it never is.
func settled(t *testing.T, limit int) {
	t.Helper()
	for begin := time.Now(); runtime.NumGoroutine() > limit; time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			buf := make([]byte, 1<<20)
			buf = buf[:runtime.Stack(buf, true)]
			t.Fatalf("%d goroutines, want at most %d:\n%s", runtime.NumGoroutine(), limit, buf)
		}
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // pools are emptied in two steps
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// churn calls one in several goroutines until it was called n times.
func churn(n int, one func() error) error {
	work := make(chan struct{}, n)
	for range n {
		work <- struct{}{}
	}
	close(work)
	errs := make(chan error, 32)
	for range cap(errs) {
		go func() {
			for range work {
				if err := one(); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var all []error
	for range cap(errs) {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// A twentieth of what TestE2EChurnLeavesNothingBehind does in full.
func TestChurnLeavesNothingBehind(t *testing.T) { churnLeavesNothingBehind(t, 20) }

// churnLeavesNothingBehind opens and closes, is refused, and is cut off, many times over share, and checks that heap
// and goroutines stay flat.
func churnLeavesNothingBehind(t *testing.T, share int) {
	const slack = 4 << 20
	for _, tt := range []struct {
		name string
		n    int
		one  func(w *world, c *ssh.Client) error
	}{
		{"100,000 channels of other types", 100_000, func(_ *world, c *ssh.Client) error {
			if got := refusal(c, "session", nil); got.Reason != ssh.UnknownChannelType {
				return &got
			}
			return nil
		}},
		{"100,000 rejected targets", 100_000, func(_ *world, c *ssh.Client) error {
			if got := refusal(c, "direct-tcpip", directTCPIP("10.0.0.1", 80)); got != notPermitted {
				return &got
			}
			return nil
		}},
		{"10,000 open and close", 10_000, func(_ *world, c *ssh.Client) error {
			conn, err := c.Dial("tcp", join(serviceHost, servicePort))
			if err != nil {
				return err
			}
			if _, err := conn.Write([]byte{1}); err != nil {
				return err
			}
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				return err
			}
			return conn.Close()
		}},
		{"200 connections cut off", 200, func(w *world, _ *ssh.Client) error {
			raw, err := net.Dial("tcp", w.addr)
			if err != nil {
				return err
			}
			sc, chans, reqs, err := ssh.NewClientConn(raw, w.addr, w.login(w.hubKey))
			if err != nil {
				return err
			}
			c := ssh.NewClient(sc, chans, reqs)
			conn, err := c.Dial("tcp", join(serviceHost, servicePort))
			if err != nil {
				return err
			}
			if _, err := conn.Write(make([]byte, 100_000)); err != nil {
				return err
			}
			_ = raw.(*net.TCPConn).SetLinger(0) // in the midst of it
			return raw.Close()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.n /= share
			w := newWorld(t, func(w *world) { w.opts.Logger = nil })
			c := w.mustClient()
			if err := churn(100, func() error { return tt.one(w, c) }); err != nil { // warm
				t.Fatal(err)
			}
			w.seen.wait("channels", 0)
			w.seen.wait("connections", 1)
			settled(t, runtime.NumGoroutine())
			goroutines, before := runtime.NumGoroutine(), heap()
			if err := churn(tt.n, func() error { return tt.one(w, c) }); err != nil {
				t.Fatal(err)
			}
			w.seen.wait("channels", 0)
			w.seen.wait("connections", 1)
			settled(t, goroutines+5) // what accepts for the service may be on its way
			if after := heap(); after > before+slack {
				t.Errorf("the heap grew from %d to %d bytes", before, after)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
