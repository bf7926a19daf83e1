package sshd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"
)

// target is what a direct-tcpip channel asks for.
type target struct {
	host string // as the client wrote it
	port uint16
}

// maxHost is the length of the longest host name, RFC 1035 section 2.3.4.
const maxHost = 253

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
	_ = s.keys.Refresh() // reported
	key := c.key()
	if key == nil {
		c.refuse(nc, RefusedKey)
		c.end(endKey)
		return
	}
	named := s.opts.Named[net.JoinHostPort(t.host, strconv.Itoa(int(t.port)))]
	if !key.Permits(t.host, t.port) || named == nil && !s.opts.PermitOpen(c.hub, t.host, t.port) {
		c.refuse(nc, RefusedTarget)
		return
	}
	start := time.Now()
	remote, err := s.connect(c, t, named)
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
	(&channel{conn: c, target: t, ssh: ch, remote: remote}).splice(requests)
}

// connect makes the connection to a target, by the function of one that is named.
func (s *Server) connect(
	c *conn, t target, named func(context.Context, netip.Addr) (net.Conn, error),
) (net.Conn, error) {
	if named != nil {
		return named(c.ctx, c.source)
	}
	return s.dial(c.ctx, t)
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
