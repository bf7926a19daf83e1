//go:build e2e

package sshd

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// 5 GiB go through one channel each way, and none is lost.
func TestE2EFiveGiBEachWay(t *testing.T) {
	const size = 5 << 30
	w, open := serviceWorld(t, func(c *net.TCPConn) {
		n, _ := io.Copy(io.Discard, c)
		fmt.Fprintf(c, "%020d", n)
		_, _ = io.CopyN(c, neverEnding{}, size)
	})
	conn := open(w.mustClient())
	if n, err := io.CopyN(conn, neverEnding{}, size); err != nil {
		t.Fatalf("up: %d bytes, %v", n, err)
	}
	if err := conn.(closeWriter).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 20)
	if _, err := io.ReadFull(conn, head); err != nil {
		t.Fatal(err)
	}
	down, err := io.Copy(io.Discard, conn)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%s up, %d down", head, down)
	if want := fmt.Sprintf("%020d up, %d down", size, size); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	w.seen.wait("channels", 0)
}

// 100,000 rejected channels of either kind, 10,000 open and close cycles, and 200 cut connections leave nothing behind.
func TestE2EChurnLeavesNothingBehind(t *testing.T) { churnLeavesNothingBehind(t, 1) }

// A login by OpenSSH is within the limit of the hub's client: the fastest of ten, as others use the processors too.
func TestE2EOpenSSHLogin(t *testing.T) {
	o := opensshWorld(t, nil)
	fastest := time.Hour
	for range 10 {
		begin := time.Now()
		o.must(loginLimit)
		fastest = min(fastest, time.Since(begin))
		o.must(3*time.Second, "-O", "exit")
	}
	t.Logf("the fastest took %v", fastest)
	if fastest > loginLimit {
		t.Errorf("the fastest login took %v, want %v at most", fastest, loginLimit)
	}
}
