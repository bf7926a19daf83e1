package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/server/audit"
	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/httpapi"
	"github.com/outposts-dev/outposts/server/hubclient"
	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/maintenance"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/reload"
	"github.com/outposts-dev/outposts/server/seal"
	"github.com/outposts-dev/outposts/server/sshd"
	"github.com/outposts-dev/outposts/server/store"
)

// Options is what a Server may be given beside its settings. The zero value works: one process, nothing logged.
type Options struct {
	Logger *slog.Logger // nil discards
	// Lead calls work, which only one of several processes may do, each time that this process is elected, and ends its
	// context when the election is lost. Nil: this is the only process.
	Lead func(ctx context.Context, work func(context.Context)) error
	// InformerAge returns the time since Kubernetes last sent something, for metrics; nil if that is not known.
	InformerAge func() time.Duration
	// Settled is called once, when the services that earlier processes left are reconciled. May be nil.
	Settled func()
	// Namespace is where the outpost itself is, NamespaceUID its uid, which says whose the database is; if that is
	// empty, a database of another place is not noticed.
	Namespace, NamespaceUID string
	// RefusedAddresses are never dialled for a hub: the API server's and the node's. Those of the own interfaces are
	// refused in any case.
	RefusedAddresses []netip.Prefix
	// Moving is called with the number of SSH connections that move much data, each time that it changes. May be nil.
	Moving func(connections int)
	// HubAPI calls hubs; nil is HTTP.
	HubAPI outpost.HubAPI
	// Stdout is where audit lines go that the settings send to standard output; nil discards.
	Stdout io.Writer
	// Version is the version of the program, for the log and for hubs.
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
	audit     *audit.Log        // nil without audit lines
	hubClient *hubclient.Client // nil if the caller gave a HubAPI
	manager   *lifecycle.Manager
	keeper    *maintenance.Keeper
	api       *httpapi.Server
	ssh       *sshd.Server // nil without SSH
	dialOut   *dialOut     // nil unless hubs are dialled
	cert      *certificate // nil without TLS
	reloader  *reload.Reloader
	readiness *readiness

	connections *connections // of the API

	notice    time.Duration // between "not ready" and no more connections
	drain     time.Duration // for requests that are under way then
	listeners listeners
	serving   chan struct{} // closed when API and SSH accept connections
	stopping  chan struct{} // closed when this process begins to stop
}

