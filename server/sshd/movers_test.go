package sshd

import (
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/sshd/wire"
)

// A connection counts as moving while it moves much, and no longer; one that moves little never does.
func TestMovingConnectionsAreCounted(t *testing.T) {
	var mu sync.Mutex
	var told []int
	tell := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, n)
	}
	check := func(what string, want ...int) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		told = nil
	}
	inTime(t, func(w *world) { w.opts.Moving = tell }, func(x *timed) {
		open := func() (*ssh.Client, net.Conn) {
			c, _ := x.connect()
			conn, err := c.Dial("tcp", join(serviceHost, servicePort))
			if err != nil {
				t.Fatal(err)
			}
			return c, conn
		}
		move := func(conn net.Conn, size int64) {
			go func() { _, _ = io.CopyN(conn, neverEnding{}, size) }()
			if _, err := io.CopyN(io.Discard, conn, size); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		one, busy := open()
		other, calm := open()
		x.echoes(calm)
		move(calm, 100_000)
		check("a little")
		move(busy, 16<<20)
		move(calm, 16<<20)
		check("much on two connections", 1, 2)
		time.Sleep(3 * wire.MoverLook)
		check("silence", 0)
		move(busy, 16<<20)
		check("much again", 1)
		one.Close()
		one.Wait()
		time.Sleep(3 * wire.MoverLook)
		check("the end of the connection", 0)
		move(calm, 16<<20)
		check("much to the end", 1)
		other.Close()
		other.Wait()
	})
	check("the end of the server", 0)
}
