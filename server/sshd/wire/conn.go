// Package wire moves bytes between an SSH library and sockets with few system calls and little memory: it reads ahead
// what a socket has, gathers packets while earlier ones are being written, and holds memory only while data is in it.
// It tells which connections move much.
package wire

import (
	"bytes"
	"cmp"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// directWrite is the size up to which a packet is written at once when nothing else is under way: a keystroke does
// not wait for another goroutine.
const directWrite = 2048

// CloseGrace is how long what is already written may take to leave after a close.
const CloseGrace = 2 * time.Second

// Conn is the connection below the SSH library. The library reads in pieces and writes each packet in two system
// calls; Conn reads ahead and gathers, so that under load one system call moves many packets.
//
// One goroutine reads and one writes at a time, as the library does; any goroutine may call Close and Abort.
type Conn struct {
	net.Conn
	// Framing is that of encrypted packets, both ways. It is set before keys are exchanged.
	Framing Framing
	// Now is the clock of Stalled, time.Now if nothing else is set before the first write.
	Now func() time.Time

	// Reading.
	reader     *Reader
	ahead      *Buffer // nil when the library has read everything
	pos        int     // what the library has read of ahead
	clientLine []byte  // the client's identification, until the library has read it
	identified bool    // only packets come
	in         packets
	received   atomic.Int64
	packets    atomic.Int64
	broken     atomic.Bool

	// Writing. Before Gather is called every write goes straight to the socket.
	ownLine []byte // our identification, already sent: the library's own is swallowed
	sent    atomic.Int64
	out     packets

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
	w := &Conn{Conn: conn, Now: time.Now, reader: newReader(conn, true), flushed: make(chan struct{})}
	w.work.L, w.space.L = &w.mu, &w.mu
	return w
}

// Received returns the number of bytes that have come from the client.
func (w *Conn) Received() int64 { return w.received.Load() }

// Packets returns the number of packets that have come from the client; an upper bound if they are opaque.
func (w *Conn) Packets() int64 { return w.packets.Load() }

// Broken reports whether the client has begun a packet that is too long; reading fails then.
func (w *Conn) Broken() bool { return w.broken.Load() }

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
	if !w.identified {
		return n, nil
	}
	w.in.framing = w.Framing
	if _, err := w.in.follow(p[:n]); err != nil {
		w.broken.Store(true)
		return 0, err
	}
	w.packets.Store(w.in.count)
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
	w.clientLine, w.identified = line, true
	client = strings.TrimRight(string(line), "\r\n")
	if !strings.HasPrefix(client, "SSH-2.0-") {
		return "", errors.New("the client does not speak SSH 2.0")
	}
	return client, nil
}

// Gather starts to gather what the library writes from now on; keys have been exchanged.
func (w *Conn) Gather() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out, w.gathering = packets{framing: w.Framing, encrypted: true}, true
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
	// The flusher would often write a packet's first piece alone if it did not know where it ends.
	whole, _ := w.out.follow(p) // the library's packets are short
	if w.closing || w.err != nil {
		defer w.mu.Unlock()
		w.err = cmp.Or(w.err, net.ErrClosed)
		return 0, w.err
	}
	if whole && w.pending == nil && !w.writing && len(p) <= directWrite {
		w.writing, w.since = true, w.Now()
		w.mu.Unlock()
		n, err := w.Conn.Write(p)
		w.mu.Lock()
		w.writing = false
		w.err = cmp.Or(w.err, err)
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
			w.pending, w.fill = bulkPool.Get().(*Buffer), 0
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
		w.writing, w.since = true, w.Now()
		w.space.Signal()
		w.mu.Unlock()
		_, err := w.Conn.Write(buf.Data[:n])
		buf.Free()
		w.mu.Lock()
		w.writing = false
		w.err = cmp.Or(w.err, err)
	}
	w.err = cmp.Or(w.err, net.ErrClosed)
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
	w.err = cmp.Or(w.err, net.ErrClosed)
	w.work.Signal()
	w.space.Signal()
	w.mu.Unlock()
	_ = w.Conn.Close() // the reader and the flusher find it closed
}
