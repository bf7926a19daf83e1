package sshd

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/nettest"
	"github.com/outposts-dev/outposts/server/sshd/wire"
)

// takesNothing makes the service one that does not read.
func takesNothing(w *world) {
	w.opts.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
		near, _ := nettest.Pipe()
		return near, nil
	}
}

// What ends has its time to end in, and no more.
func TestEndsAreBounded(t *testing.T) {
	silent := func(x *timed) {
		conn := x.dial()
		x.t.Cleanup(func() { conn.Close() })
		synctest.Wait()
	}
	for name, tc := range map[string]struct {
		change func(*world)
		end    func(x *timed, c *ssh.Client, channel net.Conn)
		want   time.Duration
	}{
		"a stop while a channel is open": {nil, func(x *timed, _ *ssh.Client, _ net.Conn) {
			silent(x)
			x.stop()
		}, 20 * time.Second},
		"a stop without channels": {nil, func(x *timed, _ *ssh.Client, channel net.Conn) {
			silent(x)
			channel.Close()
			x.w.seen.wait("channels", 0)
			synctest.Wait() // its place is given back right after
			x.stop()
		}, 0},
		"a channel whose target does not read": {takesNothing, func(x *timed, _ *ssh.Client, channel net.Conn) {
			channel.Close()
			x.w.seen.wait("channels", 0)
		}, 30 * time.Second},
		"a connection whose target does not read": {takesNothing, func(x *timed, c *ssh.Client, _ net.Conn) {
			c.Close()
			x.w.seen.wait("connections", 0)
		}, wire.CloseGrace},
	} {
		inTime(t, tc.change, func(x *timed) {
			c, _ := x.connect()
			defer c.Close()
			channel := x.w.openService(c)
			if tc.change != nil {
				go func() { _, _ = channel.Write(make([]byte, 8<<20)) }() // more than is held on the way
			}
			synctest.Wait()
			begin := time.Now()
			tc.end(x, c, channel)
			if took := time.Since(begin); took != tc.want {
				t.Errorf("%s took %v, want %v", name, took, tc.want)
			}
		})
	}
}
