// Package httpapi is the HTTP interface that hubs use: it decides who asks, decodes, calls the [Manager] and encodes.
//
// Routes, bodies and statuses are those of the Python outpost 2.3.0 except where that has a defect (protocol, chapter
// 1); docs/openapi.yaml describes them, and the tests hold every answer to it. Whether a path exists is decided before
// authentication, everything else after it. Errors leave through errors.go only.
package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/watch"
)

// Manager is what the routes call: *lifecycle.Manager, or a fake in tests. Its errors have kinds.
type Manager interface {
	Start(ctx context.Context, r outpost.StartRequest) (address string, err error)
	Poll(ctx context.Context, k outpost.Key, collectLogs bool) (outpost.PollResult, error)
	Stop(ctx context.Context, k outpost.Key, o outpost.StopOptions) (logs []string, err error)
	List(ctx context.Context, hub string) ([]outpost.Summary, error)
	Flavors(ctx context.Context, hub string) (map[string]flavor.Flavor, error)
	UserFlavors(ctx context.Context, hub string, authentication any) (map[string]flavor.Flavor, error)
	Catalog(ctx context.Context, u outpost.User) (catalog.Catalog, error)
	Credits(hub string) map[string]flavor.Flavor
	UserCredits(hub string, authentication any) (map[string]flavor.Flavor, error)
	Watch(ctx context.Context, hub string) (*watch.Watch, error)
	Known(ctx context.Context, hub string, keys []outpost.Key) error
}

// Options is what a Server may be given. The zero value works: nobody can log in.
type Options struct {
	// Users are the hubs' Basic-auth logins: name to password. SetUsers replaces them.
	Users map[string]outpost.Secret
	// BasePath is a prefix such as "/outpost" under which every route answers too.
	BasePath string
	// MaxBody is how large a request's body may be; 0 is 16 MiB. It carries certificates and job scripts.
	MaxBody int64
	// HubBodies is how many bytes the bodies of one hub's requests may hold together; 0 is twice MaxBody.
	HubBodies int64
	// BodyTimeout is how long a request's body may take to arrive; 0 is 30 s.
	BodyTimeout time.Duration
	// Logger gets refused logins and the causes of internal errors; nil discards.
	Logger *slog.Logger
	// Now is the clock of the limit on wrong passwords; nil is time.Now.
	Now func() time.Time
}

// Server answers the requests of hubs. It is an http.Handler, safe for concurrent use.
type Server struct {
	manager Manager
	opts    Options
	log     *slog.Logger
	router  router
	users   atomic.Pointer[map[string]*login]
	guesses *guesses
	bodies  *budget
	streams *streams
}

// New returns a Server. The error says what is wrong with the base path.
func New(m Manager, o Options) (*Server, error) {
	b := o.BasePath
	if b != "" && (!strings.HasPrefix(b, "/") || strings.HasSuffix(b, "/") || strings.ContainsAny(b, "{}")) {
		return nil, fmt.Errorf("base path %q: it must begin with a slash, not end with one, and have no braces", b)
	}
	o.MaxBody = cmp.Or(o.MaxBody, 16<<20)
	o.HubBodies = cmp.Or(o.HubBodies, 2*o.MaxBody)
	o.BodyTimeout = cmp.Or(o.BodyTimeout, 30*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{manager: m, opts: o, log: o.Logger, guesses: newGuesses(o.Now), bodies: newBudget(o.HubBodies)}
	s.streams = newStreams()
	s.SetUsers(o.Users)
	s.router = newRouter(o.BasePath)
	return s, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(cause)
		}
		// The stack has no values, so nothing of the request gets into the log with it.
		s.log.Error("panic in a request",
			"method", r.Method, "err", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
		write(w, http.StatusInternalServerError, typeText, []byte("Internal Server Error"))
	}()
	s.route(w, r)
}
