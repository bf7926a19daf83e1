// Package wire moves bytes between an SSH library and sockets with few system calls and little memory: it reads ahead
// what a socket has, gathers packets while earlier ones are being written, and holds memory only while data is in it.
package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// gcmTagSize is what AES-GCM adds to a packet, RFC 5647 section 7.
const gcmTagSize = 16

// directWrite is the size up to which a packet is written at once when nothing else is under way: a keystroke does
// not wait for another goroutine.
const directWrite = 2048

// CloseGrace is how long what is already written may take to leave after a close.
const CloseGrace = 2 * time.Second

// Framing is what the wire can see of an encrypted packet.
type Framing int

const (
	// Opaque packets hide their length.
	Opaque Framing = iota
	// GCM packets carry their length in clear, RFC 5647 section 7.3.
	GCM
)

// Conn is the connection below the SSH library. The library reads in pieces and writes each packet in two system
// calls; Conn reads ahead and gathers, so that under load one system call moves many packets.
//
// One goroutine reads and one writes at a time, as the library does; any goroutine may call Close and Abort.
type Conn struct {
	net.Conn

	// Reading.
	reader     *Reader
	ahead      *Buffer // nil when the library has read everything
	pos        int     // what the library has read of ahead
	clientLine []byte  // the client's identification, until the library has read it
	received   atomic.Int64

	// Writing. Before Gather is called every write goes straight to the socket.
	ownLine []byte // our identification, already sent: the library's own is swallowed
	sent    atomic.Int64
	framing Framing
	left    int    // bytes of the current packet that are still to come
	head    []byte // what has come of its length

	mu        sync.Mutex
	work      sync.Cond // pending or closing has changed
	space     sync.Cond // pending was taken
	gathering bool
	pending   *Buffer
	fill      int // bytes in pending
	writing   bool
	since     time.Time // when the write under way began
	closing   bool
	err       error
	flushed   chan struct{} // closed when flush has returned
}

// New returns a wire over an accepted connection.
func New(conn net.Conn) *Conn {
	w := &Conn{Conn: conn, reader: NewReader(conn), flushed: make(chan struct{})}
	w.work.L, w.space.L = &w.mu, &w.mu
	return w
}

// Received returns the number of bytes that have come from the client.
func (w *Conn) Received() int64 { return w.received.Load() }

// Sent returns the number of bytes that the library has written.
func (w *Conn) Sent() int64 { return w.sent.Load() }

// Read implements net.Conn.
func (w *Conn) Read(p []byte) (int, error) {
	if len(w.clientLine) > 0 {
		n := copy(p, w.clientLine)
		w.clientLine = w.clientLine[n:]
		return n, nil
	}
	if w.ahead == nil {
		buf, err := w.reader.Next()
		if err != nil {
			return 0, err
		}
		w.ahead, w.pos = buf, 0
		w.received.Add(int64(len(buf.Data)))
	}
	n := copy(p, w.ahead.Data[w.pos:])
	w.pos += n
	if w.pos == len(w.ahead.Data) {
		w.ahead.Free()
		w.ahead = nil
	}
	return n, nil
}

// Identify exchanges the identification lines of RFC 4253 section 4.2, without their line ends, before the library
// does, because what is offered depends on the client. The library then sees the exchange as if it were its own.
func (w *Conn) Identify(own string) (client string, err error) {
	w.ownLine = []byte(own + "\r\n")
	if _, err := w.Conn.Write(w.ownLine); err != nil {
		return "", err
	}
	line := make([]byte, 0, 64)
	for one := make([]byte, 1); ; {
		if _, err := w.Read(one); err != nil {
			return "", err
		}
		line = append(line, one[0])
		if one[0] == '\n' {
			break
		}
		if len(line) == 255 {
			return "", errors.New("the identification line is too long")
		}
	}
	w.clientLine = line
	client = strings.TrimRight(string(line), "\r\n")
	if !strings.HasPrefix(client, "SSH-2.0-") {
		return "", errors.New("the client does not speak SSH 2.0")
	}
	return client, nil
}

// Gather starts to gather what the library writes from now on, in packets of this framing.
func (w *Conn) Gather(framing Framing) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.framing, w.gathering = framing, true
	go w.flush()
}

