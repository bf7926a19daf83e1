package sshd

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/sshd/wire"
)

// target is what a direct-tcpip channel asks for.
type target struct {
	host string // as the client wrote it
	port uint16
}

// maxHost is the length of the longest host name, RFC 1035 section 2.3.4.
const maxHost = 253

// upBuffer is what a channel holds while its client is silent. A longer message takes a second read.
const upBuffer = 1 << 10

// bulkUploads is how many channels of the process may hold a large buffer for the next piece of an upload. The library
// shows data by a blocking read only, so such a buffer stays held when the upload pauses.
const bulkUploads = 64

// bulkPiece is what a piece of an upload has at least: half a packet, so that the rest of one of which a small buffer
// took the beginning counts too.
const bulkPiece = 16 << 10

// deliverGrace is how long a target may take for what its client has sent before it closed the channel.
const deliverGrace = 30 * time.Second

// parseTarget reads the payload of RFC 4254 section 7.2. Host names and IPv4 addresses only: no service has another.
func parseTarget(payload []byte) (target, error) {
	var m struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}
	if err := ssh.Unmarshal(payload, &m); err != nil {
		return target{}, err
	}
	if m.Port == 0 || m.Port > 65535 {
		return target{}, errors.New("not a port")
	}
	if m.Host == "" || len(m.Host) > maxHost {
		return target{}, errors.New("not a host name")
	}
	for _, b := range []byte(m.Host) {
		if !('a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '.' || b == '-') {
			return target{}, errors.New("not a host name")
		}
	}
	return target{m.Host, uint16(m.Port)}, nil
}

// forward checks a request, dials and splices. It returns when the channel is closed.
func (c *conn) forward(nc ssh.NewChannel, t target) {
	s := c.server
	_ = s.keys.refresh() // reported
	key := c.key()
	if key == nil {
		c.refuse(nc, RefusedKey)
		c.end(endKey)
		return
	}
	if !key.permits(t.host, t.port) || !s.opts.PermitOpen(c.hub, t.host, t.port) {
		c.refuse(nc, RefusedTarget)
		return
	}
	start := time.Now()
	remote, err := s.dial(c.ctx, t)
	if errors.Is(err, errRefusedAddress) {
		c.log.Warn("a service's name resolves to an address that is never dialled", "target", t.host)
		c.refuse(nc, RefusedAddress)
		return
	}
	s.opts.Observer.Dialled(c.hub, time.Since(start), err)
	if err != nil {
		c.log.Debug("target not reached", "target", t.host, "port", t.port, "err", err)
		if err := nc.Reject(ssh.ConnectionFailed, "not reachable"); err != nil {
			c.log.Debug("refusal not sent", "err", err)
		}
		return
	}
	ch, requests, err := nc.Accept()
	if err != nil {
		_ = remote.Close() // nothing was sent
		return
	}
	c.opened.Add(1)
	s.opts.Observer.Channel(c.hub, 1)
	defer s.opts.Observer.Channel(c.hub, -1)
	c.splice(ch, requests, remote)
}

// errRefusedAddress means that a name resolved to an address that is never dialled.
var errRefusedAddress = errors.New("address is never dialled")

// dial resolves a target once, checks every address it has, and dials the checked addresses, not the name again: what
// a second look-up would say does not matter.
func (s *Server) dial(ctx context.Context, t target) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.limits.dialTimeout)
	defer cancel()
	addrs, err := s.resolve(ctx, t.host)
	if err != nil {
		return nil, err
	}
	own := *s.own.Load()
	for _, a := range addrs {
		if refusedAddress(netip.AddrPortFrom(a, t.port), own, s.opts.RefusedAddresses) {
			return nil, errRefusedAddress
		}
	}
	err = errors.New("the name has no address")
	deadline, _ := ctx.Deadline()
	for i, a := range addrs {
		// A share of what is left, so that one silent address is not the end.
		attempt, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(addrs)-i))
		var conn net.Conn
		conn, err = s.opts.Dial(attempt, netip.AddrPortFrom(a.Unmap(), t.port))
		cancel()
		if err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// resolve returns the addresses of a host; a literal stands for itself.
func (s *Server) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	return s.opts.Resolve(ctx, host)
}

