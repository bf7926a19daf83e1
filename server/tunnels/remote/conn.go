package remote

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

// maxUnproved is how many bytes a server may send before it has proved its host key. It takes a twentieth of them.
const maxUnproved = 64 << 10

// ciphers are those of which package wire sees the packets; our server and OpenSSH have both.
var ciphers = []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM}

var (
	// ErrWrongHostKey means that a server has proved another key than those of the system.
	ErrWrongHostKey = errors.New("the host key is not one of the system's")
	// ErrRefusedKey means that the system does not let our key in.
	ErrRefusedKey = errors.New("the system does not accept the key of the tunnels")
	// errTooMuch means that a server sends more than a login needs.
	errTooMuch = errors.New("the host key is not proved, and too much was sent")
)

// Conn is one SSH connection to a system. All methods are safe for concurrent use.
type Conn struct {
	system  System
	hostKey ssh.PublicKey // never changed once it is proved
	proved  atomic.Bool
	wire    *wire.Conn
	ssh     ssh.Conn
	silence time.Duration // after which it is dead

	ended   chan struct{} // closed by end
	end     func()        // closes it, whatever is under way
	retired chan struct{} // closed by Retire
	tasks   sync.WaitGroup

	mu       sync.Mutex
	channels int
	leaving  bool // retired

	reads   sync.Mutex
	changed sync.Cond // of reading and broken
	reading bool      // the library waits for more
	broken  bool      // nothing more can be read
	closed  bool      // by the library
	lost    bool      // broken before the library has closed it
}

// Limits are for how long is waited.
type Limits struct {
	Dial    time.Duration // for a connection to be made, from the look-up of its name to the login
	Silence time.Duration // after which a connection is dead
}

// Dial connects and logs in within a time. Errors are ErrWrongHostKey, ErrRefusedKey, or say why the system cannot be
// reached.
func Dial(ctx context.Context, system System, key ssh.Signer, l Limits) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, l.Dial)
	defer cancel()
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", system.address())
	if err != nil {
		return nil, err
	}
	return Login(ctx, raw, system, key, l)
}

// Login logs in within a time over a connection that has been made, and closes it if that fails. Errors are those of
// Dial.
func Login(ctx context.Context, raw net.Conn, system System, key ssh.Signer, l Limits) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, l.Dial)
	defer cancel()
	c := &Conn{
		system: system, wire: wire.New(raw), silence: l.Silence,
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
	var wrong bool
	config := &ssh.ClientConfig{
		Config: ssh.Config{Ciphers: ciphers}, ClientVersion: identification,
		User: system.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyAlgorithms: system.algorithms(),
		HostKeyCallback: func(_ string, _ net.Addr, hostKey ssh.PublicKey) error {
			if c.proved.Load() { // keys are exchanged anew, and who has proved itself is who it was
				return sameKey(c.hostKey, hostKey)
			}
			if wrong = !system.Trusts(hostKey); wrong {
				return ErrWrongHostKey
			}
			c.hostKey = hostKey
			c.proved.Store(true)
			return nil
		},
	}
	conn, channels, requests, err := ssh.NewClientConn(reading{c.wire, c}, system.address(), config)
	if !unhook() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		err = reasonOfDial(ctx, err, wrong, c.proved.Load(), c.isLost())
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
func reasonOfDial(ctx context.Context, err error, wrong, proved, lost bool) error {
	var none *ssh.AlgorithmNegotiationError
	switch {
	case wrong:
		return ErrWrongHostKey
	case ctx.Err() != nil:
		return ctx.Err()
	case proved && !lost:
		return ErrRefusedKey
	case errors.As(err, &none):
		return errors.Join(ErrWrongHostKey, err) // it has no key of the pinned types, or is too old for us
	}
	return err
}

// HostKey returns the key that the system has proved.
func (c *Conn) HostKey() ssh.PublicKey { return c.hostKey }

// IsOf reports whether a system is where the connection leads, and is logged in to as the same user.
func (c *Conn) IsOf(system System) bool {
	return c.system.address() == system.address() && c.system.User == system.User
}

// Packets returns how many packets have come.
func (c *Conn) Packets() int64 { return c.wire.Packets() }

// Ended returns a channel that is closed when the connection has ended.
func (c *Conn) Ended() <-chan struct{} { return c.ended }

// End ends the connection, whatever is under way.
func (c *Conn) End() { c.end() }

// Retired returns a channel that is closed by Retire.
func (c *Conn) Retired() <-chan struct{} { return c.retired }

// Leaving reports whether the connection is retired.
func (c *Conn) Leaving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaving
}

