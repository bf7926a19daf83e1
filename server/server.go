package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/httpapi"
	"github.com/outposts-dev/outposts/server/hubclient"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/seal"
	"github.com/outposts-dev/outposts/server/sshd"
	"github.com/outposts-dev/outposts/server/store"
)

// Options is what a Server may be given beside its settings. The zero value works: one process, nothing logged.
type Options struct {
	Logger *slog.Logger // nil discards
	// Lead runs what only one of several processes may do, while this one is chosen, and calls it again when it is
	// chosen again. Nil: this is the only process.
	Lead func(ctx context.Context, work func(context.Context)) error
	// InformerAge is the time since the last word from Kubernetes, for metrics; nil is unknown.
	InformerAge func() time.Duration
	// Settled is called once, when what earlier processes have left is dealt with. May be nil.
	Settled func()
	// RefusedAddresses are never dialled for a hub: the API server's and the node's.
	RefusedAddresses []netip.Prefix
	// Moving is told how many SSH connections move much data, each time that the number changes. May be nil.
	Moving func(connections int)
	// HubAPI calls hubs; nil is HTTP.
	HubAPI outpost.HubAPI
	// Version is what the process tells about itself.
	Version string
}

// Server is one outpost: API, SSH, metrics and the work in the background. Make it with [New], run it with Run.
type Server struct {
	cfg       config.Config
	opts      Options
	log       *slog.Logger
	metrics   *metrics
	spawner   outpost.Spawner
	store     *store.DB
	hubClient *hubclient.Client // nil if the caller gave a HubAPI
	manager   *outpost.Manager
	api       *httpapi.Server
	ssh       *sshd.Server // nil without SSH
	cert      *certificate // nil without TLS
	reloader  *reloader
	readiness *readiness

	notice    time.Duration // between "not ready" and no more connections
	drain     time.Duration // for requests that are under way then
	listeners listeners
	serving   chan struct{} // closed when API and SSH accept connections
	stopping  chan struct{} // closed when this process is about to end
}

// listeners are the open sockets.
type listeners struct{ api, metrics, ssh net.Listener }

// New puts an outpost together and opens its database and sockets. It serves nothing until Run. Errors are the
// operator's to mend: they name the variable or file that is wrong.
func New(ctx context.Context, cfg config.Config, spawner outpost.Spawner, opts Options) (_ *Server, err error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: cfg, opts: opts, log: opts.Logger, metrics: newMetrics(), spawner: spawner,
		notice: noticeTime, drain: drainTime, serving: make(chan struct{}), stopping: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	for _, w := range cfg.Warnings {
		s.log.Warn("setting", "name", w.Name, "message", w.Message)
	}
	if sshWanted(cfg) {
		if err := ensureHostKey(cfg.HostKeysDir, s.component("sshd")); err != nil {
			return nil, err
		}
	}
	if s.store, err = OpenStore(ctx, cfg, s.component("store"), s.metrics.database); err != nil {
		return nil, err
	}
	if cfg.Rekey {
		done, err := s.store.Rekey(ctx)
		if err != nil {
			return nil, fmt.Errorf("OUTPOST_REKEY: %w", err)
		}
		s.log.Info("rows are sealed with the first key", "rows", done.Rows, "resealed", done.Resealed, "unopened", done.Unopened)
	}
	hubAPI := opts.HubAPI
	if hubAPI == nil {
		roots, err := hubRoots(cfg)
		if err != nil {
			return nil, err
		}
		s.hubClient = hubclient.New(roots)
		hubAPI = s.hubClient
	}
	if err := s.newManager(hubAPI); err != nil {
		return nil, err
	}
	if err := s.newFronts(); err != nil {
		return nil, err
	}
	s.watchFiles()
	return s, s.listen(ctx)
}

// OpenStore opens the database that cfg names, with the keys of cfg. observe may be nil.
func OpenStore(ctx context.Context, cfg config.Config, log *slog.Logger, observe func(string, time.Duration, error)) (*store.DB, error) {
	ring, err := keyring(cfg)
	if err != nil {
		return nil, err
	}
	d := cfg.Database
	return store.Open(ctx, store.Config{
		Type: d.Type, Path: d.Path, Host: d.Host, Port: d.Port, User: d.User, Password: outpost.Secret(d.Password.Reveal()), Name: d.Name,
		Wait: databaseWait, Observer: observe,
	}, ring, log)
}

