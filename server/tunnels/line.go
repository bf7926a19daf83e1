package tunnels

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/sshd/wire"
	"github.com/outposts-dev/outposts/server/tunnels/remote"
)

// State says whether a system can be reached.
type State string

// The states of a system. All but Connected and Connecting are reasons why there is no connection.
const (
	Connected    State = "connected"
	Connecting   State = "connecting"     // no attempt has ended yet
	Lost         State = "lost"           // the connection has ended, and the next attempt has not
	Unreachable  State = "unreachable"    // no such host, no route, no answer, or it breaks off
	WrongHostKey State = "wrong_host_key" // nothing is sent there
	RefusedKey   State = "refused_key"    // the system does not let the key of the tunnels in
	Waiting      State = "waiting"        // for a system that dials out
)

// line keeps one SSH connection to a system: one that is lost is renewed at once, then after growing pauses. Of a
// system that dials out it takes those that come (joined.go).
type line struct {
	name    string
	limits  limits
	key     func() ssh.Signer
	log     *slog.Logger
	metrics *metrics
	ctx     context.Context
	cancel  context.CancelFunc // ends ctx, and with it run
	wanted  chan struct{}      // a stream waits; capacity 1
	news    chan struct{}      // what is dialled has changed; capacity 1

	streams, up, down atomic.Int64 // open streams, and bytes ever
	mover             *wire.Mover

	mu      sync.Mutex
	system  remote.System
	conn    *remote.Conn // for new streams; nil if there is none
	joined  []*joined
	seen    time.Time // when conn has ended; zero if there was none
	state   State
	changed chan struct{} // closed when conn changes
}

func newLine(ctx context.Context, name string, system remote.System, t *Tunnels) *line {
	ctx, cancel := context.WithCancel(ctx)
	l := &line{
		name: name, limits: t.limits, key: t.currentKey, log: t.log.With("system", name), metrics: t.metrics,
		ctx: ctx, cancel: cancel, wanted: make(chan struct{}, 1), news: make(chan struct{}, 1),
		system: system, state: Connecting, changed: make(chan struct{}),
	}
	l.mover = t.movers.Mover(func() int64 { return l.up.Load() + l.down.Load() })
	if system.DialsOut {
		l.state = Waiting
	}
	return l
}

// setSystem puts changed data into use. A connection to another address, or of another user, is for the streams that it
// has; one with a host key that is trusted no more ends.
func (l *line) setSystem(system remote.System) {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := !reflect.DeepEqual(l.system, system)
	l.system = system
	l.review()
	if changed {
		l.tryAgain()
	}
}

// tryAgain ends a pause: what the last attempt has failed for may be over.
func (l *line) tryAgain() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// review ends or retires connections that are not as the system's data say. The lock is held.
func (l *line) review() {
	all := []*remote.Conn{l.conn}
	for _, j := range l.joined {
		all = append(all, j.Conn)
	}
	for _, c := range all {
		switch system := l.system; {
		case c == nil:
		case !system.Trusts(c.HostKey()):
			c.End()
		case !c.IsOf(system):
			c.Retire()
		}
	}
}

// current returns the connection, nil without one, and what tells that it has changed.
func (l *line) current() (*remote.Conn, State, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn, l.state, l.changed
}

// set notes a connection, or why there is none. It reports whether the state is another one.
func (l *line) set(c *remote.Conn, state State) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.put(c, state)
}

// put is set with the lock held.
func (l *line) put(c *remote.Conn, state State) bool {
	was := l.state
	if l.conn != nil {
		l.seen = time.Now()
	}
	l.conn, l.state = c, state
	l.review() // the data may have changed since it was dialled
	close(l.changed)
	l.changed = make(chan struct{})
	return was != state
}

