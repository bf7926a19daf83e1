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

// handler answers a request of the hub k.Hub, which has logged in. If the path names a service, it is k.
type handler func(s *Server, w http.ResponseWriter, r *http.Request, k outpost.Key)

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
	{template: "/watch", methods: map[string]handler{"GET": watchServices}},
	{template: "/watch/known", methods: map[string]handler{"POST": known}},
	{template: "/catalog", methods: map[string]handler{"POST": userCatalog}},
	{template: "/catalog/", slash: "-"},
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

// router finds the path of a request. It only matches: what mux does to call a handler, to put the route and its
// variables into the request's context, copies the request twice, which is a sixth of the memory that a poll needs.
type router struct {
	*mux.Router
	endpoints map[*mux.Route]endpoint
}

// newRouter returns the router of the table, under the base path too, which comes first as in the Python outpost.
func newRouter(basePath string) router {
	r := router{mux.NewRouter().UseEncodedPath().SkipClean(true), map[*mux.Route]endpoint{}}
	if basePath != "" {
		r.add(r.PathPrefix(basePath).Subrouter())
	}
	r.add(r.Router)
	return r
}

func (r router) add(to *mux.Router) {
	for _, p := range paths {
		r.endpoints[to.Path(p.template)] = endpoint{p, strings.Join(slices.Sorted(maps.Keys(p.methods)), ", ")}
	}
}

// endpoint is one path.
type endpoint struct {
	path
	allow string
}

// route finds the path, picks the method, then authenticates.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	var match mux.RouteMatch
	if !s.router.Match(r, &match) {
		answerUnknownPath.write(w)
		return
	}
	e := s.router.endpoints[match.Route]
	if e.slash != "" {
		redirect(w, r, e.slash)
		return
	}
	handle, ok := e.methods[r.Method]
	if !ok {
		w.Header()["Allow"] = []string{e.allow}
		answerWrongMethod.write(w)
		return
	}
	if e.open {
		handle(s, w, r, outpost.Key{})
		return
	}
	hub, ok := s.authenticate(w, r)
	if !ok {
		return
	}
	k, ok := keyOf(match.Vars, hub)
	if !ok {
		answerUnknownService.write(w)
		return
	}
	handle(s, w, r, k)
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
func keyOf(vars map[string]string, hub string) (outpost.Key, bool) {
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
func unknown(_ *Server, w http.ResponseWriter, _ *http.Request, _ outpost.Key) {
	answerUnknownService.write(w)
}

// ping shows that the HTTP server answers, and nothing else.
func ping(_ *Server, w http.ResponseWriter, _ *http.Request, _ outpost.Key) { answerPong.write(w) }
