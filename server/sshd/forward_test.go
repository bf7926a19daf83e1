package sshd

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/sshd/wire"
)

type closeWriter interface{ CloseWrite() error }

// random returns n bytes that are the same for nobody.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// serviceWorld is a world with a second service of the hub.
func serviceWorld(t *testing.T, handle func(*net.TCPConn)) (*world, func(*ssh.Client) net.Conn) {
	const host = "jupyter-dave-1.outpost.svc.cluster.local"
	w := newWorld(t, func(w *world) {
		w.serve(hubName, host, servicePort, netip.MustParseAddr("10.1.2.6"), handle)
	})
	return w, func(c *ssh.Client) net.Conn {
		t.Helper()
		conn, err := c.Dial("tcp", join(host, servicePort))
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
}

func TestForwardEchoes(t *testing.T) {
	w := newWorld(t, nil)
	c := w.mustClient()
	for _, size := range []int{0, 1, upBuffer - 1, upBuffer, upBuffer + 1, wire.BriefSize, wire.BulkSize, 3<<20 + 17} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			conn := w.openService(c)
			sent := random(size)
			go func() {
				_, _ = conn.Write(sent)
				_ = conn.(closeWriter).CloseWrite()
			}()
			if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("got %d bytes, %v; want the %d sent", len(got), err, len(sent))
			}
		})
	}
	w.seen.wait("channels", 0)
}

// A message of any size comes back without the next one being sent: nothing waits for more to gather.
func TestForwardHoldsNothingBack(t *testing.T) {
	w := newWorld(t, nil)
	conn := w.openService(w.mustClient())
	for _, size := range []int{
		1, 100, 2 << 10, upBuffer - 1, upBuffer, upBuffer + 1, 2 * upBuffer, wire.BriefSize, wire.BriefSize + upBuffer,
		wire.BulkSize, 1, wire.BulkSize + wire.BriefSize + upBuffer, 1,
	} {
		sent := random(size)
		go func() { _, _ = conn.Write(sent) }()
		got := make([]byte, size)
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes: %v", size, err)
		}
	}
}

// See protocol 5.5.
func TestHalfCloseByClient(t *testing.T) {
	w, open := serviceWorld(t, func(c *net.TCPConn) {
		b, _ := io.ReadAll(c) // until the client has finished
		fmt.Fprintf(c, "%d bytes", len(b))
	})
	conn := open(w.mustClient())
	if _, err := conn.Write(random(100_000)); err != nil {
		t.Fatal(err)
	}
	if err := conn.(closeWriter).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if diff := cmp.Diff("100000 bytes", string(got)); diff != "" || err != nil {
		t.Errorf("answer (-want +got):\n%s%v", diff, err)
	}
	w.seen.wait("channels", 0)
}

func TestHalfCloseByService(t *testing.T) {
	received := make(chan int, 1)
	w, open := serviceWorld(t, func(c *net.TCPConn) {
		io.WriteString(c, "that is all")
		c.CloseWrite()
		b, _ := io.ReadAll(c)
		received <- len(b)
	})
	conn := open(w.mustClient())
	got, err := io.ReadAll(conn)
	if diff := cmp.Diff("that is all", string(got)); diff != "" || err != nil {
		t.Errorf("answer (-want +got):\n%s%v", diff, err)
	}
	if _, err := conn.Write(random(1 << 20)); err != nil { // still open this way
		t.Fatal(err)
	}
	if err := conn.(closeWriter).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n := <-received; n != 1<<20 {
		t.Errorf("the service received %d bytes after its end", n)
	}
	w.seen.wait("channels", 0)
}

func TestServiceThatResets(t *testing.T) {
	w, open := serviceWorld(t, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 1))
		_ = c.SetLinger(0)
	})
	conn := open(w.mustClient())
	if _, err := conn.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(conn); len(b) > 0 || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	w.seen.wait("channels", 0)
}

