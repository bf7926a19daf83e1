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
	"sync"
	"time"
)

const (
	databaseWait   = time.Minute      // for a database that does not answer at start
	reachableAfter = 5 * time.Second  // until Kubernetes sends connections to a process that is ready
	noticeTime     = 1 * time.Second  // between "not ready" and no more connections
	drainTime      = 15 * time.Second // for requests that are under way
)

// Run serves until ctx ends or a part of the process fails. Then it takes everything down in reverse: it says that it is
// not ready, stops accepting, lets requests and tunnels end, ends the work in the background, and closes the database.
// Starts that are under way are not undone: the next process finishes or rolls them back. Call it once.
func (s *Server) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	parts := &parts{fail: fail}

	installation := s.store.Installation()
	stopSpawner := parts.start("kubernetes", func(ctx context.Context) error {
		return s.spawner.Run(ctx, installation)
	})
	stopManager := parts.start("services", s.manager.Run)
	stopLeader := parts.start("leader", s.lead)
	stopReloader := parts.start("files", func(ctx context.Context) error { s.reloader.run(ctx); return nil })
	stopMetrics := func() {}
	if s.listeners.metrics != nil {
		server := s.httpServer(s.metricsHandler(), s.component("metrics"))
		stopMetrics = parts.start("metrics", func(ctx context.Context) error {
			return serve(ctx, server, s.listeners.metrics, 0)
		})
	}
	stopSSH := func() {}
	if s.ssh != nil {
		stopSSH = parts.start("ssh", func(ctx context.Context) error { return s.ssh.Serve(ctx, s.listeners.ssh) })
	}
	api := s.httpServer(s.api, s.component("httpapi"))
	listener := s.listeners.api
	if s.cert != nil {
		listener = tls.NewListener(listener, s.cert.config())
	}
	stopAPI := parts.start("api", func(ctx context.Context) error { return serve(ctx, api, listener, s.drain) })
	close(s.serving)
	s.log.Info("outpost is serving", "version", s.opts.Version, "api", text(s.Addr()), "tls", s.cert != nil,
		"base_path", s.cfg.BasePath, "ssh", text(s.SSHAddr()), "metrics", text(s.MetricsAddr()), "hubs", s.cfg.Hubs(), "database", s.cfg.Database)

	stopSettle := parts.start("settle", s.settle)

	<-ctx.Done()
	if cause := parts.cause(ctx); cause != nil {
		s.log.Error("a part of the outpost has failed", "err", cause)
	}
	s.log.Info("outpost is stopping")
	close(s.stopping)
	time.Sleep(s.notice) // kube-proxy takes us out of the Services
	var fronts sync.WaitGroup
	fronts.Go(stopSSH) // tunnels may stay open longer than requests
	fronts.Go(stopAPI)
	fronts.Wait()
	stopSettle()
	stopReloader()
	stopLeader()
	stopManager()
	stopSpawner()
	stopMetrics()
	err := errors.Join(parts.cause(ctx), s.close())
	s.log.Info("outpost has stopped")
	return err
}

// settle gives memory back that only the start has needed, once what earlier processes have left is dealt with.
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

// text is an address as it is written, "none" for none.
func text(a net.Addr) string {
	if a == nil {
		return "none"
	}
	return a.String()
}

// lead does the work that only one process may do.
func (s *Server) lead(ctx context.Context) error {
	work := func(ctx context.Context) {
		s.metrics.leader.Set(1)
		defer s.metrics.leader.Set(0)
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

// close releases what New has opened. It may be called at any stage, and twice.
func (s *Server) close() error {
	var errs []error
	for _, l := range []net.Listener{s.listeners.api, s.listeners.metrics, s.listeners.ssh} {
		if l != nil {
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if s.hubClient != nil {
		s.hubClient.Close()
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
		s.store = nil
	}
	return errors.Join(errs...)
}

// httpServer has the limits of every HTTP server here. A start is answered only when the server runs, so writing has
// no limit; the API bounds the time of everything else by itself.
func (s *Server) httpServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       3 * time.Minute,
		MaxHeaderBytes:    64 << 10,
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

// parts are the goroutines of a Server. Each is stopped by the function that start returns, which waits for its end.
type parts struct {
	fail context.CancelCauseFunc
}

// start runs a part under a context of its own. A part that ends by itself ends the whole.
func (p *parts) start(name string, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := run(ctx)
		if ctx.Err() == nil {
			if err == nil {
				err = errors.New("it ended by itself")
			}
			p.fail(fmt.Errorf("%s: %w", name, err))
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// cause is why the whole ends: nil if it was asked to.
func (p *parts) cause(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}