// splice copies both ways until both are done. The end of one side closes writing on the other; a broken one closes
// both. It returns when the client has closed the channel and nothing is copied any more.
func (c *conn) splice(ch ssh.Channel, requests <-chan *ssh.Request, remote net.Conn) {
	var done atomic.Int32
	finish := func() {
		if done.Add(1) == 2 {
			_ = ch.Close() // fails if the client was first
			_ = remote.Close()
		}
	}
	ended := make(chan struct{}, 2)
	go func() {
		c.copyDown(ch, remote)
		finish()
		ended <- struct{}{}
	}()
	go func() {
		c.copyUp(ch, remote)
		finish()
		ended <- struct{}{}
	}()
	for r := range requests { // until the channel is closed
		_ = r.Reply(false, nil) // a direct-tcpip channel has none
	}
	now := time.Now()
	_ = remote.SetReadDeadline(now) // nobody takes what would still come
	_ = remote.SetWriteDeadline(now.Add(deliverGrace))
	hurry := context.AfterFunc(c.ctx, func() { _ = remote.SetWriteDeadline(time.Now().Add(wire.CloseGrace)) })
	<-ended
	<-ended
	hurry()
}

// The library keeps a buffer of the largest packet that a channel has ever sent, for as long as the channel lives. So
// packets are small, and fit a size of Go's allocator with their head of 9 bytes, until a channel has moved much.
const (
	earlyPacket = 8<<10 - 9
	earlyBytes  = 2 << 20
)

// write sends data to the client, after moved bytes of this channel before it.
func write(ch ssh.Channel, data []byte, moved int64) (n int, err error) {
	if moved >= earlyBytes {
		return ch.Write(data)
	}
	for len(data) > 0 && err == nil {
		var k int
		k, err = ch.Write(data[:min(len(data), earlyPacket)])
		n += k
		data = data[k:]
	}
	return n, err
}

// copyDown copies from the target to the client. It holds memory only while there is data.
func (c *conn) copyDown(ch ssh.Channel, remote net.Conn) {
	r := wire.NewReader(remote)
	traffic := c.server.hubs[c.hub]
	moved := int64(0)
	for {
		buf, err := r.Next()
		if errors.Is(err, io.EOF) {
			_ = ch.CloseWrite() // fails if the channel is closed
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) { // the channel was closed; what it sent may still go up
			return
		}
		if err != nil { // the target is gone
			_ = ch.Close()
			_ = remote.Close()
			return
		}
		n, err := write(ch, buf.Data, moved)
		moved += int64(n)
		buf.Free()
		c.down.Add(int64(n))
		traffic.down.Add(int64(n))
		if err != nil {
			return
		}
		if n >= bulkPiece {
			c.server.movers.piece(c)
		}
	}
}

// copyUp copies from the client to the target. A small message goes through a small buffer of the channel's own; a
// full one shows that there is more, which then goes through borrowed memory.
func (c *conn) copyUp(ch ssh.Channel, remote net.Conn) {
	small := make([]byte, upBuffer)
	traffic := c.server.hubs[c.hub]
	move := func(data []byte) (n int, ok bool) {
		n, err := ch.Read(data)
		if n > 0 {
			c.up.Add(int64(n))
			traffic.up.Add(int64(n))
			if _, werr := remote.Write(data[:n]); werr != nil {
				// What the target has sent before it stopped reading may still go down; what comes up is dropped.
				_, _ = io.Copy(io.Discard, ch)
				return n, false
			}
		}
		return n, err == nil
	}
	for {
		n, ok := move(small)
		if ok && n == len(small) {
			ok = c.moveBulk(move)
		}
		if !ok {
			break
		}
	}
	if cw, ok := remote.(interface{ CloseWrite() error }); ok {
		_ = cw.CloseWrite() // fails if the target is gone
	}
}

// moveBulk moves the pieces of an upload until one is short.
func (c *conn) moveBulk(move func([]byte) (int, bool)) (ok bool) {
	brief := wire.BorrowBrief()
	n, ok := move(brief.Data)
	brief.Free()
	if !ok || n < bulkPiece {
		return ok
	}
	select {
	case c.server.bulk <- struct{}{}:
		defer func() { <-c.server.bulk }()
	default: // too many: one piece at a time
		return true
	}
	buf := wire.BorrowBulk()
	defer buf.Free()
	for {
		n, ok := move(buf.Data)
		if !ok || n < bulkPiece {
			return ok
		}
		c.server.movers.piece(c)
	}
}
