package tunnels

import (
	"context"
	"net"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/outposts-dev/outposts/server/tunnels/remote"
)

// table has the listeners and the lines, and makes them as claims and systems say. One goroutine uses it.
type table struct {
	t         *Tunnels
	ctx       context.Context // ends with the process, not before streams have had their time
	lines     map[string]*line
	listeners map[uint16]*listener
	places    chan struct{}
	backlog   *backlog
	failing   map[uint16]struct{} // ports that could not be listened on
	stopping  bool
	streams   sync.WaitGroup // listeners that are open, or whose streams are
	running   sync.WaitGroup // lines
}

func newTable(ctx context.Context, t *Tunnels) *table {
	return &table{
		t: t, ctx: ctx, lines: map[string]*line{}, listeners: map[uint16]*listener{},
		places: make(chan struct{}, t.limits.streams), backlog: newBacklog(t.limits.backlog),
		failing: map[uint16]struct{}{},
	}
}

// useSystems starts, changes and ends lines.
func (tb *table) useSystems(systems map[string]remote.System) {
	for name, l := range tb.lines {
		// One that is reached in another way begins anew.
		if system, ok := systems[name]; !ok || system.DialsOut != l.dialsOut() {
			l.cancel()
			delete(tb.lines, name)
		}
	}
	for name, system := range systems {
		if l := tb.lines[name]; l != nil {
			l.setSystem(system)
			continue
		}
		l := newLine(tb.ctx, name, system, tb.t)
		tb.lines[name] = l
		tb.running.Go(l.run)
	}
	tb.t.show(tb.lines)
}

// useRoutes closes and opens listeners until they are those of the routes. Ports that were freed rest first. It returns
// when it has to be called again: a port rests, or could not be listened on; the zero time for no need.
func (tb *table) useRoutes(routes map[uint16]route, freed map[uint16]time.Time) (again time.Time) {
	for port, l := range tb.listeners {
		if r, ok := routes[port]; ok && r == l.route && tb.lines[r.system] == l.line {
			continue
		}
		l.close()
		delete(tb.listeners, port)
	}
	later := func(at time.Time) {
		if again.IsZero() || at.Before(again) {
			again = at
		}
	}
	for port, r := range routes {
		if tb.listeners[port] != nil || tb.stopping {
			continue
		}
		if at, rests := freed[port]; rests {
			later(at.Add(tb.t.limits.rest))
			continue
		}
		err := tb.listen(r)
		if err == nil {
			delete(tb.failing, port)
			continue
		}
		if _, said := tb.failing[port]; !said {
			tb.failing[port] = struct{}{}
			tb.t.log.Error("port cannot be listened on, retrying", "port", port, "service", r.name, "err", err)
		}
		later(time.Now().Add(tb.t.limits.pause))
	}
	return again
}

// listen opens a listener.
func (tb *table) listen(r route) error {
	open, err := tb.t.opts.Listen(tb.ctx, r.port)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(tb.ctx)
	l := &listener{
		route: r, line: tb.lines[r.system], places: tb.places, backlog: tb.backlog, limits: tb.t.limits, log: tb.t.log,
		net: open, ctx: ctx, cancel: cancel, streams: map[net.Conn]struct{}{},
	}
	tb.listeners[r.port] = l
	tb.streams.Go(func() {
		defer cancel()
		l.run()
		l.wait()
	})
	return nil
}

// served returns the Services whose ports are listened on.
func (tb *table) served() map[uint16]types.UID {
	served := make(map[uint16]types.UID, len(tb.listeners))
	for port, l := range tb.listeners {
		served[port] = l.route.uid
	}
	return served
}

// stop accepts no more connections, and opens no more listeners.
func (tb *table) stop() {
	tb.stopping = true
	for _, l := range tb.listeners {
		l.stop()
	}
}

// close ends what still runs. The table must not be used afterwards.
func (tb *table) close() {
	for _, l := range tb.listeners {
		l.close()
	}
	for _, l := range tb.lines {
		l.cancel()
	}
	tb.streams.Wait()
	tb.running.Wait()
}

// listenOn listens on a port of every address.
func listenOn(ctx context.Context, port uint16) (net.Listener, error) {
	var lc net.ListenConfig
	address := net.TCPAddr{Port: int(port)}
	return lc.Listen(ctx, "tcp", address.String())
}
