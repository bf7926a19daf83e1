package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/crypto/ssh"
	"k8s.io/client-go/kubernetes"

	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/dialout"
	"github.com/outposts-dev/outposts/server/reload"
	"github.com/outposts-dev/outposts/server/sshd/keys"
	"github.com/outposts-dev/outposts/server/tunnels"
	"github.com/outposts-dev/outposts/server/tunnels/remote"
)

// Tunnels is the process that leads a hub's cluster to servers on others. Make it with [NewTunnels], run it with Run.
type Tunnels struct {
	cfg      config.Tunnels
	log      *slog.Logger
	version  string
	tunnels  *tunnels.Tunnels
	reloader *reload.Reloader
	registry *prometheus.Registry
	dropped  *prometheus.CounterVec
	gate     *dialout.Gate
	metrics  net.Listener // nil for none
	dialOut  net.Listener // as above
	api      net.Listener // as above
	settled  func()       // may be nil
	notice   time.Duration
	stopping chan struct{} // closed when this process begins to stop
}

// NewTunnels puts the process together and opens its socket for metrics. It serves nothing until Run. Errors are for
// the operator: they name the variable or file that is wrong. Of the options, Logger, Version, Settled and
// Moving are used, the latter with the number of systems, and Namespace is that of the Services.
func NewTunnels(
	ctx context.Context, cfg config.Tunnels, client kubernetes.Interface, opts Options,
) (*Tunnels, error) {
	t := &Tunnels{
		cfg: cfg, log: cmp.Or(opts.Logger, slog.New(slog.DiscardHandler)), version: opts.Version, settled: opts.Settled,
		notice: noticeTime, registry: prometheus.NewRegistry(), stopping: make(chan struct{}),
	}
	ports, portsErr := tunnels.ParsePorts(cfg.Ports)
	if portsErr != nil {
		portsErr = fmt.Errorf("OUTPOST_TUNNELS_PORTS: %w", portsErr)
	} else if name := cfg.ListenerIn(ports.Contains); name != "" {
		portsErr = fmt.Errorf("%s: its port is one of OUTPOST_TUNNELS_PORTS", name)
	}
	systems, systemsErr := readSystems(cfg.SystemsFile)
	key, keyErr := readTunnelsKey(cfg.KeyFile)
	if err := errors.Join(portsErr, systemsErr, keyErr); err != nil {
		return nil, err
	}
	var err error
	t.tunnels, err = tunnels.New(client, opts.Namespace, cfg.Name, ports, key, systems, tunnels.Options{
		Drain: cfg.Drain, Logger: t.log.With("component", "tunnels"), Moving: opts.Moving,
	})
	if err != nil {
		return nil, err
	}
	t.dropped = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "outpost_http_connections_dropped_total", Help: "HTTP connections closed because of a limit, by reason.",
	}, []string{"reason"})
	t.gate = t.newGate()
	reloads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "outpost_reloads_total", Help: "Reloads of changed files, by result.",
	}, []string{"what", "result"})
	t.registry.MustRegister(t.tunnels, t.dropped, reloads, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	t.reloader = reload.New(t.log.With("component", "reload"), func(what string, err error) {
		reloads.WithLabelValues(what, result(err)).Inc()
	})
	t.watchFiles()
	return t, t.listen(ctx)
}

// listen opens the sockets beside those of Services.
func (t *Tunnels) listen(ctx context.Context) error {
	var lc net.ListenConfig
	for _, l := range []struct {
		name, address string
		to            *net.Listener
	}{
		{"OUTPOST_METRICS_LISTEN", t.cfg.MetricsListen, &t.metrics},
		{"OUTPOST_TUNNELS_DIAL_OUT_LISTEN", t.cfg.DialOutListen, &t.dialOut},
		{"OUTPOST_TUNNELS_API_LISTEN", t.cfg.APIListen, &t.api},
	} {
		if l.address == "" {
			continue
		}
		listener, err := lc.Listen(ctx, "tcp", l.address)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", l.name, err), listeners{t.api, t.metrics, t.dialOut}.close())
		}
		*l.to = listener
	}
	return nil
}

// newGate returns what takes the connections of outposts that dial out.
func (t *Tunnels) newGate() *dialout.Gate {
	return dialout.NewGate(dialout.GateOptions{
		Replica: rand.Text(), DialsOut: t.tunnels.DialsOut, Stopping: t.stopping,
		Join: func(ctx context.Context, system, process string, conn net.Conn, proved func() bool) string {
			end := t.tunnels.Join(ctx, system, process, conn, proved)
			if end == tunnels.Lost {
				return ""
			}
			return string(end)
		},
		Proved: func(ctx context.Context, system string) bool {
			conn, _ := ctx.Value(connectionKey{}).(*connection)
			return conn != nil && conn.LoggedIn(system)
		},
		Dropped: func() { t.dropped.WithLabelValues(droppedNewcomer).Inc() },
		Logger:  t.log.With("component", "dialout"),
	})
}

// connectionKey is where the context of a request has its connection.
type connectionKey struct{}

// dialOutLimits are for a listener behind a proxy: all connections are of one source. The gate has limits by source.
var dialOutLimits = connectionLimits{
	newcomers: 2048, newcomersPerSource: 2048, newcomerTime: 10 * time.Second,
	header: 8 << 10, large: 64, largePerSource: 64,
	perHub: 64, writeTime: time.Minute,
}

// watchFiles names the files that are read again when they change. What is wrong leaves the previous version in use.
func (t *Tunnels) watchFiles() {
	t.reloader.Add("systems", func() error {
		systems, err := readSystems(t.cfg.SystemsFile)
		if err == nil {
			t.tunnels.SetSystems(systems)
		}
		return err
	}, t.cfg.SystemsFile)
	t.reloader.Add("key", func() error {
		key, err := readTunnelsKey(t.cfg.KeyFile)
		if err == nil {
			t.tunnels.SetKey(key)
		}
		return err
	}, t.cfg.KeyFile)
}

