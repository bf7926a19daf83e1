package sshd

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/sshd/wire"
)

// channel is one forwarded connection.
type channel struct {
	conn   *conn
	target target
	ssh    ssh.Channel
	remote net.Conn

	// What is waiting; the server's waiting guards them.
	up, down stall
	closed   bool // by the server, because too much was waiting
	ended    bool // the client has sent its last byte
}

// upBuffer is what a channel holds while its client is silent. A longer message takes a second read.
const upBuffer = 1 << 10

// slowWrite is how long a write may take before large buffers are given back.
const slowWrite = time.Second

// splice copies both ways until both are done. The end of one side closes writing on the other; a broken one closes
// both. It returns when the client has closed the channel and nothing is copied any more.
func (ch *channel) splice(requests <-chan *ssh.Request) {
	ch.conn.server.waiting.add(ch)
	defer ch.conn.server.waiting.remove(ch)
	var done atomic.Int32
	finish := func() {
		if done.Add(1) == 2 {
			_ = ch.ssh.Close() // fails if the client was first
			_ = ch.remote.Close()
		}
	}
	ended := make(chan struct{}, 2)
	go func() {
		ch.copyDown()
		finish()
		ended <- struct{}{}
	}()
	go func() {
		ch.copyUp()
		finish()
		ended <- struct{}{}
	}()
	go ch.refuseExtended()
	for r := range requests { // until the channel is closed
		_ = r.Reply(false, nil) // a direct-tcpip channel has none
	}
	now := time.Now()
	_ = ch.remote.SetReadDeadline(now) // nobody takes what would still come
	_ = ch.remote.SetWriteDeadline(now.Add(ch.conn.server.limits.deliverGrace))
	hurry := context.AfterFunc(ch.conn.ctx, func() { _ = ch.remote.SetWriteDeadline(time.Now().Add(wire.CloseGrace)) })
	<-ended
	<-ended
	hurry()
}

// refuseExtended ends the connection of a client that sends extended data (RFC 4254 section 5.2): a direct-tcpip
// channel has none, and the library would keep it for a reader. It returns at the end of what the client sends.
func (ch *channel) refuseExtended() {
	if n, _ := ch.ssh.Stderr().Read(make([]byte, 1)); n > 0 {
		ch.conn.end(endProtocol)
	}
}

// close ends the channel from our side, whatever is under way. It may wait for the client.
func (ch *channel) close() {
	_ = ch.remote.Close() // nothing is left to do about it
	_ = ch.ssh.Close()    // as above
}

// copyDown copies from the target to the client. It holds memory only while there is data.
func (ch *channel) copyDown() {
	c, waiting := ch.conn, ch.conn.server.waiting
	r := wire.NewReader(ch.remote)
	moved := int64(0)
	for {
		buf, err := r.Next()
		if errors.Is(err, io.EOF) {
			_ = ch.ssh.CloseWrite() // fails if the channel is closed
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) { // the channel was closed; what it sent may still go up
			return
		}
		if err != nil { // the target is gone
			ch.close()
			return
		}
		waiting.begin(ch, &ch.down, int64(cap(buf.Data)))
		n, err := wire.Write(ch.ssh, buf.Data, moved)
		if waiting.end(ch, &ch.down) > slowWrite {
			r.Slow()
		}
		moved += int64(n)
		buf.Free()
		c.down.Add(int64(n))
		c.counts.down.Add(int64(n))
		if err != nil {
			return
		}
		c.mover.Piece(n)
	}
}

// copyUp copies from the client to the target. A small message goes through a small buffer of the channel's own; a
// full one shows that there is more, which then goes through borrowed memory.
func (ch *channel) copyUp() {
	small := make([]byte, upBuffer)
	for {
		n, _, ok := ch.moveUp(small)
		if ok && n == len(small) {
			ok = ch.moveBulk()
		}
		if !ok {
			break
		}
	}
	if cw, ok := ch.remote.(interface{ CloseWrite() error }); ok {
		_ = cw.CloseWrite() // fails if the target is gone
	}
}

// moveUp moves one piece of at most the length of data, and reports whether it was quick and whether there may be more.
func (ch *channel) moveUp(data []byte) (n int, quick, ok bool) {
	c, waiting := ch.conn, ch.conn.server.waiting
	n, err := ch.ssh.Read(data)
	if errors.Is(err, io.EOF) {
		waiting.ended(ch)
	}
	if n == 0 {
		return 0, true, err == nil
	}
	c.up.Add(int64(n))
	c.counts.up.Add(int64(n))
	waiting.begin(ch, &ch.up, wire.WindowMemory)
	_, werr := ch.remote.Write(data[:n])
	quick = waiting.end(ch, &ch.up) <= slowWrite
	if werr != nil {
		// What the target has sent before it stopped reading may still go down; what comes up is dropped.
		if _, err := io.Copy(io.Discard, ch.ssh); err == nil {
			waiting.ended(ch)
		}
		return n, quick, false
	}
	return n, quick, err == nil
}

// moveBulk moves the pieces of an upload until one is short, or the target takes it slowly.
func (ch *channel) moveBulk() (ok bool) {
	brief := wire.BorrowBrief()
	n, quick, ok := ch.moveUp(brief.Data)
	brief.Free()
	if !ok || !quick || n < wire.BulkPiece {
		return ok
	}
	// The library shows data by a blocking read only, so the buffer stays held when the upload pauses.
	buf := wire.BorrowBulk()
	if buf == nil { // too many: one piece at a time
		return true
	}
	defer buf.Free()
	for {
		n, quick, ok := ch.moveUp(buf.Data)
		if !ok || !quick || n < wire.BulkPiece {
			return ok
		}
		ch.conn.mover.Piece(n)
	}
}
