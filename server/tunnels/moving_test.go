package tunnels

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
)

// A system counts as moving while much goes to or from its servers, and no longer; one of little never does.
func TestMovingSystemsAreCounted(t *testing.T) {
	var mu sync.Mutex
	var told []int
	w, _ := newRemote(t, func(w *world) {
		w.opts.Moving = func(systems int) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, systems)
		}
	})
	want := func(all ...int) {
		t.Helper()
		eventually(t, func() error {
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(told, all) {
				return fmt.Errorf("told %v, want %v", told, all)
			}
			return nil
		})
	}
	w.create(w.service("a", "remote", "lab-1.ns.svc:8888", 20001))
	w.wantAnswer(20001, "lab-1 of remote")
	conn, err := w.dial(20001)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	block := make([]byte, 256<<10)
	move := func(blocks int) {
		t.Helper()
		sent := make(chan error, 1)
		go func() {
			var err error
			for range blocks {
				if _, err = conn.Write(block); err != nil {
					break
				}
			}
			sent <- err
		}()
		if _, err := io.CopyN(io.Discard, conn, int64(blocks*len(block))); err != nil {
			t.Fatal(err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(conn, "echo\n"); err != nil {
		t.Fatal(err)
	}
	move(1)
	want()
	move(128)
	want(1, 0)
	move(128)
	w.stop()
	want(1, 0, 1, 0)
}