// Write implements net.Conn. While gathering it returns before the bytes are written; a later call returns the failure.
func (w *Conn) Write(p []byte) (int, error) {
	if len(w.ownLine) > 0 {
		if !bytes.Equal(p, w.ownLine) {
			return 0, errors.New("the identification differs from the one sent")
		}
		w.ownLine = nil
		return len(p), nil
	}
	w.sent.Add(int64(len(p)))
	w.mu.Lock()
	if !w.gathering {
		w.mu.Unlock()
		return w.Conn.Write(p)
	}
	whole := w.follow(p)
	if w.closing || w.err != nil {
		defer w.mu.Unlock()
		if w.err == nil {
			w.err = net.ErrClosed
		}
		return 0, w.err
	}
	if whole && w.pending == nil && !w.writing && len(p) <= directWrite {
		w.writing, w.since = true, time.Now()
		w.mu.Unlock()
		n, err := w.Conn.Write(p)
		w.mu.Lock()
		w.writing = false
		if w.err == nil {
			w.err = err
		}
		w.work.Signal() // it may be closing
		w.mu.Unlock()
		return n, err
	}
	defer w.mu.Unlock()
	for rest := p; len(rest) > 0; {
		for w.pending != nil && w.fill == len(w.pending.Data) {
			w.work.Signal()
			w.space.Wait()
		}
		if w.err != nil {
			return len(p) - len(rest), w.err
		}
		if w.pending == nil {
			w.pending, w.fill = BorrowBulk(), 0
		}
		n := copy(w.pending.Data[w.fill:], rest)
		w.fill += n
		rest = rest[n:]
	}
	if whole && !w.writing {
		w.work.Signal()
	}
	return len(p), nil
}

// follow reports whether a packet ends with p. Without it the flusher would often write a packet's first piece alone.
func (w *Conn) follow(p []byte) (whole bool) {
	if w.framing == Opaque {
		return true
	}
	for len(p) > 0 {
		if w.left == 0 {
			n := min(4-len(w.head), len(p))
			w.head = append(w.head, p[:n]...)
			p = p[n:]
			if len(w.head) < 4 {
				return false
			}
			w.left = int(binary.BigEndian.Uint32(w.head)) + gcmTagSize
			w.head = w.head[:0]
		}
		n := min(w.left, len(p))
		w.left -= n
		p = p[n:]
	}
	return w.left == 0
}

// flush writes what has been gathered until the wire is closed; then it closes the connection.
func (w *Conn) flush() {
	defer close(w.flushed)
	w.mu.Lock()
	for {
		for (w.pending == nil || w.writing) && !(w.closing && !w.writing) && w.err == nil {
			w.work.Wait()
		}
		if w.pending == nil || w.err != nil {
			break
		}
		buf, n := w.pending, w.fill
		w.pending, w.fill = nil, 0
		w.writing, w.since = true, time.Now()
		w.space.Signal()
		w.mu.Unlock()
		_, err := w.Conn.Write(buf.Data[:n])
		buf.Free()
		w.mu.Lock()
		w.writing = false
		if w.err == nil {
			w.err = err
		}
	}
	if w.err == nil {
		w.err = net.ErrClosed
	}
	if w.pending != nil {
		w.pending.Free()
		w.pending = nil
	}
	w.space.Signal()
	w.mu.Unlock()
	_ = w.Conn.Close() // whatever it says, nothing is left to do
}

// Stalled returns for how long the write under way has made no progress; 0 without one.
func (w *Conn) Stalled(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.writing {
		return 0
	}
	return now.Sub(w.since)
}

// Close ends reading at once, lets what is written leave within CloseGrace, and closes the connection.
func (w *Conn) Close() error {
	w.mu.Lock()
	gathering, first := w.gathering, !w.closing
	w.closing = true
	w.work.Signal()
	w.mu.Unlock()
	if !gathering {
		return w.Conn.Close()
	}
	if first {
		now := time.Now()
		return errors.Join(w.Conn.SetReadDeadline(now), w.Conn.SetWriteDeadline(now.Add(CloseGrace)))
	}
	return nil
}

// Wait returns when everything that was gathered has been written or dropped, and the connection is closed.
func (w *Conn) Wait() { <-w.flushed }

// Abort closes the connection at once.
func (w *Conn) Abort() {
	w.mu.Lock()
	w.closing = true
	if w.err == nil {
		w.err = net.ErrClosed
	}
	w.work.Signal()
	w.space.Signal()
	w.mu.Unlock()
	_ = w.Conn.Close() // the reader and the flusher find it closed
}
