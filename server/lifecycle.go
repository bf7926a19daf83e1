package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/store"
)

const (
	databaseWait   = time.Minute      // for a database that does not answer at start
	reachableAfter = 5 * time.Second  // until Kubernetes sends connections to a process that is ready
	noticeTime     = 1 * time.Second  // between "not ready" and no more connections
	drainTime      = 15 * time.Second // for requests that are under way
	restoredEvery  = 2 * time.Second  // between looks whether the database was restored
)

// For how long a client may send. Only tests have others.
var (
	headerTime  = 10 * time.Second // a header, or a TLS handshake
	requestTime = 30 * time.Second // a request as a whole
)

// databaseTimeout bounds each operation of the database; zero is the default of package store. Only tests have another
// one.
var databaseTimeout time.Duration

// Run serves until ctx ends or a part of the process fails. Then it takes everything down in reverse: it says that it
// is not ready, stops accepting, lets requests and tunnels end, ends the work in the background, and closes the
// database. Starts that are under way are not undone: the next process finishes or rolls them back. Call it once.
func (s *Server) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	work, fronts := &parts{fail: fail}, &parts{fail: fail}
	s.startWork(work)
	s.startFronts(fronts)
	close(s.serving)
	s.log.Info("outpost is serving", "version", s.opts.Version, "api", addressText(s.Addr()), "tls", s.cert != nil,
		"base_path", s.cfg.BasePath, "ssh", addressText(s.SSHAddr()), "metrics", addressText(s.MetricsAddr()),
		"dial_out", s.cfg.DialOutURLs, "hubs", s.cfg.HubNames(), "database", s.cfg.Database)

	<-ctx.Done()
	if cause := failure(ctx); cause != nil {
		s.log.Error("a part of the outpost has failed", "err", cause)
	}
	s.log.Info("outpost is stopping")
	close(s.stopping)
	time.Sleep(s.notice)  // kube-proxy takes us out of the Services
	fronts.stopTogether() // tunnels may stay open longer than requests
	work.stopInReverse()
	err := errors.Join(failure(ctx), s.close())
	s.log.Info("outpost has stopped")
	return err
}

// startWork starts what runs in the background. Metrics come first, so that they can be read until the end.
func (s *Server) startWork(p *parts) {
	if s.listeners.metrics != nil {
		bounded := newConnections(metricsLimits, s.metrics.connectionDropped("metrics"))
		server := newHTTPServer(s.metricsHandler(), s.component("metrics"), bounded)
		listener := bounded.listen(s.listeners.metrics)
		p.start("metrics", func(ctx context.Context) error { return serve(ctx, server, listener, 0) })
	}
	if s.audit != nil { // ended late, too: stops go on until the end
		p.start("audit", s.audit.Run)
	}
	installation := s.store.Installation()
	p.start("kubernetes", func(ctx context.Context) error {
		return s.spawner.Run(ctx, installation, s.manager.Changed)
	})
	p.start("services", s.manager.Run)
	p.start("database", s.followDatabase)
	p.start("maintenance", s.keeper.Follow)
	p.start("leader", s.lead)
	p.start("files", func(ctx context.Context) error { s.reloader.Run(ctx); return nil })
	p.start("settle", s.settle)
}

// startFronts starts what hubs talk to.
func (s *Server) startFronts(p *parts) {
	var ssh []net.Listener
	if s.listeners.ssh != nil {
		ssh = append(ssh, s.listeners.ssh)
	}
	if s.dialOut != nil {
		ssh = append(ssh, s.dialOut.ssh)
		s.startAPI(p, "api by ssh", s.connections.listen(s.dialOut.api))
		for _, d := range s.dialOut.dialers {
			p.start("dial out", d.Run)
		}
	}
	if s.ssh != nil {
		p.start("ssh", func(ctx context.Context) error { return s.ssh.Serve(ctx, ssh...) })
	}
	listener := s.connections.listen(s.listeners.api)
	if s.cert != nil {
		listener = tls.NewListener(listener, s.cert.config())
	}
	s.startAPI(p, "api", listener)
}

// startAPI answers requests of hubs on a listener.
func (s *Server) startAPI(p *parts, name string, l net.Listener) {
	server := newHTTPServer(s.api, s.component("httpapi"), s.connections)
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return s.api.ConnContext(ctx, connectionOf(conn))
	}
	server.RegisterOnShutdown(s.api.EndWatches)
	p.start(name, func(ctx context.Context) error { return serve(ctx, server, l, s.drain) })
}