// sameKey returns nil if a key is the one that was proved before.
func sameKey(proved, key ssh.PublicKey) error {
	if bytes.Equal(proved.Marshal(), key.Marshal()) {
		return nil
	}
	return ErrWrongHostKey
}

// reading notes when the library reads on, and when nothing more can be read.
type reading struct {
	*wire.Conn
	c *Conn
}

func (r reading) Read(p []byte) (int, error) {
	r.c.note(true, false)
	n, err := r.Conn.Read(p)
	if err == nil && !r.c.proved.Load() && r.c.wire.Received() > maxUnproved {
		err = errTooMuch
	}
	r.c.note(false, err != nil)
	return n, err
}

// Close implements net.Conn. The library closes what it can do nothing with, such as a login that is refused.
func (r reading) Close() error {
	r.c.reads.Lock()
	r.c.closed = true
	r.c.reads.Unlock()
	return r.Conn.Close()
}

// note notes what is known of reading. A connection that is broken stays so.
func (c *Conn) note(reading, broken bool) {
	c.reads.Lock()
	defer c.reads.Unlock()
	c.reading, c.broken = reading, c.broken || broken
	c.lost = c.lost || broken && !c.closed
	c.changed.Broadcast()
}

func (c *Conn) isLost() bool {
	c.reads.Lock()
	defer c.reads.Unlock()
	return c.lost
}

// Sound reports whether the library has made sense of all that it has read. It waits until the library reads on, or
// never will: by a damaged packet the library ends the connection, and tells its channels that they are at their end
// before it tells anybody else.
func (c *Conn) Sound() bool {
	c.reads.Lock()
	defer c.reads.Unlock()
	for !c.reading && !c.broken {
		c.changed.Wait()
	}
	return !c.broken
}

// keepAlive ends the connection when nothing has come for its silence, although an answer was asked for.
func (c *Conn) keepAlive() {
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

// Wait returns when all that was started for the connection has ended. The library may hang when a server breaks the
// protocol, so there is a limit.
func (c *Conn) Wait(grace time.Duration) {
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

// Retire lets the channels go on and the connection end with the last of them.
func (c *Conn) Retire() {
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

// take counts a channel.
func (c *Conn) take() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.channels++
}

// Release gives back the place of a channel. The last one of a retired connection ends it.
func (c *Conn) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.channels--; c.channels == 0 && c.leaving {
		c.end()
	}
}

// Open opens a channel (RFC 4254 section 7.2) within a time. The caller calls Release when it is done with it. An
// error of type *ssh.OpenChannelError is the system's answer; otherwise time is over, or the connection is lost.
func (c *Conn) Open(ctx context.Context, host string, port uint16, limit time.Duration) (*Channel, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	payload := ssh.Marshal(struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}{host, uint32(port), "0.0.0.0", 0})
	type answer struct {
		ch  *Channel
		err error
	}
	c.take()
	answers := make(chan answer, 1)
	go func() {
		ch, requests, err := c.ssh.OpenChannel("direct-tcpip", payload)
		answers <- answer{&Channel{ch, requests, c}, err}
	}()
	var err error
	select {
	case a := <-answers:
		if a.err != nil {
			c.Release()
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
			ssh.DiscardRequests(a.ch.Requests)
		}
		c.Release()
	}()
	return nil, err
}
