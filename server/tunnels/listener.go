package tunnels

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// listener serves the port of one route for as long as the route holds.
type listener struct {
	route   route
	line    *line
	places  chan struct{} // of all streams of this process
	backlog *backlog      // of all streams of this process
	limits  limits
	log     *slog.Logger
	net     net.Listener
	ctx     context.Context // ends with the streams
	cancel  context.CancelFunc
	tasks   sync.WaitGroup

	mu      sync.Mutex
	closing bool // no new stream
	streams map[net.Conn]struct{}
}

// run accepts connections until the listener is closed.
func (l *listener) run() {
	for pause := time.Duration(0); ; {
		conn, err := l.net.Accept()
		if err == nil {
			pause = 0
			l.admit(conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// Out of descriptors, or the other side has gone already.
		l.log.Error("connection not accepted", "port", l.route.port, "err", err)
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		if !sleep(l.ctx, pause) {
			return
		}
	}
}

// admit starts a stream, unless there are too many or the listener is being closed.
func (l *listener) admit(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		reset(conn)
		return
	}
	if len(l.streams) >= l.limits.tunnelStreams {
		l.count(streamLimit)
		reset(conn)
		return
	}
	select {
	case l.places <- struct{}{}:
	default:
		l.count(streamLimit)
		reset(conn)
		return
	}
	l.streams[conn] = struct{}{}
	l.tasks.Go(func() {
		l.serve(conn)
		<-l.places
	})
}

// serve is the life of one stream.
func (l *listener) serve(conn net.Conn) {
	defer func() {
		l.mu.Lock()
		delete(l.streams, conn)
		l.mu.Unlock()
		_ = conn.Close() // it may be closed
	}()
	start := time.Now()
	ch, err := l.line.open(l.ctx, l.route.target)
	if err != nil {
		reset(conn)
		if l.ctx.Err() != nil {
			return
		}
		l.count(resultOf(err))
		l.log.Debug("stream not opened", "service", l.route.name, "system", l.route.system,
			"target", l.route.target.String(), "err", err)
		return
	}
	l.count(streamOpened)
	l.line.metrics.openSeconds.WithLabelValues(l.route.system).Observe(time.Since(start).Seconds())
	l.line.streams.Add(1)
	defer l.line.streams.Add(-1)
	s := &stream{near: conn, ch: ch, listener: l, line: l.line, backlog: l.backlog}
	unhook := context.AfterFunc(l.ctx, s.abort)
	defer unhook()
	s.run()
}

// Results of a stream, for metrics.
const (
	streamOpened      = "opened"
	streamRefused     = "refused"       // the system does not permit the target: its server has ended
	streamUnreachable = "unreachable"   // the system cannot reach the target
	streamNoRoom      = "no_room"       // the system has too many
	streamUnconnected = "no_connection" // there was no connection for as long as a stream waits
	streamLimit       = "limit"         // there are too many here
	streamStalled     = "stalled"       // broken after it was opened: its browser did not read, and too much waited
)

// count counts a stream by its result.
func (l *listener) count(result string) {
	l.line.metrics.streams.WithLabelValues(l.route.system, result).Inc()
}

// resultOf sorts the failure of a stream.
func resultOf(err error) string {
	var answer *ssh.OpenChannelError
	if !errors.As(err, &answer) {
		return streamUnconnected
	}
	switch answer.Reason {
	case ssh.ConnectionFailed:
		return streamUnreachable
	case ssh.ResourceShortage:
		return streamNoRoom
	}
	return streamRefused
}

// stop accepts no more connections. Streams go on.
func (l *listener) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closing {
		l.closing = true
		_ = l.net.Close() // what waits there is reset
	}
}

// close ends listener and streams: when it returns, no byte goes either way any more.
func (l *listener) close() {
	l.stop()
	l.cancel()
	l.mu.Lock()
	for conn := range l.streams {
		reset(conn)
	}
	l.mu.Unlock()
}

// wait returns when nothing of it runs any more.
func (l *listener) wait() { l.tasks.Wait() }
