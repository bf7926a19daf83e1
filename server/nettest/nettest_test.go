package nettest

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	xnettest "golang.org/x/net/nettest"
)

// The rules of net.Conn, as the Go authors test them.
func TestConnIsOneOfPackageNet(t *testing.T) {
	xnettest.TestConn(t, func() (a, b net.Conn, stop func(), err error) {
		x, y := Pipe()
		return x, y, func() { x.Close(); y.Close() }, nil
	})
}

// half is a connection that can be closed in one direction.
type half interface {
	net.Conn
	CloseWrite() error
}

// Tests over this network find what they would over TCP: the same cases hold there.
func TestConnIsLikeTCP(t *testing.T) {
	past := time.Unix(1, 0)
	read := func(c half) error { _, err := c.Read(make([]byte, 1)); return err }
	write := func(c half) error { _, err := c.Write([]byte("x")); return err }
	for name, tc := range map[string]struct {
		do   func(a, b half) error // what is found last
		want error                 // nil for none
	}{
		"read when the other end is closed": {func(a, b half) error { b.Close(); return read(a) }, io.EOF},
		"what was written before the end": {func(a, b half) error {
			b.Write([]byte("x"))
			b.Close()
			return read(a)
		}, nil},
		"read when this end is closed":  {func(a, _ half) error { a.Close(); return read(a) }, net.ErrClosed},
		"write when this end is closed": {func(a, _ half) error { a.Close(); return write(a) }, net.ErrClosed},
		"second close":                  {func(a, _ half) error { a.Close(); return a.Close() }, net.ErrClosed},
		"half close of a closed one":    {func(a, _ half) error { a.Close(); return a.CloseWrite() }, net.ErrClosed},
		"deadline of a closed one": {func(a, _ half) error {
			a.Close()
			return a.SetDeadline(past)
		}, net.ErrClosed},
		"read after a half close":          {func(a, b half) error { b.CloseWrite(); return read(a) }, io.EOF},
		"write after a half close":         {func(a, _ half) error { a.CloseWrite(); return write(a) }, syscall.EPIPE},
		"the other way after a half close": {func(a, b half) error { a.CloseWrite(); write(b); return read(a) }, nil},
		"read late although there is something": {func(a, b half) error {
			write(b)
			a.SetReadDeadline(past)
			return read(a)
		}, os.ErrDeadlineExceeded},
		"write late although there is room": {func(a, _ half) error {
			a.SetWriteDeadline(past)
			return write(a)
		}, os.ErrDeadlineExceeded},
		"write after a deadline was put off": {func(a, _ half) error {
			a.SetDeadline(past)
			a.SetDeadline(time.Time{})
			return write(a)
		}, nil},
		"write of more than there is room for": {func(a, _ half) error {
			a.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
			_, err := a.Write(make([]byte, 64<<20))
			return err
		}, os.ErrDeadlineExceeded},
		"first write when the other end is closed": {func(a, b half) error { b.Close(); return write(a) }, nil},
		"next write when the other end is closed": {func(a, b half) error {
			b.Close()
			write(a)
			for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // the answer comes by the network
				if err := write(a); err != nil || time.Now().After(end) {
					return err
				}
			}
		}, syscall.EPIPE},
		"read when the other end is closed and has not read": {func(a, b half) error {
			write(a)
			read(b) // it has come
			write(a)
			time.Sleep(50 * time.Millisecond) // until the second has come, too
			b.Close()
			return read(a)
		}, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			check := func(where string, a, b half) {
				t.Helper()
				defer a.Close()
				defer b.Close()
				got := tc.do(a, b)
				if !errors.Is(got, tc.want) {
					t.Errorf("%s: %v, want %v", where, got, tc.want)
				}
				var of net.Error
				if late := tc.want == os.ErrDeadlineExceeded; late != (errors.As(got, &of) && of.Timeout()) {
					t.Errorf("%s: %v is of a time-out: %v", where, got, !late)
				}
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			a, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			b, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			check("TCP", a.(half), b.(half))
			synctest.Test(t, func(*testing.T) {
				a, b := Pipe()
				check("here", a, b)
			})
		})
	}
}

// Nobody notices what the network drops, and a deadline is all that ends waiting for it.
func TestFrozenConnectionEndsByItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe()
		defer b.Close()
		if _, err := a.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		a.Freeze()
		if _, err := a.Write([]byte("y")); err != nil {
			t.Fatal(err)
		}
		a.Close()
		begin := time.Now()
		b.SetReadDeadline(begin.Add(time.Hour))
		got, err := io.ReadAll(b)
		if string(got) != "x" || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Hour {
			t.Errorf("got %q, %v after %v", got, err, time.Since(begin))
		}
		b.SetWriteDeadline(time.Now().Add(time.Hour))
		n, err := b.Write(make([]byte, 2*socket))
		if n != socket || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != 2*time.Hour {
			t.Errorf("%d bytes were taken, %v after %v", n, err, time.Since(begin))
		}
	})
}

// The addresses are those of a network, which limits for each source read.
func TestAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Listen()
		defer l.Close()
		accepted := make(chan net.Conn)
		go func() {
			c, _ := l.Accept() // nil fails below
			accepted <- c
		}()
		near, err := l.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		far := <-accepted
		if near.RemoteAddr().String() != l.Addr().String() || far.RemoteAddr().String() != near.LocalAddr().String() {
			t.Errorf("from %v to %v, accepted from %v at %v",
				near.LocalAddr(), near.RemoteAddr(), far.RemoteAddr(), l.Addr())
		}
	})
}
