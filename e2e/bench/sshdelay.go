package main

import (
	"context"
	"fmt"
	"net"
	"time"
)

// sshDelay moves bytes over a link with a round trip of 10, 50 and 100 ms. One channel can have 2 MiB on the way, so
// one stream gets at most 2 MiB for each round trip, from either server; the rows of the limit say so.
func sshDelay(ctx context.Context, r *run, b *sshBench) error {
	const window = 2 << 20
	for _, rtt := range []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond} {
		amount := int64(pick(r, 30, 15)) * window
		for _, streams := range []int{1, 8} {
			for _, way := range []struct {
				name string
				ask  byte
			}{{"down", askDown}, {"up", askUp}} {
				name := fmt.Sprintf("ssh/delay/%s/%s/%d", rtt, way.name, streams)
				for range pick(r, 2, 1) {
					for _, p := range b.servers {
						took, err := b.delayed(ctx, p, rtt, way.ask, streams, amount*int64(min(streams, 4)))
						if err != nil {
							return fmt.Errorf("%s, %s: %w", p.name, name, err)
						}
						r.add(name, p.name, "MB/s", "more", float64(amount*int64(min(streams, 4)))/1e6/took.Seconds())
					}
				}
				r.add(name, "window limit", "MB/s", "more", float64(streams)*window/1e6/rtt.Seconds())
			}
		}
	}
	return nil
}

func (b *sshBench) delayed(
	ctx context.Context, p *sshServer, rtt time.Duration, ask byte, streams int, amount int64,
) (time.Duration, error) {
	link, err := newRelay(p.addr, rtt/2)
	if err != nil {
		return 0, err
	}
	defer link.Close()
	defer context.AfterFunc(ctx, func() { _ = link.Close() })() // it ends the transfer
	client, local, err := b.tunnel(p, link.Addr().String(), "aes128-gcm@openssh.com")
	if err != nil {
		return 0, err
	}
	defer client.Stop()
	return transfer(local, ask, streams, amount)
}

// newRelay listens on loopback and passes connections on to addr, each byte later by delay, either way. It is a
// link with high bandwidth and delay: not every kernel has netem.
func newRelay(addr string, delay time.Duration) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", addr)
			if err != nil {
				_ = near.Close() // the client sees it
				continue
			}
			go later(far, near, delay)
			go later(near, far, delay)
		}
	}()
	return l, nil
}

// piece is a part of a stream on its way.
type piece struct {
	data []byte
	due  time.Time
}

// later copies with a delay. What is on the way is bounded by what SSH's windows let through.
func later(dst, src net.Conn, delay time.Duration) {
	way := make(chan piece, 1<<16)
	go func() {
		defer close(way)
		for {
			buf := make([]byte, 64<<10)
			n, err := src.Read(buf)
			if n > 0 {
				way <- piece{buf[:n], time.Now().Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range way {
		time.Sleep(time.Until(p.due))
		if _, err := dst.Write(p.data); err != nil {
			_ = src.Close() // ends the reader
			for range way { //nolint:revive // drained so that the reader ends
			}
			return
		}
	}
	if cw, ok := dst.(interface{ CloseWrite() error }); ok {
		_ = cw.CloseWrite() // it may be closed
	}
}
