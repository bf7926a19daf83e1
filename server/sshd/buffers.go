package sshd

import (
	"cmp"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// Sizes of borrowed memory. A read of bulkSize takes all that a socket usually holds, so that one system call serves
// eight packets; briefSize is one full SSH packet, enough for whatever is not bulk.
const (
	bulkSize  = 256 << 10
	briefSize = 32 << 10
)

// buffer is memory that is borrowed while data moves and given back as soon as there is none.
type buffer struct {
	data []byte
	pool *sync.Pool
}

var bulkPool, briefPool sync.Pool

func init() {
	bulkPool.New = func() any { return &buffer{make([]byte, bulkSize), &bulkPool} }
	briefPool.New = func() any { return &buffer{make([]byte, briefSize), &briefPool} }
}

// free gives the buffer back; the caller must not use it any more.
func (b *buffer) free() { b.pool.Put(b) }

// puller reads from a connection without holding memory while there is nothing to read. It waits for the socket to
// be readable first; a connection that is not a socket (as in tests) is read into a borrowed buffer right away.
// One goroutine at a time.
type puller struct {
	conn net.Conn
	raw  syscall.RawConn // nil if conn is no socket
	try  func(fd uintptr) bool
	bulk bool // the last read filled its buffer

	// The result of try.
	buf *buffer
	n   int
	err error
}

func newPuller(conn net.Conn) *puller {
	p := &puller{conn: conn}
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			p.raw, p.try = raw, p.tryRead
		}
	}
	return p
}

// tryRead reads once without waiting; false means that there is nothing yet.
func (p *puller) tryRead(fd uintptr) bool {
	buf := p.borrow()
	for {
		p.n, p.err = syscall.Read(int(fd), buf.data)
		if !errors.Is(p.err, syscall.EINTR) {
			break
		}
	}
	if errors.Is(p.err, syscall.EAGAIN) {
		buf.free()
		p.bulk = false
		return false
	}
	if p.err != nil || p.n == 0 {
		buf.free()
		return true
	}
	p.buf = buf
	return true
}

func (p *puller) borrow() *buffer {
	if p.bulk {
		return bulkPool.Get().(*buffer)
	}
	return briefPool.Get().(*buffer)
}

// pull waits for data and returns it: the first n bytes of a buffer that the caller frees. At the end it is io.EOF.
func (p *puller) pull() (buf *buffer, n int, err error) {
	if p.raw == nil {
		buf = p.borrow()
		if n, err = p.conn.Read(buf.data); n == 0 {
			buf.free()
			return nil, 0, cmp.Or(err, io.ErrNoProgress)
		}
	} else {
		p.buf, p.n, p.err = nil, 0, nil
		if err := p.raw.Read(p.try); err != nil {
			if p.buf != nil {
				p.buf.free()
			}
			return nil, 0, err
		}
		if p.err != nil {
			return nil, 0, &net.OpError{Op: "read", Net: "tcp", Source: p.conn.LocalAddr(), Addr: p.conn.RemoteAddr(), Err: p.err}
		}
		if p.buf == nil {
			return nil, 0, io.EOF
		}
		buf, n = p.buf, p.n
		p.buf = nil
	}
	p.bulk = n >= briefSize
	return buf, n, nil
}
