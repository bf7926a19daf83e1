package tunnels

import (
	"context"
	"net"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/tunnels/remote"
)

// maxJoined is how many processes of one outpost may be connected at once. Its Deployment has one or two.
const maxJoined = 8

// joined is a connection that a system has made.
type joined struct {
	*remote.Conn
	process string
}

// Join uses a connection that the outpost of a system has made, whose SSH server is at its other end, until it ends;
// then it is closed. proved is called when that has proved one of the system's host keys; the connection ends if it
// returns false. process distinguishes the processes of one outpost: a connection takes the place of an earlier one of
// the same process, whose streams go on, and stands beside those of others. The newest one has the new streams. Join
// returns Lost after a connection that was used, and otherwise why it was not.
func (t *Tunnels) Join(ctx context.Context, system, process string, raw net.Conn, proved func() bool) State {
	l := t.shown()[system]
	if l == nil || !l.dialsOut() {
		_ = raw.Close() // nothing was sent
		return Unreachable
	}
	return l.join(ctx, process, raw, proved)
}

// DialsOut reports whether there is a system of this name that makes its connections itself.
func (t *Tunnels) DialsOut(system string) bool {
	l := t.shown()[system]
	return l != nil && l.dialsOut()
}

// lastSeen returns when a connection has ended last; the zero time for never.
func (l *line) lastSeen() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen
}

func (l *line) dialsOut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.system.DialsOut
}

func (l *line) join(ctx context.Context, process string, raw net.Conn, proved func() bool) State {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	l.mu.Lock()
	system := l.system
	l.mu.Unlock()
	start := time.Now()
	c, err := remote.Login(ctx, raw, system, l.key(), l.limits.remote())
	state := stateOf(err)
	l.metrics.connections.WithLabelValues(l.name, string(state)).Inc()
	l.metrics.connectSeconds.WithLabelValues(l.name).Observe(time.Since(start).Seconds())
	if err != nil {
		l.refused(state, err)
		return state
	}
	if !proved() {
		c.End()
		c.Wait(l.limits.library)
		return Unreachable
	}
	l.log.Info("the system has connected", "process", process, "host_key", ssh.FingerprintSHA256(c.HostKey()))
	l.add(&joined{c, process})
	select {
	case <-c.Ended():
	case <-ctx.Done():
		c.End()
	}
	l.remove(c)
	l.log.Warn("connection lost", "process", process, "duration", time.Since(start).Round(time.Millisecond))
	c.Wait(l.limits.library)
	return Lost
}

// refused notes a connection that could not be used. Anybody may connect in the name of a system, so only who has
// proved its host key says something about its state.
func (l *line) refused(state State, err error) {
	l.mu.Lock()
	if state == RefusedKey && l.conn == nil {
		l.put(nil, state)
	}
	l.mu.Unlock()
	l.log.Debug("connection of the system not used", "state", string(state), "err", err)
}

// add puts a connection into use for new streams.
func (l *line) add(c *joined) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, earlier := range l.joined {
		if earlier.process == c.process {
			earlier.Retire()
		}
	}
	l.joined = append(l.joined, c)
	if len(l.joined) > maxJoined {
		l.joined[0].Retire()
	}
	l.choose()
}

// remove takes a connection out of use.
func (l *line) remove(c *remote.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.joined = slices.DeleteFunc(l.joined, func(j *joined) bool { return j.Conn == c })
	l.choose()
}

// demote lets new streams go another way than through a connection whose end has no room, if there is one.
func (l *line) demote(c *remote.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.joined, func(j *joined) bool { return j.Conn == c })
	if i < 0 || len(l.joined) < 2 {
		return
	}
	j := l.joined[i]
	l.joined = slices.Insert(slices.Delete(l.joined, i, i+1), 0, j)
	l.choose()
}

// choose puts the newest connection into use that is not to end. The lock is held.
func (l *line) choose() {
	var c *remote.Conn
	for _, j := range l.joined {
		if !j.Leaving() {
			c = j.Conn
		}
	}
	switch {
	case c == nil:
		l.put(nil, Waiting)
	case c != l.conn:
		l.put(c, Connected)
	}
}

// SystemState says whether a system can be reached, in JSON.
type SystemState struct {
	State State `json:"state"`
	// LastSeen is when there was a connection last; nil if there is one, or there was none.
	LastSeen *time.Time `json:"lastSeen,omitempty"`
	// Message is a sentence for users about a system that dials out and has not.
	Message string `json:"message,omitempty"`
}

// System returns whether a system can be reached; false if there is no such system.
func (t *Tunnels) System(name string) (SystemState, bool) {
	l := t.shown()[name]
	if l == nil {
		return SystemState{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := SystemState{State: l.state}
	if l.conn == nil && !l.seen.IsZero() {
		seen := l.seen.UTC().Truncate(time.Second)
		s.LastSeen = &seen
	}
	if s.State == Waiting {
		s.Message = "Waiting for the outpost."
		if s.LastSeen != nil {
			s.Message = "Waiting for the outpost, last seen " + s.LastSeen.Format("15:04") + " UTC."
		}
	}
	return s, true
}

// Dial opens a stream to a target of a system. It waits for a connection as streams do. The stream has neither
// addresses nor deadlines.
func (t *Tunnels) Dial(ctx context.Context, system string, target Target) (net.Conn, error) {
	l := t.shown()[system]
	if l == nil {
		return nil, errNoConnection
	}
	ch, err := l.open(ctx, target)
	if err != nil {
		return nil, err
	}
	return ch.NetConn(), nil
}