// followDatabase returns an error when the database has been restored: what this process has in memory is of the rows
// before. The next process goes on with those of the backup.
func (s *Server) followDatabase(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(restoredEvery):
		}
		err := s.store.Current(ctx)
		if fault, ok := errors.AsType[*outpost.Error](err); ok && fault.Reason == store.ReasonRestored {
			return err
		}
	}
}

// settle gives memory back that only the start needed, once the services that earlier processes left are reconciled.
func (s *Server) settle(ctx context.Context) error {
	select {
	case <-s.manager.Reconciled():
		debug.FreeOSMemory()
		if s.opts.Settled != nil {
			s.opts.Settled()
		}
	case <-ctx.Done():
	}
	<-ctx.Done()
	return nil
}

// addressText returns an address as it is written, "none" for none.
func addressText(a net.Addr) string {
	if a == nil {
		return "none"
	}
	return a.String()
}

// lead does the work that only one of several processes may do.
func (s *Server) lead(ctx context.Context) error {
	work := func(ctx context.Context) {
		s.metrics.leader.Set(1)
		defer s.metrics.leader.Set(0)
		var beside sync.WaitGroup
		beside.Go(func() { s.keeper.Lead(ctx) })
		beside.Go(func() { s.countOldKeys(ctx) })
		defer beside.Wait()
		if err := s.manager.RunLeader(ctx); err != nil {
			s.log.Error("periodic work ended", "err", err)
		}
	}
	if s.opts.Lead == nil {
		work(ctx)
		return nil
	}
	return s.opts.Lead(ctx, work)
}

// oldKeysEvery is how often rows are counted that another key than the first has sealed: a change of keys takes hours.
const oldKeysEvery = 10 * time.Minute

// countOldKeys counts until ctx ends the rows that another key than the first has sealed. With one key there are none.
func (s *Server) countOldKeys(ctx context.Context) {
	defer s.metrics.oldKeys.Set(0)
	for len(s.cfg.CryptKeys) > 1 {
		if count, err := s.store.OldKeys(ctx); err == nil { // else the store counts an error
			s.metrics.oldKeys.Set(float64(count))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(oldKeysEvery):
		}
	}
}

// close releases what New has opened. It may be called at any stage, and twice.
func (s *Server) close() error {
	err := s.listeners.close()
	if s.hubClient != nil {
		s.hubClient.Close()
	}
	if s.audit != nil {
		err = errors.Join(err, s.audit.Close())
		s.audit = nil
	}
	if s.store != nil {
		err = errors.Join(err, s.store.Close())
		s.store = nil
	}
	return err
}

// newHTTPServer has the limits of every HTTP server here. A start is answered only when the server runs, so writing has
// no limit; the API bounds the time of everything else by itself. Before a login [connections] has stricter ones. The
// time for a header is also that for a TLS handshake.
func newHTTPServer(h http.Handler, log *slog.Logger, bounded *connections) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       requestTime,
		IdleTimeout:       3 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ConnState:         bounded.stateChanged,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// serve answers requests until ctx ends; requests that are under way then have the drain time to end.
func serve(ctx context.Context, server *http.Server, l net.Listener, drain time.Duration) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		_ = server.Close() // what is still open is cut off: its start goes on in the next process
	}
	<-failed //nolint:errcheck // it was told to end
	return nil
}

// parts are goroutines of a Server, each with a context of its own.
type parts struct {
	fail  context.CancelCauseFunc // ends the whole
	stops []func()                // each ends one part and waits for its end
}

// start runs a part. A part that ends by itself ends the whole.
func (p *parts) start(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := run(ctx)
		if ctx.Err() == nil {
			if err == nil {
				err = errors.New("ended unexpectedly")
			}
			p.fail(fmt.Errorf("%s: %w", name, err))
		}
	}()
	p.stops = append(p.stops, func() {
		cancel()
		<-done
	})
}

// stopInReverse ends the parts one after another, the last that was started first.
func (p *parts) stopInReverse() {
	for _, stop := range slices.Backward(p.stops) {
		stop()
	}
}

// stopTogether ends the parts at the same time.
func (p *parts) stopTogether() {
	var all sync.WaitGroup
	for _, stop := range p.stops {
		all.Go(stop)
	}
	all.Wait()
}

// failure returns why a context ended early: nil if it was cancelled as planned.
func failure(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}
