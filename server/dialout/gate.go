package dialout

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/outposts-dev/outposts/server/source"
)

// GateOptions is what a [Gate] needs (the first block) and what it may be told (the rest; zero values are defaults).
type GateOptions struct {
	// Replica is the name of this process, another one with each start.
	Replica string
	// DialsOut reports whether there is a system of this name whose outpost makes the connections.
	DialsOut func(system string) bool
	// Join uses a connection until it ends, and returns why it did, in a word that the outpost is told; "" for no
	// reason. It calls proved as soon as the outpost has proved its host key, and ends the connection if that returns
	// false.
	Join func(ctx context.Context, system, process string, conn net.Conn, proved func() bool) (reason string)

	// Stopping is closed when no more connections are taken.
	Stopping <-chan struct{}
	// Proved is called with the request's context when a connection is that of a system; it returns false for one too
	// many.
	Proved func(ctx context.Context, system string) bool
	// Dropped is called for each connection that another one has taken the place of before its host key was proved.
	Dropped func()
	// Logger gets a line for each connection that is not used, at debug level.
	Logger *slog.Logger
}

// Connections whose host key is not proved, of all sources and of one. A login needs its place for some round trips.
const (
	maxUnproved          = 512
	maxUnprovedPerSource = 128
)

// deliverGrace is how long an outpost may take for what was sent before its connection was ended.
const deliverGrace = 5 * time.Second

// Gate is an [http.Handler] that takes the connections of outposts. The last element of a request's path is the name of
// a system. Anybody may ask: until a connection has proved its host key it holds a place that others may take.
type Gate struct {
	opts      GateOptions
	log       *slog.Logger
	newcomers *source.Queue
	carried   sync.WaitGroup
}

// NewGate returns a gate.
func NewGate(o GateOptions) *Gate {
	if o.Proved == nil {
		o.Proved = func(context.Context, string) bool { return true }
	}
	if o.Dropped == nil {
		o.Dropped = func() {}
	}
	return &Gate{
		opts: o, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		newcomers: source.NewQueue(maxUnproved, maxUnprovedPerSource, someOld),
	}
}

// someOld returns one of the older half of a list by chance: a flood's own stay for long, a login for some round trips.
func someOld(list []*source.Place) *source.Place { return list[rand.IntN((len(list)+1)/2)] }

// Wait returns when no connection is left. Whoever uses them ends them.
func (g *Gate) Wait() { g.carried.Wait() }

// ServeHTTP implements http.Handler.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(replicaHeader, g.opts.Replica)
	system := systemOf(r.URL.Path)
	select {
	case <-g.opts.Stopping:
		http.Error(w, "this replica of the tunnels is stopping", http.StatusServiceUnavailable)
		return
	default:
	}
	if !g.opts.DialsOut(system) {
		http.Error(w, "the tunnels know no system of this name that dials out", http.StatusNotFound)
		return
	}
	if slices.Contains(strings.Fields(r.Header.Get(replicasHeader)), g.opts.Replica) {
		// A proxy on the way that kept this connection would lead the next attempt to this replica again.
		w.Header().Set("Connection", "close")
		http.Error(w, "there is a connection to this replica", http.StatusConflict)
		return
	}
	near, far := net.Pipe()
	from := sourceOf(r)
	// The queue may drop it at any time, so that the place comes before the connection is upgraded.
	place := g.newcomers.Add(source.Of(from), func() {
		g.opts.Dropped()
		_ = near.Close() // both sides find it closed
	})
	defer g.newcomers.Remove(place)
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it is answered
	}
	g.carried.Add(1)
	defer g.carried.Done()
	proved := func() bool { return g.newcomers.Remove(place) && g.opts.Proved(r.Context(), system) }
	log := g.log.With("system", system, "source", from.String())
	ctx := context.WithoutCancel(r.Context())
	joined := make(chan string, 1)
	carried, end := context.WithCancel(ctx)
	defer end()
	go func() {
		joined <- g.opts.Join(ctx, system, cut(r.Header.Get(processHeader)), near, proved)
		time.AfterFunc(deliverGrace, end) // who does not read holds it up no longer
	}()
	err = carry(carried, ws, far, func() string { return <-joined })
	log.Debug("connection of an outpost ended", "err", err)
}

// systemOf returns the name of the system at the end of a path; "" for none.
func systemOf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// cut bounds what a stranger calls itself.
func cut(process string) string { return process[:min(len(process), 64)] }

// sourceOf returns the address of who asks: that which the proxy before us has seen, the last of X-Forwarded-For. It is
// as good as the proxy; who comes past it can at most take the places of others.
func sourceOf(r *http.Request) netip.Addr {
	if list := r.Header.Values("X-Forwarded-For"); len(list) > 0 {
		last := list[len(list)-1]
		if a, err := netip.ParseAddr(strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])); err == nil {
			return a
		}
	}
	a, _ := netip.ParseAddrPort(r.RemoteAddr)
	return a.Addr()
}
