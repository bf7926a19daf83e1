package tunnels

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/sshd/wire"
)

// identification is what we send first, RFC 4253 section 4.2. It gives no version.
const identification = "SSH-2.0-Outpost_tunnels"

// ciphers are those of which package wire sees the packets; our server and OpenSSH have both.
var ciphers = []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM}

var (
	// errWrongHostKey means that a server has proved another key than those of the system.
	errWrongHostKey = errors.New("the host key is not one of the system's")
	// errRefusedKey means that the system does not let our key in.
	errRefusedKey = errors.New("the system does not accept the key of the tunnels")
)

// connection is one SSH connection to a system.
type connection struct {
	system  System
	hostKey ssh.PublicKey
	wire    *wire.Conn
	ssh     ssh.Conn
	silence time.Duration // after which it is dead

	ended   chan struct{} // closed by end
	end     func()        // closes it, whatever is under way
	retired chan struct{} // closed by retire
	tasks   sync.WaitGroup

	mu       sync.Mutex
	channels int
	leaving  bool // retired

	reads   sync.Mutex
	changed sync.Cond // of the two
	reading bool      // the library waits for more
	broken  bool      // nothing more can be read
}

// dial connects and logs in within a time. Errors are errWrongHostKey, errRefusedKey, or say why the system cannot be
// reached.
func dial(ctx context.Context, system System, key ssh.Signer, l limits) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, l.dial)
	defer cancel()
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", system.address())
	if err != nil {
		return nil, err
	}
	c := &connection{
		system: system, wire: wire.New(raw), silence: l.silence,
		ended: make(chan struct{}), retired: make(chan struct{}),
	}
	c.wire.Framing = wire.GCM
	c.changed.L = &c.reads
	c.end = sync.OnceFunc(func() {
		close(c.ended)
		c.wire.Abort()
		c.note(false, true)
	})
	unhook := context.AfterFunc(ctx, c.end)
	var wrong, proved bool
	config := &ssh.ClientConfig{
		Config: ssh.Config{Ciphers: ciphers}, ClientVersion: identification,
		User: system.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyAlgorithms: system.algorithms(),
		HostKeyCallback: func(_ string, _ net.Addr, hostKey ssh.PublicKey) error {
			if proved { // keys are exchanged anew, and who has proved itself is who it was
				return sameKey(c.hostKey, hostKey)
			}
			if wrong = !system.trusts(hostKey); wrong {
				return errWrongHostKey
			}
			c.hostKey, proved = hostKey, true
			return nil
		},
	}
	conn, channels, requests, err := ssh.NewClientConn(reading{c.wire, c}, system.address(), config)
	if !unhook() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		err = reasonOfDial(ctx, err, wrong, proved, c.isBroken())
		c.end()
		return nil, err
	}
	c.ssh = conn
	c.wire.Gather()
	c.tasks.Go(func() { ssh.DiscardRequests(requests) })
	c.tasks.Go(func() {
		for nc := range channels {
			_ = nc.Reject(ssh.Prohibited, "not permitted") // no outpost opens one
		}
		c.end()
	})
	c.tasks.Go(c.keepAlive)
	return c, nil
}

// reasonOfDial sorts a failed login. What a server says before its key is proved is not believed.
func reasonOfDial(ctx context.Context, err error, wrong, proved, broken bool) error {
	var none *ssh.AlgorithmNegotiationError
	switch {
	case wrong:
		return errWrongHostKey
	case ctx.Err() != nil:
		return ctx.Err()
	case proved && !broken:
		return errRefusedKey
	case errors.As(err, &none):
		return errors.Join(errWrongHostKey, err) // it has no key of the pinned types, or is too old for us
	}
	return err
}

// sameKey returns nil if a key is the one that was proved before.
func sameKey(proved, key ssh.PublicKey) error {
	if bytes.Equal(proved.Marshal(), key.Marshal()) {
		return nil
	}
	return errWrongHostKey
}