// A service may answer and close without reading what is still coming, as HTTP servers do with a body too large.
func TestServiceThatStopsReading(t *testing.T) {
	w, open := serviceWorld(t, func(c *net.TCPConn) {
		io.WriteString(c, "too large")
		c.CloseRead()
		c.CloseWrite()
	})
	conn := open(w.mustClient())
	go func() {
		_, _ = conn.Write(make([]byte, 8<<20))
		_ = conn.Close()
	}()
	got, _ := io.ReadAll(conn)
	if diff := cmp.Diff("too large", string(got)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	w.seen.wait("channels", 0)
}

func TestClientThatCloses(t *testing.T) {
	ended := make(chan error, 1)
	w, open := serviceWorld(t, func(c *net.TCPConn) {
		_, err := io.Copy(c, neverEnding{}) // until nobody takes it
		ended <- err
	})
	conn := open(w.mustClient())
	if _, err := io.ReadFull(conn, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the service could go on writing")
	}
	w.seen.wait("channels", 0)
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }

// What the client sent before it closed arrives, also when the service is slow to take it.
func TestLastBytesArrive(t *testing.T) {
	go1, got := make(chan struct{}), make(chan int, 1)
	w, open := serviceWorld(t, func(c *net.TCPConn) {
		<-go1
		b, _ := io.ReadAll(c)
		got <- len(b)
	})
	conn := open(w.mustClient())
	const size = 1 << 20
	if _, err := conn.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	close(go1)
	if n := <-got; n != size {
		t.Errorf("%d bytes arrived, want %d", n, size)
	}
}

// A client that does not read one channel, and a service that does not read another, stop nobody else.
func TestSlowReadersStallNobodyElse(t *testing.T) {
	block := make(chan struct{})
	w, open := serviceWorld(t, func(c *net.TCPConn) {
		go func() { _, _ = io.Copy(c, neverEnding{}) }() // the client does not read
		<-block                                          // and the service does not read either
	})
	t.Cleanup(func() { close(block) })
	c := w.mustClient()
	for range 5 {
		conn := open(c)
		go func() { _, _ = io.Copy(conn, neverEnding{}) }()
	}
	conn := w.openService(c)
	for range 50 {
		sent := random(200_000)
		go func() { _, _ = conn.Write(sent) }()
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, sent) {
			t.Fatal(err)
		}
	}
}

func TestManyChannelsAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	c := w.mustClient()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			conn, err := c.Dial("tcp", join(serviceHost, servicePort))
			if err != nil {
				t.Error(err)
				return
			}
			sent := random(500_000)
			go func() {
				_, _ = conn.Write(sent)
				_ = conn.(closeWriter).CloseWrite()
			}()
			if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	w.seen.wait("channels", 0)
}

// Keys are exchanged anew every few packets while data flows both ways.
func TestRekeyUnderLoad(t *testing.T) {
	w := newWorld(t, func(w *world) { w.limits.rekeyThreshold = 256 << 10 })
	conn := w.openService(w.mustClient())
	sent := random(16 << 20)
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.(closeWriter).CloseWrite()
	}()
	if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

// The deadline of the dial is the server's, not the network's.
func TestDialIsBounded(t *testing.T) {
	silent := func(w *world) {
		w.opts.Dial = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
	}
	inTime(t, silent, func(x *timed) {
		c, _ := x.connect()
		defer c.Close()
		begin := time.Now()
		want := ssh.OpenChannelError{Reason: ssh.ConnectionFailed, Message: "not reachable"}
		got := refusal(c, "direct-tcpip", directTCPIP(serviceHost, servicePort))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("refusal (-want +got):\n%s", diff)
		}
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("refused after %v", took)
		}
	})
}

// One address of several that does not answer leaves time for the next.
func TestDialTriesEveryAddress(t *testing.T) {
	silent := netip.MustParseAddr("10.1.2.200")
	twoAddresses := func(w *world) {
		answers := w.opts.Dial
		w.opts.Resolve = func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{silent, serviceAddr}, nil
		}
		w.opts.Dial = func(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
			if target.Addr() == silent {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return answers(ctx, target)
		}
	}
	inTime(t, twoAddresses, func(x *timed) {
		c, _ := x.connect()
		defer c.Close()
		begin := time.Now()
		x.echoes(x.w.openService(c))
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("opened after %v", took)
		}
	})
}
