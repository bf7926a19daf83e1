package tunnels

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/server/sshd/wire"
	"github.com/outposts-dev/outposts/server/tunnels/remote"
)

const (
	// downBuffer is what a stream holds while nothing comes down. A longer message takes another read.
	downBuffer = 1 << 10
	// deliverGrace is how long the near end may take for what came before the channel was closed.
	deliverGrace = 30 * time.Second
)

// stream copies between a connection of the hub's cluster and a channel.
type stream struct {
	near     net.Conn
	ch       *remote.Channel
	listener *listener
	line     *line // whose bytes are counted
	backlog  *backlog
	stall    stall // guarded by backlog
}

// run copies both ways until both are done. The end of one side closes writing on the other; a broken one breaks the
// other. It returns when nothing is copied any more. The near connection is not closed.
func (s *stream) run() {
	defer s.ch.Conn.Release()
	s.backlog.add(s)
	defer s.backlog.remove(s)
	var copied sync.WaitGroup
	copied.Go(s.up)
	copied.Go(s.down)
	done := make(chan struct{})
	go func() {
		copied.Wait()
		close(done)
		_ = s.ch.Close() // fails if the other side was first
	}()
	for r := range s.ch.Requests { // until the channel is closed
		_ = r.Reply(false, nil) // a direct-tcpip channel has none
	}
	now := time.Now()
	_ = s.near.SetReadDeadline(now)                    // nobody takes what would still come
	_ = s.near.SetWriteDeadline(now.Add(deliverGrace)) // as above
	<-done
}

// abort ends both sides at once: what is read there is not a whole.
func (s *stream) abort() {
	reset(s.near)
	_ = s.ch.Close() // it may be closed
}

// reset closes a connection so that the other side sees a failure, not an end.
func reset(conn net.Conn) {
	if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0) // without it, it is an end
	}
	_ = conn.Close()
}

// up copies to the system. It holds memory only while there is data.
func (s *stream) up() {
	r := wire.NewReader(s.near)
	sent := int64(0)
	for {
		buf, err := r.Next()
		if errors.Is(err, io.EOF) {
			_ = s.ch.CloseWrite() // fails if the channel is closed
			return
		}
		if err != nil {
			if !isTimeout(err) { // else the channel was closed, and what it sent may still go down
				s.abort()
			}
			return
		}
		_, err = wire.Write(s.ch, buf.Data, sent)
		sent += int64(len(buf.Data))
		s.line.up.Add(int64(len(buf.Data)))
		s.line.mover.Piece(len(buf.Data))
		buf.Free()
		if err != nil {
			return // the channel is closed, which down sees
		}
	}
}

// down copies from the system. A small message goes through a small buffer of the stream's own; a full one shows that
// there is more, which then goes through borrowed memory.
func (s *stream) down() {
	small := make([]byte, downBuffer)
	for {
		n, ok := s.move(small)
		if ok && n == len(small) {
			ok = s.bulk()
		}
		if !ok {
			return
		}
	}
}

// bulk moves pieces through borrowed memory until one is short.
func (s *stream) bulk() (ok bool) {
	brief := wire.BorrowBrief()
	n, ok := s.move(brief.Data)
	brief.Free()
	if !ok || n < wire.BulkPiece {
		return ok
	}
	// The library shows data by a blocking read only, so the buffer stays held when a download pauses.
	buf := wire.BorrowBulk()
	if buf == nil { // too many: one piece at a time
		return true
	}
	defer buf.Free()
	for ok && n >= wire.BulkPiece {
		n, ok = s.move(buf.Data)
		s.line.mover.Piece(n)
	}
	return ok
}

// move moves one piece, and reports whether there may be more.
func (s *stream) move(data []byte) (n int, ok bool) {
	n, err := s.ch.Read(data)
	if n > 0 {
		s.line.down.Add(int64(n))
		s.backlog.begin(s)
		_, werr := s.near.Write(data[:n])
		s.backlog.end(s)
		if werr != nil {
			s.abort()
			return n, false
		}
	}
	switch {
	case err == nil:
		return n, true
	case !s.ch.Conn.Sound(): // the library calls that an end, too
		s.abort()
	default:
		if tcp, ok := s.near.(interface{ CloseWrite() error }); ok {
			_ = tcp.CloseWrite() // fails if the near end is gone
		}
	}
	return n, false
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}
