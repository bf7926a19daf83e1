package sshd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// gcmTagSize is what AES-GCM adds to a packet, RFC 5647 section 7.
const gcmTagSize = 16

// directWrite is the size up to which a packet is written at once when nothing else is under way: a keystroke does
// not wait for another goroutine.
const directWrite = 2048

// closeGrace is how long what is already written may take to leave after a close.
const closeGrace = 2 * time.Second

// wire is the connection below the SSH library. The library reads in pieces and writes each packet in two system
// calls; wire reads ahead what the socket has, and gathers packets while earlier ones are being written, so that
// under load one system call moves many packets. It borrows memory only while there is data in it.
//
// One goroutine reads and one writes at a time, as the library does; Close and abort may be called by any.
type wire struct {
	net.Conn

	// Reading.
	pull     *puller
	ahead    *buffer // nil when everything was consumed
	pos, end int
	peerLine []byte // the peer's identification, until the library has read it
	received atomic.Int64

	// Writing. Before gather is called every write goes straight to the socket.
	ownLine []byte // our identification, sent already: the library's own is swallowed
	sent    atomic.Int64
	gcm     bool // packets can be told apart
	left    int  // bytes of the current packet that are still to come
	head    []byte

	mu        sync.Mutex
	work      sync.Cond // pending or closing has changed
	space     sync.Cond // pending was taken
	gathering bool
	pending   *buffer
	fill      int
	writing   bool
	since     time.Time // of the write under way
	closing   bool
	err       error
	flushed   chan struct{} // closed when the flusher has ended
}

func newWire(conn net.Conn) *wire {
	w := &wire{Conn: conn, pull: newPuller(conn), flushed: make(chan struct{})}
	w.work.L, w.space.L = &w.mu, &w.mu
	return w
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	if len(w.peerLine) > 0 {
		n := copy(p, w.peerLine)
		w.peerLine = w.peerLine[n:]
		return n, nil
	}
	if w.ahead == nil {
		buf, n, err := w.pull.pull()
		if err != nil {
			return 0, err
		}
		w.ahead, w.pos, w.end = buf, 0, n
		w.received.Add(int64(n))
	}
	n := copy(p, w.ahead.data[w.pos:w.end])
	w.pos += n
	if w.pos == w.end {
		w.ahead.free()
		w.ahead = nil
	}
	return n, nil
}

// identify exchanges the identification lines of RFC 4253 section 4.2 before the library does, because what is
// offered depends on the peer. The library then finds the exchange as if it were its own.
func (w *wire) identify(own string) (peer string, err error) {
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
	w.peerLine = line
	text := bytes.TrimRight(line, "\r\n")
	if !bytes.HasPrefix(text, []byte("SSH-2.0-")) {
		return "", errors.New("the peer does not speak SSH 2.0")
	}
	return string(text), nil
}

// gather starts gathering. gcm tells that packets carry their length in clear.
func (w *wire) gather(gcm bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gcm, w.gathering = gcm, true
	go w.flush()
}

// Write implements net.Conn. Once gathering, it returns before the bytes are written; a failure is returned by a
// later call.
func (w *wire) Write(p []byte) (int, error) {
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
		for w.pending != nil && w.fill == len(w.pending.data) {
			w.work.Signal()
			w.space.Wait()
		}
		if w.err != nil {
			return len(p) - len(rest), w.err
		}
		if w.pending == nil {
			w.pending, w.fill = bulkPool.Get().(*buffer), 0
		}
		n := copy(w.pending.data[w.fill:], rest)
		w.fill += n
		rest = rest[n:]
	}
	if whole && !w.writing {
		w.work.Signal()
	}
	return len(p), nil
}

// follow tells whether a packet ends with p. Without it the flusher would often run ahead with a packet's first
// piece alone.
func (w *wire) follow(p []byte) (whole bool) {
	if !w.gcm {
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
func (w *wire) flush() {
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
		_, err := w.Conn.Write(buf.data[:n])
		buf.free()
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
		w.pending.free()
		w.pending = nil
	}
	w.space.Signal()
	w.mu.Unlock()
	_ = w.Conn.Close() // whatever it says, nothing is left to do
}

// stalled tells for how long the write under way has made no progress.
func (w *wire) stalled(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.writing {
		return 0
	}
	return now.Sub(w.since)
}

// Close ends reading at once, lets what is written leave within closeGrace, and closes the connection.
func (w *wire) Close() error {
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
		return errors.Join(w.Conn.SetReadDeadline(now), w.Conn.SetWriteDeadline(now.Add(closeGrace)))
	}
	return nil
}

// abort closes the connection at once.
func (w *wire) abort() {
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