func readSystems(path string) (map[string]remote.System, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("OUTPOST_TUNNELS_SYSTEMS_FILE: %w", err)
	}
	systems, err := remote.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("OUTPOST_TUNNELS_SYSTEMS_FILE: %s:\n%w", path, err)
	}
	return systems, nil
}

func readTunnelsKey(path string) (ssh.Signer, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("OUTPOST_TUNNELS_KEY_FILE: %w", err)
	}
	key, err := keys.ParsePrivate(text)
	if err != nil {
		return nil, fmt.Errorf("OUTPOST_TUNNELS_KEY_FILE: %s: %w", path, err)
	}
	return key, nil
}

// DialOutAddr returns the address where outposts connect; nil for none.
func (t *Tunnels) DialOutAddr() net.Addr { return addr(t.dialOut) }

// APIAddr returns the address of the APIs of outposts; nil for none.
func (t *Tunnels) APIAddr() net.Addr { return addr(t.api) }

// MetricsAddr returns the address of metrics, probes and states; nil if they are off.
func (t *Tunnels) MetricsAddr() net.Addr { return addr(t.metrics) }

// Run serves until ctx ends or a part of the process fails. Then it says that it is not ready, accepts no more
// connections, and lets streams end. Call it once.
func (t *Tunnels) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	work := &parts{fail: fail}
	t.serve(work, "metrics", t.metrics, metricsLimits, t.handler())
	t.serve(work, "api", t.api, apiLimits, t.apiHandler())
	t.serve(work, "dialout", t.dialOut, dialOutLimits, t.gate)
	work.start("files", func(ctx context.Context) error { t.reloader.Run(ctx); return nil })
	work.start("tunnels", t.tunnels.Run)
	work.start("settle", t.settle)
	t.log.Info("tunnels are serving", "version", t.version, "name", t.cfg.Name, "ports", t.cfg.Ports,
		"metrics", addressText(t.MetricsAddr()), "dial_out", addressText(t.DialOutAddr()),
		"api", addressText(t.APIAddr()))
	<-ctx.Done()
	cause := failure(ctx)
	if cause != nil {
		t.log.Error("a part of the tunnels has failed", "err", cause)
	}
	t.log.Info("tunnels are stopping")
	close(t.stopping)
	time.Sleep(t.notice) // kube-proxy takes us out of the Services
	work.stopInReverse()
	t.gate.Wait() // the tunnels have ended its connections
	t.log.Info("tunnels have stopped")
	return cause
}

// serve answers requests on a listener, if there is one.
func (t *Tunnels) serve(p *parts, name string, l net.Listener, limits connectionLimits, h http.Handler) {
	if l == nil {
		return
	}
	bounded := newConnections(limits, func(reason string) { t.dropped.WithLabelValues(reason).Inc() })
	server := newHTTPServer(h, t.log.With("component", name), bounded)
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, connectionKey{}, connectionOf(conn))
	}
	listener := bounded.listen(l)
	p.start(name, func(ctx context.Context) error { return serve(ctx, server, listener, 0) })
}

// apiHandler leads requests of the hub to the APIs of outposts that dial out.
func (t *Tunnels) apiHandler() http.Handler {
	target := tunnels.Target{Host: dialout.APIHost, Port: dialout.APIPort}
	api := dialout.NewAPI(t.tunnels.DialsOut, func(ctx context.Context, system string) (net.Conn, error) {
		return t.tunnels.Dial(ctx, system, target)
	}, t.log.With("component", "api"))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Only the hub comes here; a start is answered after minutes.
		if conn, _ := r.Context().Value(connectionKey{}).(*connection); conn == nil || !conn.LoggedIn(t.cfg.Name) {
			http.Error(w, "too many connections", http.StatusServiceUnavailable)
			return
		}
		api.ServeHTTP(w, r)
	})
}

// settle gives memory back that only the start needed.
func (t *Tunnels) settle(ctx context.Context) error {
	select {
	case <-t.tunnels.Serving():
		debug.FreeOSMemory()
		if t.settled != nil {
			t.settled()
		}
	case <-ctx.Done():
	}
	<-ctx.Done()
	return nil
}

// handler answers metrics, probes, and the hub's questions: whether a system can be reached ({"state": "connected"}, or
// another [tunnels.State], see [tunnels.SystemState]), and what has become of a Service ([tunnels.ServiceState]).
func (t *Tunnels) handler() http.Handler {
	ready := &readiness{log: t.log, checks: []check{
		stoppingCheck(t.stopping),
		{name: "services", ask: func(context.Context) error { return t.tunnels.Ready() }},
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", alive)
	mux.Handle("GET /readyz", ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{Registry: t.registry}))
	mux.HandleFunc("GET /systems/{name}", func(w http.ResponseWriter, r *http.Request) {
		state, ok := t.tunnels.System(r.PathValue("name"))
		t.tell(w, state, ok)
	})
	mux.HandleFunc("GET /services/{name}", func(w http.ResponseWriter, r *http.Request) {
		state, ok := t.tunnels.Service(r.PathValue("name"))
		t.tell(w, state, ok)
	})
	return mux
}

// tell answers a question of the hub with a state, or with 404 if this process knows nothing of that name.
func (t *Tunnels) tell(w http.ResponseWriter, state any, ok bool) {
	if !ok {
		http.Error(w, "not known", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(state); err != nil {
		t.log.Debug("answer a state", "err", err)
	}
}