// New puts an outpost together and opens its database and sockets. It serves nothing until Run. Errors are for the
// operator: they name the variable or file that is wrong.
func New(ctx context.Context, cfg config.Config, spawner outpost.Spawner, opts Options) (_ *Server, err error) {
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
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
	if err := s.bindDatabase(ctx); err != nil {
		return nil, err
	}
	if cfg.Rekey {
		done, err := s.store.Rekey(ctx)
		if err != nil {
			return nil, fmt.Errorf("OUTPOST_REKEY: %w", err)
		}
		s.log.Info("rows sealed with the first key",
			"rows", done.Rows, "resealed", done.Resealed, "unopened", done.Unopened)
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

// OpenStore opens the database that cfg names, with the keys of cfg. observe, which may be nil, is called after each
// operation with its name, duration and error.
func OpenStore(
	ctx context.Context, cfg config.Config, log *slog.Logger, observe func(string, time.Duration, error),
) (*store.DB, error) {
	ring, err := Keyring(cfg)
	if err != nil {
		return nil, err
	}
	d := cfg.Database
	db, err := store.Open(ctx, store.Config{
		Type: d.Type, Path: d.Path, Host: d.Host, Port: d.Port, User: d.User, Password: d.Password, Name: d.Name,
		Timeout: databaseTimeout, Wait: databaseWait, Observer: observe,
	}, ring, log)
	switch fault, ok := errors.AsType[*outpost.Error](err); {
	case !ok || fault.Kind != outpost.KindInvalid:
		return db, err
	case fault.Reason == store.ReasonKey:
		return nil, fmt.Errorf("OUTPOST_CRYPT_KEY: %w (`outpost rekey` seals all rows with the first key)", err)
	default:
		return nil, fmt.Errorf("SQL_*: %w", err)
	}
}

// bindDatabase refuses a database whose rows belong to the outpost of another namespace or cluster. A Lease is of one
// namespace: processes of two would both lead, and end services whose pods they cannot see.
func (s *Server) bindDatabase(ctx context.Context) error {
	if s.opts.NamespaceUID == "" {
		return nil
	}
	here := store.Place{UID: s.opts.NamespaceUID, Namespace: s.opts.Namespace}
	err := s.store.Bind(ctx, here, s.cfg.MovedFrom)
	if fault, ok := errors.AsType[*outpost.Error](err); !ok || fault.Reason != store.ReasonPlace {
		return err
	}
	return fmt.Errorf("SQL_*: %w If that outpost is gone for good, as after a restore, set OUTPOST_MOVED_FROM "+
		"(movedFrom of the chart) to its uid", err)
}

// component returns the logger of one part.
func (s *Server) component(name string) *slog.Logger { return s.log.With("component", name) }

// Keyring returns the keys of the database, which seal its backups too.
func Keyring(cfg config.Config) (*seal.Keyring, error) {
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

// newManager creates the domain: hubs, flavors, limits.
func (s *Server) newManager(hubAPI outpost.HubAPI) error {
	flavors, err := readFlavors(s.cfg, s.log)
	if err != nil {
		return err
	}
	credits, err := readCredits(s.cfg, s.log)
	if err != nil {
		return err
	}
	observer, err := s.newAudit()
	if err != nil {
		return err
	}
	every := func(on bool, interval time.Duration) time.Duration {
		if !on {
			return -1
		}
		return interval
	}
	s.manager, err = lifecycle.New(s.store, s.spawner, hubAPI, lifecycle.Options{
		Hubs:             s.cfg.Hubs(),
		Flavors:          flavors,
		Credits:          credits,
		GlobalMaxPerUser: &s.cfg.GlobalMaxPerUser,
		MaxServers:       s.cfg.MaxServers,
		Shared:           s.opts.Lead != nil,
		EndDates:         every(s.cfg.CheckEndDates, s.cfg.EndDatesInterval),
		Cleanup:          every(s.cfg.CheckServices, s.cfg.CleanupInterval),
		Reachable:        s.reachable,
		Logger:           s.component("outpost"),
		Observer:         observer,
		Version:          s.opts.Version,
	})
	if err != nil {
		return err
	}
	s.manager.SetMaintenance(s.cfg.Maintenance)
	s.keeper = maintenance.NewKeeper(s.manager, time.Now, s.component("maintenance"))
	s.metrics.watchMaintenance(s.keeper.State)
	s.metrics.watchBackups(s.store.LastBackup)
	s.metrics.watchManager(s.manager, s.opts.InformerAge)
	return nil
}

// newAudit returns who is told what happens to services: metrics, and a log of who did what if there is to be one.
// Hashes of names are made with a key of their own, which follows from the first one of the database.
func (s *Server) newAudit() (outpost.Observer, error) {
	if s.cfg.AuditFile == "" {
		return s.metrics, nil
	}
	named := append([]string{s.opts.Namespace, s.cfg.Namespace}, Namespaces(s.cfg)...)
	key := sha256.Sum256([]byte("outpost audit names\x00" + s.cfg.CryptKeys[0].Reveal()))
	var err error
	s.audit, err = audit.Open(s.cfg.AuditFile, cmp.Or(s.opts.Stdout, io.Discard), s.metrics, audit.Options{
		Names: s.cfg.AuditNames, Key: key[:], Logger: s.component("audit"), Dropped: s.metrics.auditDropped.Inc,
		Static: func(namespace string) bool { return slices.Contains(named, namespace) },
	})
	if err != nil {
		return nil, fmt.Errorf("OUTPOST_AUDIT_FILE: %w", err)
	}
	return s.audit, nil
}

// seesNamespaces returns an error if the pods of a configured namespace cannot be listed.
func (s *Server) seesNamespaces(context.Context) error {
	names := s.manager.Unseen()
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("the pods of these namespaces cannot be listed: %s; let the outpost's ServiceAccount list and "+
		"watch pods there, or take them out of the outpost's configuration", strings.Join(names, ", "))
}

// newFronts creates what hubs talk to: API and SSH.
func (s *Server) newFronts() (err error) {
	s.connections = newConnections(apiLimits, s.metrics.connectionDropped("api"))
	s.metrics.watchConnections(s.connections.counts)
	if s.api, err = httpapi.New(s.manager, httpapi.Options{
		Users: s.cfg.Passwords(), BasePath: s.cfg.BasePath, Logger: s.component("httpapi"),
	}); err != nil {
		return err
	}
	if s.cfg.TLSCertFile != "" {
		if s.cert, err = newCertificate(s.cfg.TLSCertFile, s.cfg.TLSKeyFile); err != nil {
			return err
		}
		s.metrics.watchCertificate(s.cert)
	}
	s.readiness = &readiness{log: s.log, checks: []check{
		stoppingCheck(s.stopping),
		{name: "database", ask: s.store.Ping},
		{name: "kubernetes", ask: s.spawner.Ready},
		{name: "services", ask: s.manager.Ready},
		{name: "namespaces", ask: s.seesNamespaces, partial: true},
	}}
	if s.dialOut, err = s.newDialOut(); err != nil {
		return err
	}
	if !sshWanted(s.cfg) {
		if s.cfg.SSHListen != "" {
			s.log.Warn("no SSH: the folder of the hubs' public keys does not exist",
				"name", "OUTPOST_AUTHORIZED_KEYS_DIR", "dir", s.cfg.AuthorizedKeysDir)
		}
		return nil
	}
	s.ssh, err = sshd.New(sshd.Options{
		Hubs: s.cfg.HubNames(), HostKeysDir: s.cfg.HostKeysDir, AuthorizedKeysDir: s.cfg.AuthorizedKeysDir,
		PermitOpen: func(hub, host string, port uint16) bool {
			_, ok := s.manager.PermitOpen(context.Background(), hub, host, int(port))
			return ok
		},
		Named: s.dialOut.named(), RefusedAddresses: s.opts.RefusedAddresses, Moving: s.opts.Moving,
		Logger: s.component("sshd"), Observer: &s.metrics.ssh,
	})
	if err != nil {
		return fmt.Errorf("OUTPOST_HOST_KEYS_DIR, OUTPOST_AUTHORIZED_KEYS_DIR: %w", err)
	}
	ready := func(context.Context) error { return s.ssh.Ready() }
	s.readiness.checks = append(s.readiness.checks, check{name: "ssh", ask: ready})
	return nil
}

// reachable waits until this process can be reached: it serves, and Kubernetes has had time to notice.
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

// metricsHandler answers metrics and probes.
func (s *Server) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", alive)
	mux.Handle("GET /readyz", s.readiness)
	mux.Handle("GET /metrics", s.metrics.handler())
	return mux
}
