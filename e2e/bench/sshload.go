package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// What a client asks of the backend: one byte, then a number of bytes for down and up.
const (
	askDown = 'D' // the backend sends so many bytes
	askUp   = 'U' // the backend takes so many bytes and answers with one
	askEcho = 'E' // the backend sends back whatever comes
)

const chunk = 1 << 20

// serveBackend is the service behind the tunnel, in a process of its own.
func serveBackend([]string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			_ = backend(c.(*net.TCPConn)) // the client sees it
		}()
	}
}

func backend(c *net.TCPConn) error {
	for {
		var ask [9]byte
		if _, err := io.ReadFull(c, ask[:]); err != nil {
			return err
		}
		n := int64(binary.BigEndian.Uint64(ask[1:]))
		switch ask[0] {
		case askDown:
			if err := pour(c, n); err != nil {
				return err
			}
		case askUp:
			if err := drink(c, n); err != nil {
				return err
			}
			if _, err := c.Write([]byte{'.'}); err != nil {
				return err
			}
		case askEcho:
			_, err := io.Copy(c, c)
			return err
		default:
			return errors.New("unknown request")
		}
	}
}

func request(ask byte, n int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{ask}, uint64(n))
}

// pour sends n bytes.
func pour(c net.Conn, n int64) error {
	buf := make([]byte, chunk)
	for n > 0 {
		k, err := c.Write(buf[:min(n, chunk)])
		if err != nil {
			return err
		}
		n -= int64(k)
	}
	return nil
}

// drink takes n bytes and lets the kernel drop them: what the load itself costs should be little.
func drink(c *net.TCPConn, n int64) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	buf := make([]byte, chunk)
	for n > 0 {
		var k int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			k, _, failed = syscall.Recvfrom(int(fd), buf[:min(n, chunk)], syscall.MSG_TRUNC)
			return failed != syscall.EAGAIN
		})
		if err := errors.Join(err, failed); err != nil {
			return err
		}
		if k == 0 {
			return io.ErrUnexpectedEOF
		}
		n -= int64(k)
	}
	return nil
}

// transfer moves n bytes through a tunnel's local end in each of several streams at once and returns how long it took.
func transfer(addr string, ask byte, streams int, n int64) (time.Duration, error) {
	conns := make([]*net.TCPConn, streams)
	for i := range conns {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		conns[i] = c.(*net.TCPConn)
		if err := oneWay(conns[i], askUp, 1); err != nil { // the channel is open from here on
			return 0, err
		}
	}
	begin := time.Now()
	results := make(chan error, streams)
	for _, c := range conns {
		go func() { results <- oneWay(c, ask, n/int64(streams)) }()
	}
	var errs []error
	for range conns {
		errs = append(errs, <-results)
	}
	return time.Since(begin), errors.Join(errs...)
}

func oneWay(c *net.TCPConn, ask byte, n int64) error {
	if _, err := c.Write(request(ask, n)); err != nil {
		return err
	}
	if ask == askDown {
		return drink(c, n)
	}
	if err := pour(c, n); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}