// Check tells everything that is wrong with the files that cfg names, without opening a database or a socket.
func Check(cfg config.Config) error {
	var errs []error
	_, err := keyring(cfg)
	errs = append(errs, err)
	if sshWanted(cfg) {
		if found, globErr := fs.Glob(os.DirFS(cfg.HostKeysDir), "ssh_host_*_key"); globErr != nil || len(found) > 0 {
			errs = append(errs, sshd.CheckKeys(cfg.HostKeysDir, cfg.AuthorizedKeysDir, cfg.Hubs()))
		}
	}
	if cfg.TLSCertFile != "" {
		_, err := newCertificate(cfg.TLSCertFile, cfg.TLSKeyFile)
		errs = append(errs, err)
	}
	_, err = hubRoots(cfg)
	errs = append(errs, err)
	_, err = readFlavors("OUTPOST_FLAVORS_PATH", cfg.FlavorsPath, outpost.ParseFlavors)
	errs = append(errs, err)
	_, err = readFlavors("OUTPOST_CREDITS_PATH", cfg.CreditsPath, outpost.ParseCredits)
	errs = append(errs, err)
	return errors.Join(errs...)
}

// sshWanted tells whether hubs may come by SSH: there is an address, and a folder for their keys, be it empty.
func sshWanted(cfg config.Config) bool {
	_, err := os.Stat(cfg.AuthorizedKeysDir)
	return cfg.SSHListen != "" && !errors.Is(err, fs.ErrNotExist)
}

// component returns the logger of one part.
func (s *Server) component(name string) *slog.Logger { return s.log.With("component", name) }

// keyring makes the key ring of the database.
func keyring(cfg config.Config) (*seal.Keyring, error) {
	keys := make([]string, len(cfg.CryptKeys))
	for i, k := range cfg.CryptKeys {
		keys[i] = k.Reveal()
	}
	ring, err := seal.New(keys...)
	if err != nil {
		return nil, fmt.Errorf("OUTPOST_CRYPT_KEY: %w", err)
	}
	return ring, nil
}

// newManager makes the domain: hubs, flavors, limits.
func (s *Server) newManager(hubAPI outpost.HubAPI) error {
	flavors, err := readFlavors("OUTPOST_FLAVORS_PATH", s.cfg.FlavorsPath, outpost.ParseFlavors)
	if err != nil {
		return err
	}
	credits, err := readFlavors("OUTPOST_CREDITS_PATH", s.cfg.CreditsPath, outpost.ParseCredits)
	if err != nil {
		return err
	}
	s.warnFlavors(s.cfg.FlavorsPath, flavors)
	s.warnFlavors(s.cfg.CreditsPath, credits)
	every := func(on bool, interval time.Duration) time.Duration {
		if !on {
			return -1
		}
		return interval
	}
	s.manager, err = outpost.New(s.store, s.spawner, hubAPI, outpost.Options{
		Hubs:             hubs(s.cfg, s.cfg.Users),
		Flavors:          flavors,
		Credits:          credits,
		GlobalMaxPerUser: &s.cfg.GlobalMaxPerUser,
		Shared:           s.opts.Lead != nil,
		EndDates:         every(s.cfg.CheckEndDates, s.cfg.EndDatesInterval),
		Cleanup:          every(s.cfg.CheckServices, s.cfg.CleanupInterval),
		Reachable:        s.reachable,
		Logger:           s.component("outpost"),
		Observer:         s.metrics,
	})
	if err != nil {
		return err
	}
	s.metrics.registry.MustRegister(gauges{counts: s.manager.Counts, informerAge: func() (time.Duration, bool) {
		if s.opts.InformerAge == nil {
			return 0, false
		}
		return s.opts.InformerAge(), true
	}})
	return nil
}

// newFronts makes what hubs talk to: API and SSH.
func (s *Server) newFronts() (err error) {
	if s.api, err = httpapi.New(s.manager, httpapi.Options{
		Users: users(s.cfg.Users), BasePath: s.cfg.BasePath, Logger: s.component("httpapi"),
	}); err != nil {
		return err
	}
	if s.cfg.TLSCertFile != "" {
		if s.cert, err = newCertificate(s.cfg.TLSCertFile, s.cfg.TLSKeyFile); err != nil {
			return err
		}
	}
	s.readiness = &readiness{log: s.log, checks: []check{
		{"stopping", func(context.Context) error {
			select {
			case <-s.stopping:
				return errors.New("this process is about to end")
			default:
				return nil
			}
		}},
		{"database", s.store.Ping},
		{"kubernetes", s.spawner.Ready},
		{"services", s.manager.Ready},
	}}
	if !sshWanted(s.cfg) {
		if s.cfg.SSHListen != "" {
			s.log.Warn("no SSH: the folder of the hubs' public keys does not exist", "name", "OUTPOST_AUTHORIZED_KEYS_DIR", "dir", s.cfg.AuthorizedKeysDir)
		}
		return nil
	}
	s.ssh, err = sshd.New(sshd.Options{
		Hubs: s.cfg.Hubs(), HostKeysDir: s.cfg.HostKeysDir, AuthorizedKeysDir: s.cfg.AuthorizedKeysDir,
		PermitOpen: func(hub, host string, port uint16) bool {
			_, ok := s.manager.PermitOpen(context.Background(), hub, host, int(port))
			return ok
		},
		RefusedAddresses: s.opts.RefusedAddresses, Logger: s.component("sshd"), Observer: &s.metrics.ssh, Moving: s.opts.Moving,
	})
	if err != nil {
		return fmt.Errorf("OUTPOST_HOST_KEYS_DIR, OUTPOST_AUTHORIZED_KEYS_DIR: %w", err)
	}
	s.readiness.checks = append(s.readiness.checks, check{"ssh", func(context.Context) error { return s.ssh.Ready() }})
	return nil
}