// reading notes when the library reads on, and when nothing more can be read.
type reading struct {
	*wire.Conn
	c *connection
}

func (r reading) Read(p []byte) (int, error) {
	r.c.note(true, false)
	n, err := r.Conn.Read(p)
	r.c.note(false, err != nil)
	return n, err
}

// note notes what is known of reading. A connection that is broken stays so.
func (c *connection) note(reading, broken bool) {
	c.reads.Lock()
	defer c.reads.Unlock()
	c.reading, c.broken = reading, c.broken || broken
	c.changed.Broadcast()
}

func (c *connection) isBroken() bool {
	c.reads.Lock()
	defer c.reads.Unlock()
	return c.broken
}

// sound reports whether the library has made sense of all that it has read. It waits until the library reads on, or
// never will: by a damaged packet the library ends the connection, and tells its channels that they are at their end
// before it tells anybody else.
func (c *connection) sound() bool {
	c.reads.Lock()
	defer c.reads.Unlock()
	for !c.reading && !c.broken {
		c.changed.Wait()
	}
	return !c.broken
}

// keepAlive ends the connection when nothing has come for its silence, although an answer was asked for.
func (c *connection) keepAlive() {
	tick := time.NewTicker(c.silence / 12)
	defer tick.Stop()
	heard, received := time.Now(), c.wire.Received()
	var asking atomic.Bool
	for {
		select {
		case <-c.ended:
			return
		case <-tick.C:
		}
		if n := c.wire.Received(); n != received {
			heard, received = time.Now(), n
		}
		switch silent := time.Since(heard); {
		case silent >= c.silence-c.silence/12:
			c.end()
			return
		case silent >= c.silence/3 && asking.CompareAndSwap(false, true):
			c.tasks.Go(func() {
				_, _, _ = c.ssh.SendRequest("keepalive@openssh.com", true, nil) // any answer is a sign of life
				asking.Store(false)
			})
		}
	}
}

// wait returns when all that was started for the connection has ended. The library may hang when a server breaks the
// protocol, so there is a limit.
func (c *connection) wait(grace time.Duration) {
	done := make(chan struct{})
	go func() {
		c.tasks.Wait()
		_ = c.ssh.Wait() // always an error
		c.wire.Wait()
		close(done)
	}()
	limit := time.NewTimer(grace)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
	}
}

// retire lets the channels go on and the connection end with the last of them.
func (c *connection) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving {
		return
	}
	c.leaving = true
	close(c.retired)
	if c.channels == 0 {
		c.end()
	}
}

// take counts a channel; release gives it back.
func (c *connection) take() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.channels++
}

func (c *connection) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.channels--; c.channels == 0 && c.leaving {
		c.end()
	}
}

// channel is an open direct-tcpip channel.
type channel struct {
	ssh.Channel
	requests <-chan *ssh.Request
	conn     *connection
}

// open opens a channel (RFC 4254 section 7.2) within a time. The caller calls conn.release when it is done with it. An
// error of type *ssh.OpenChannelError is the system's answer; otherwise time is over, or the connection is lost.
func (c *connection) open(ctx context.Context, t Target, limit time.Duration) (*channel, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	payload := ssh.Marshal(struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}{t.Host, uint32(t.Port), "0.0.0.0", 0})
	type answer struct {
		ch  *channel
		err error
	}
	c.take()
	answers := make(chan answer, 1)
	go func() {
		ch, requests, err := c.ssh.OpenChannel("direct-tcpip", payload)
		answers <- answer{&channel{ch, requests, c}, err}
	}()
	var err error
	select {
	case a := <-answers:
		if a.err != nil {
			c.release()
			return nil, a.err
		}
		return a.ch, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-c.ended:
		err = io.ErrUnexpectedEOF
	}
	go func() { // the answer comes, at the latest with the end of the connection
		if a := <-answers; a.err == nil {
			_ = a.ch.Close() // nobody waits for it any more
			ssh.DiscardRequests(a.ch.requests)
		}
		c.release()
	}()
	return nil, err
}
