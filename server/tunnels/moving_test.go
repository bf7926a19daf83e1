package tunnels

import (
	"io"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A system counts as moving while much goes to or from its servers, and no longer; one of little never does.
func TestMovingSystemsAreCounted(t *testing.T) {
	var mu sync.Mutex
	var told []int
	check := func(what string, want ...int) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		told = nil
	}
	w, _ := newRemote(t, func(w *world) {
		w.limits.look = time.Hour // the test looks
		w.opts.Moving = func(systems int) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, systems)
		}
	})
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
	check("a little")
	move(128)
	check("much", 1)
	w.tunnels.movers.Look()
	check("a look after much")
	w.tunnels.movers.Look()
	check("silence", 0)
	move(128)
	check("much again", 1)
	w.stop()
	check("the end", 0)
}
