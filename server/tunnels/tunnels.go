package tunnels

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"k8s.io/client-go/kubernetes"

	"github.com/outposts-dev/outposts/server/sshd/wire"
	"github.com/outposts-dev/outposts/server/tunnels/remote"
)

// Options is what [New] may be told; zero values are defaults.
type Options struct {
	// Drain is how long streams may last after the context of Run has ended. Default: they end at once.
	Drain time.Duration
	// Moving is called with the number of systems to or from which much data moves, each time that it changes. Calls
	// come one after the other and hold up what is moved. Default: nobody.
	Moving func(systems int)
	// Logger gets one line for each change of a connection. Default: nothing is logged.
	Logger *slog.Logger
	// Listen listens on a port. Default: TCP, on every address.
	Listen func(ctx context.Context, port uint16) (net.Listener, error)
}

// Tunnels serves the Services of one hub for remote servers. Make it with [New]. All methods are safe for concurrent
// use; Run is called once. It is a [prometheus.Collector] of what it does.
type Tunnels struct {
	name    string
	ports   Ports
	opts    Options
	limits  limits
	log     *slog.Logger
	metrics *metrics
	watcher *watcher
	teller  *teller
	movers  *wire.Movers  // from Run on
	wake    chan struct{} // something has changed; capacity 1
	serving chan struct{} // closed when what the Services say is served
	served  func()        // closes serving

	mu       sync.Mutex
	key      ssh.Signer
	systems  map[string]remote.System
	lines    map[string]*line        // as the table has them
	services map[string]ServiceState // by name
}

// New returns tunnels that serve nothing yet. name is what the label outposts.dev/tunnels of their Services says, and
// ports those that they may listen on. key is the one to log in to systems with.
func New(
	client kubernetes.Interface, namespace, name string, ports Ports, key ssh.Signer, systems map[string]remote.System,
	o Options,
) (*Tunnels, error) {
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	if o.Listen == nil {
		o.Listen = listenOn
	}
	t := &Tunnels{
		name: name, ports: ports, opts: o, limits: defaultLimits(), log: o.Logger, metrics: newMetrics(),
		teller: newTeller(client, o.Logger), wake: make(chan struct{}, 1), serving: make(chan struct{}),
		key: key, systems: systems,
	}
	t.served = sync.OnceFunc(func() { close(t.serving) })
	var err error
	t.watcher, err = newWatcher(client, namespace, name, t.changed)
	return t, err
}

// SetKey puts another key into use for connections that are made from now on.
func (t *Tunnels) SetKey(key ssh.Signer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.key = key
	for _, l := range t.lines {
		l.tryAgain()
	}
}

func (t *Tunnels) currentKey() ssh.Signer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.key
}

// SetSystems puts other systems into use. A system that is gone, or that has another host key, is connected no more.
// One at another address serves new streams there, and those that are open from where they began.
func (t *Tunnels) SetSystems(systems map[string]remote.System) {
	t.mu.Lock()
	t.systems = systems
	t.mu.Unlock()
	t.changed()
}

// State returns whether a system can be reached; false if there is no such system.
func (t *Tunnels) State(system string) (State, bool) {
	l := t.shown()[system]
	if l == nil {
		return "", false
	}
	_, state, _ := l.current()
	return state, true
}

// Serving returns a channel that is closed as soon as what the Services say is served.
func (t *Tunnels) Serving() <-chan struct{} { return t.serving }

// Ready returns nil as soon as what the Services say is served.
func (t *Tunnels) Ready() error {
	select {
	case <-t.serving:
		return nil
	default:
		return errors.New("the Services of remote servers are not known yet")
	}
}

// changed asks for another look at Services and systems.
func (t *Tunnels) changed() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// show lets others see the lines that the table has.
func (t *Tunnels) show(lines map[string]*line) {
	shown := make(map[string]*line, len(lines))
	for name, l := range lines {
		shown[name] = l
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = shown
}

func (t *Tunnels) shown() map[string]*line {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lines
}

// Run serves until ctx ends. Then it accepts no more connections, lets streams end for the time of Drain, and returns
// when nothing of it runs any more. Streams whose Service is deleted end then, too.
func (t *Tunnels) Run(ctx context.Context) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t.movers = wire.NewMovers(t.limits.look, t.opts.Moving)
	table := newTable(base, t)
	var tasks sync.WaitGroup
	tasks.Go(func() { t.watcher.run(base) })
	tasks.Go(func() { t.teller.queue.Run(base) })
	tasks.Go(func() { table.backlog.run(base) })
	t.follow(ctx, table)
	cancel()
	table.close()
	t.movers.Stop()
	tasks.Wait()
	return nil
}

// follow makes the table as Services and systems say, until ctx and then the streams have ended.
func (t *Tunnels) follow(ctx context.Context, table *table) {
	again := time.NewTimer(0)
	defer again.Stop()
	stopping := ctx.Done()
	var ended chan struct{}
	var late <-chan time.Time
	for {
		select {
		case <-stopping:
			stopping, ended = nil, make(chan struct{})
			table.stop()
			limit := time.NewTimer(t.opts.Drain)
			defer limit.Stop() //nolint:revive // once
			late = limit.C
			go func() {
				table.streams.Wait()
				close(ended)
			}()
		case <-ended:
			return
		case <-late:
			return
		case <-again.C:
		case <-t.wake:
		}
		if next := t.look(table); !next.IsZero() {
			again.Reset(time.Until(next))
		}
	}
}

// look makes the table as Services and systems say now. It returns when it has to be called again; zero for no need.
func (t *Tunnels) look(table *table) (again time.Time) {
	t.mu.Lock()
	systems := t.systems
	t.mu.Unlock()
	table.useSystems(systems)
	services, freed, ok := t.watcher.list(time.Now().Add(-t.limits.rest))
	if !ok {
		return time.Time{}
	}
	c := newClaims(services, t.name, t.ports, func(system string) bool {
		_, ok := systems[system]
		return ok
	}, table.served())
	again = table.useRoutes(c.routes, freed)
	t.teller.tell(c.refused, t.log)
	t.note(c, table)
	t.served()
	return again
}
