package wire

import (
	"cmp"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// Reader reads from a connection without holding memory while there is nothing to read. It waits until the socket is
// readable first; a connection that is not a socket, as in tests, is read into a borrowed buffer right away. One
// goroutine uses it at a time.
type Reader struct {
	conn net.Conn
	raw  syscall.RawConn // nil if conn is not a socket
	try  func(fd uintptr) bool
	bulk bool // the last read filled a small buffer
	free bool // large buffers are not bounded

	// The result of try.
	buf *Buffer
	err error
}

// NewReader returns a reader of conn.
func NewReader(conn net.Conn) *Reader { return newReader(conn, false) }

func newReader(conn net.Conn, free bool) *Reader {
	r := &Reader{conn: conn, free: free}
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			r.raw, r.try = raw, r.tryRead
		}
	}
	return r
}

// Next waits for data and returns it in a buffer that the caller frees; io.EOF at the end.
func (r *Reader) Next() (*Buffer, error) {
	r.buf, r.err = nil, nil
	if r.raw != nil {
		if err := r.raw.Read(r.try); err != nil {
			return nil, err
		}
	} else {
		buf := r.borrow()
		n, err := r.conn.Read(buf.Data)
		r.keep(buf, n, cmp.Or(err, io.ErrNoProgress))
	}
	if r.err != nil {
		return nil, r.err
	}
	r.bulk = len(r.buf.Data) >= BriefSize
	return r.buf, nil
}

// tryRead reads once without waiting; false means that there is nothing yet.
func (r *Reader) tryRead(fd uintptr) bool {
	buf := r.borrow()
	n, err := syscall.Read(int(fd), buf.Data)
	for errors.Is(err, syscall.EINTR) {
		n, err = syscall.Read(int(fd), buf.Data)
	}
	if errors.Is(err, syscall.EAGAIN) {
		buf.Free()
		r.bulk = false
		return false
	}
	r.keep(buf, n, cmp.Or(os.NewSyscallError("read", err), io.EOF))
	return true
}

func (r *Reader) borrow() *Buffer {
	if r.bulk && r.free {
		return bulkPool.Get().(*Buffer)
	}
	if r.bulk {
		if b := BorrowBulk(); b != nil {
			return b
		}
	}
	return BorrowBrief()
}

// Slow makes the next buffer a small one: what was read is not taken quickly.
func (r *Reader) Slow() { r.bulk = false }

// keep notes the n bytes that were read, or the error if there are none.
func (r *Reader) keep(buf *Buffer, n int, err error) {
	if n <= 0 {
		buf.Free()
		r.err = err
		return
	}
	buf.Data = buf.Data[:n]
	r.buf = buf
}