// listen opens the sockets.
func (s *Server) listen(ctx context.Context) error {
	var lc net.ListenConfig
	sshAddress := ""
	if s.ssh != nil {
		sshAddress = s.cfg.SSHListen
	}
	for _, l := range []struct {
		name, address string
		to            *net.Listener
	}{
		{"OUTPOST_LISTEN", s.cfg.Listen, &s.listeners.api},
		{"OUTPOST_METRICS_LISTEN", s.cfg.MetricsListen, &s.listeners.metrics},
		{"OUTPOST_SSH_LISTEN", sshAddress, &s.listeners.ssh},
	} {
		if l.address == "" {
			continue
		}
		listener, err := lc.Listen(ctx, "tcp", l.address)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		*l.to = listener
	}
	return nil
}

// Addr is where the API listens, MetricsAddr where metrics and probes do, SSHAddr where SSH does; nil if it does not.
func (s *Server) Addr() net.Addr { return addr(s.listeners.api) }

// MetricsAddr is where metrics and probes are, nil for nowhere.
func (s *Server) MetricsAddr() net.Addr { return addr(s.listeners.metrics) }

// SSHAddr is where SSH listens, nil for nowhere.
func (s *Server) SSHAddr() net.Addr { return addr(s.listeners.ssh) }

func addr(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

// reachable waits until this process is reached from outside: it serves, and Kubernetes has had time to see that.
func (s *Server) reachable(ctx context.Context) error {
	select {
	case <-s.serving:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-time.After(reachableAfter):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// metricsHandler answers on the listener of their own: metrics and probes.
func (s *Server) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", alive)
	mux.Handle("GET /readyz", s.readiness)
	mux.Handle("GET /metrics", s.metrics.handler())
	return mux
}

// users are the logins as the API takes them.
func users(list []config.User) map[string]outpost.Secret {
	out := make(map[string]outpost.Secret, len(list))
	for _, u := range list {
		out[u.Name] = outpost.Secret(u.Password.Reveal())
	}
	return out
}

// hubs are the hubs with their policy as the domain takes them.
func hubs(cfg config.Config, users []config.User) []outpost.Hub {
	call := func(c *config.Call) *outpost.HubCall {
		if c == nil {
			return nil
		}
		return &outpost.HubCall{URL: c.URL, Token: outpost.Secret(c.Token.Reveal())}
	}
	out := make([]outpost.Hub, len(users))
	for i, u := range users {
		p := cfg.Policy(u.Name)
		out[i] = outpost.Hub{
			Name: u.Name, AllowedOptions: p.AllowedOptions, AllowedImages: p.AllowedImages, CallbackURLs: p.CallbackURLs,
			Options: p.Spawner, TunnelRestart: call(p.TunnelRestart), Servers: call(p.Servers),
			FlavorsToken: outpost.Secret(p.FlavorsToken.Reveal()), RecreateTunnels: p.RecreateTunnels, SendEvents: p.SendEvents,
		}
	}
	return out
}

// hubRoots reads whom to trust for calls to hubs: the public CAs and the operator's.
func hubRoots(cfg config.Config) (hubclient.Options, error) {
	o := hubclient.Options{Roots: map[string]*x509.CertPool{}}
	var errs []error
	pool := func(name, path string, mayBeAbsent bool) *x509.CertPool {
		if path == "" {
			return nil
		}
		text, err := os.ReadFile(path)
		if mayBeAbsent && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			return nil
		}
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(text) {
			errs = append(errs, fmt.Errorf("%s: no certificate (PEM) in %s", name, path))
		}
		return roots
	}
	o.DefaultRoots = pool("OUTPOST_HUB_CA_FILE", cfg.HubCAFile, true)
	names := make([]string, 0, len(cfg.File.Hubs))
	for name := range cfg.File.Hubs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if roots := pool("hubs."+name+".callbackCaFile", cfg.File.Hubs[name].CallbackCAFile, false); roots != nil {
			o.Roots[name] = roots
		}
	}
	return o, errors.Join(errs...)
}
