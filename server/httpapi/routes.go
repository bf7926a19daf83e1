package httpapi

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/outposts-dev/outposts/server/outpost"
)

// handler answers a request of a hub that has logged in.
type handler func(s *Server, w http.ResponseWriter, r *http.Request, hub string)

// path is one line of the table of routes: a path and what its methods do.
type path struct {
	template string
	methods  map[string]handler
	open     bool   // answers without a login
	slash    string // for a redirect to the same path: "+" with a slash at the end, "-" without
}

// paths is the table of routes (protocol 1.2, 1.3). It is searched in this order; the poll comes first because it is
// the most frequent. Paths are matched as they were sent, not cleaned: the default server's name is an empty segment.
var paths = []path{
	{template: "/services/{name:[^/]*}/{start_id:[^/]+}", methods: map[string]handler{"GET": poll, "DELETE": stop}},
	{template: "/services/{name:[^/]+}", methods: map[string]handler{"GET": poll, "DELETE": stop}},
	{template: "/services", methods: map[string]handler{"POST": start}},
	{template: "/services/", methods: map[string]handler{"GET": list, "POST": start}},
	// A client that has forgotten its start id asks like this. It must not meet a service with start id "0", as with
	// the Python outpost, which redirects to /services/{name}.
	{template: "/services/{name:[^/]*}/", methods: map[string]handler{"GET": unknown, "DELETE": unknown}},
	{template: "/services/{name:[^/]*}/{start_id:[^/]+}/", slash: "-"},
	{template: "/flavors/", methods: map[string]handler{"GET": flavors}},
	{template: "/flavors", slash: "+"},
	{template: "/userflavors", methods: map[string]handler{"POST": userFlavors}},
	{template: "/userflavors/", slash: "-"},
	{template: "/credits/", methods: map[string]handler{"GET": credits}},
	{template: "/credits", slash: "+"},
	{template: "/usercredits", methods: map[string]handler{"POST": userCredits}},
	{template: "/usercredits/", slash: "-"},
	{template: "/ping", methods: map[string]handler{"GET": ping}, open: true},
	{template: "/ping/", slash: "-"},
}

// newRouter returns the router of the table, under the base path too, which comes first as in the Python outpost.
func newRouter(s *Server, basePath string) *mux.Router {
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	router.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answerUnknownPath.write(w)
	})
	if basePath != "" {
		addPaths(s, router.PathPrefix(basePath).Subrouter())
	}
	addPaths(s, router)
	return router
}

func addPaths(s *Server, router *mux.Router) {
	for _, p := range paths {
		router.Handle(p.template, newEndpoint(s, p))
	}
}

func newEndpoint(s *Server, p path) http.Handler {
	if p.slash != "" {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { redirect(w, r, p.slash) })
	}
	return &endpoint{server: s, path: p, allow: strings.Join(slices.Sorted(maps.Keys(p.methods)), ", ")}
}

// endpoint is one path: it picks the method, then authenticates.
type endpoint struct {
	server *Server
	path
	allow string
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handle, ok := e.methods[r.Method]
	if !ok {
		w.Header()["Allow"] = []string{e.allow}
		answerWrongMethod.write(w)
		return
	}
	if e.open {
		handle(e.server, w, r, "")
		return
	}
	if hub, ok := e.server.authenticate(w, r); ok {
		handle(e.server, w, r, hub)
	}
}

// redirect sends the client to the same path with or without a slash at the end. The location has no host and no
// scheme: behind a proxy that ends TLS neither is known.
func redirect(w http.ResponseWriter, r *http.Request, slash string) {
	location := r.URL.EscapedPath()
	if slash == "+" {
		location += "/"
	} else {
		location = strings.TrimSuffix(location, "/")
	}
	if r.URL.RawQuery != "" {
		location += "?" + r.URL.RawQuery
	}
	w.Header()["Location"] = []string{location}
	w.Header()["Content-Length"] = []string{"0"}
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// keyOf returns the service that a path names. Without a start id in the path it is "0".
func keyOf(r *http.Request, hub string) (outpost.Key, bool) {
	vars := mux.Vars(r)
	name, err := url.PathUnescape(vars["name"])
	if err != nil {
		return outpost.Key{}, false
	}
	id, given := vars["start_id"]
	if !given {
		return outpost.Key{Hub: hub, Name: name, StartID: "0"}, true
	}
	id, err = url.PathUnescape(id)
	return outpost.Key{Hub: hub, Name: name, StartID: id}, err == nil && id != ""
}

// unknown answers a path that names no service.
func unknown(_ *Server, w http.ResponseWriter, _ *http.Request, _ string) {
	answerUnknownService.write(w)
}

// ping shows that the HTTP server answers, and nothing else.
func ping(_ *Server, w http.ResponseWriter, _ *http.Request, _ string) { answerPong.write(w) }