// run keeps the connection until ctx ends. It returns when nothing of it runs any more, within the library's grace.
func (l *line) run() {
	ctx := l.ctx
	if l.dialsOut() {
		return
	}
	var ended sync.WaitGroup
	defer ended.Wait()
	for failures := 0; ctx.Err() == nil; {
		c, err := l.connect(ctx)
		if err != nil {
			failures++
			l.pause(ctx, failures, err)
			continue
		}
		ended.Go(func() {
			select {
			case <-c.Ended():
			case <-ctx.Done():
				c.End()
			}
			c.Wait(l.limits.library)
		})
		began := time.Now()
		select {
		case <-c.Ended():
			l.log.Warn("connection lost", "duration", time.Since(began).Round(time.Millisecond))
		case <-c.Retired():
			l.log.Info("connection is replaced, the system's data have changed")
		case <-ctx.Done():
		}
		l.set(nil, Lost)
		if failures++; time.Since(began) >= l.limits.steady {
			failures = 0
		} else {
			l.pause(ctx, failures, nil)
		}
	}
}

// connect makes a connection and puts it into use.
func (l *line) connect(ctx context.Context) (*remote.Conn, error) {
	l.mu.Lock()
	system := l.system
	l.mu.Unlock()
	start := time.Now()
	c, err := remote.Dial(ctx, system, l.key(), l.limits.remote())
	state := stateOf(err)
	if ctx.Err() == nil {
		l.metrics.connections.WithLabelValues(l.name, string(state)).Inc()
		l.metrics.connectSeconds.WithLabelValues(l.name).Observe(time.Since(start).Seconds())
	}
	changed := l.set(c, state)
	if err != nil {
		if changed && ctx.Err() == nil { // once for each reason
			l.log.Warn("no connection to the system", "state", string(state), "err", err)
		}
		return nil, err
	}
	l.log.Info("connected to the system", "host_key", ssh.FingerprintSHA256(c.HostKey()))
	return c, nil
}

func stateOf(err error) State {
	switch {
	case err == nil:
		return Connected
	case errors.Is(err, remote.ErrWrongHostKey):
		return WrongHostKey
	case errors.Is(err, remote.ErrRefusedKey):
		return RefusedKey
	}
	return Unreachable
}

// pause waits after a number of failures in a row, until something is new. A stream that waits ends it early, unless
// another attempt would only fail in the same way.
func (l *line) pause(ctx context.Context, failures int, err error) {
	first, longest := l.limits.pause, l.limits.longestPause
	wait := min(first<<min(failures-1, 10), longest)
	wait += time.Duration(rand.Int64N(int64(wait)/4 + 1)) // replicas and systems do not come all at once
	wanted := l.wanted
	if state := stateOf(err); state == WrongHostKey || state == RefusedKey {
		wanted = nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	select {
	case <-time.After(first):
	case <-l.news:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-wanted:
	case <-l.news:
	case <-ctx.Done():
	}
}

// sleep waits, and reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// errNoConnection means that there was no connection to the system for as long as a stream waits for one.
var errNoConnection = errors.New("there is no connection to the system")

// open opens a channel. It waits for a connection if there is none, and for the next one if it is lost meanwhile.
// Nothing has been sent until then, so that it can be asked for again. A system that has no room, as one that is about
// to restart, is asked again for as long.
func (l *line) open(ctx context.Context, t Target) (*remote.Channel, error) {
	patience, cancel := context.WithTimeout(ctx, l.limits.wait)
	defer cancel()
	for {
		c, err := l.connection(patience)
		if err != nil {
			return nil, err
		}
		ch, err := c.Open(ctx, t.Host, t.Port, l.limits.open)
		var answer *ssh.OpenChannelError
		switch {
		case err == nil:
			return ch, nil
		case errors.As(err, &answer) && answer.Reason == ssh.ResourceShortage:
			l.demote(c)
			if !sleep(patience, l.limits.pause) {
				return nil, err
			}
		case errors.As(err, &answer), errors.Is(err, context.DeadlineExceeded), ctx.Err() != nil:
			return nil, err
		default: // lost, or about to be
			select {
			case <-c.Ended():
			case <-patience.Done():
				return nil, errNoConnection
			}
		}
	}
}

// connection waits for the connection.
func (l *line) connection(ctx context.Context) (*remote.Conn, error) {
	for {
		c, _, changed := l.current()
		if c != nil {
			select {
			case <-c.Ended(): // and run has not noticed yet
			default:
				return c, nil
			}
		}
		select {
		case l.wanted <- struct{}{}:
		default:
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, errNoConnection
		}
	}
}
