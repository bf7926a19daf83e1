package httpapi

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

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
// the most frequent. Paths are matched as they were sent, not cleaned: the default server's name is an empty segment,
// which a variable with a star may be and one with a plus may not.
var paths = []path{
	{template: "/services/{name*}/{start_id+}", methods: map[string]handler{"GET": poll, "DELETE": stop}},
	{template: "/services/{name+}", methods: map[string]handler{"GET": poll, "DELETE": stop}},
	{template: "/services", methods: map[string]handler{"POST": start}},
	{template: "/services/", methods: map[string]handler{"GET": list, "POST": start}},
	// A client that has forgotten its start id asks like this. It must not meet a service with start id "0", as with
	// the Python outpost, which redirects to /services/{name}.
	{template: "/services/{name*}/", methods: map[string]handler{"GET": unknown, "DELETE": unknown}},
	{template: "/services/{name*}/{start_id+}/", slash: "-"},
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

// match reports whether a path, as it was sent, is of the template, and returns its variables as they were sent.
func (p *path) match(sent string) (name, startID string, ok bool) {
	template := p.template
	for more := true; more; {
		var want, got string
		var moreSent bool
		want, template, more = strings.Cut(template, "/")
		got, sent, moreSent = strings.Cut(sent, "/")
		switch {
		case more != moreSent, got == "" && strings.HasSuffix(want, "+}"):
			return "", "", false
		case want == "{name*}", want == "{name+}":
			name = got
		case want == "{start_id+}":
			startID = got
		case want != got:
			return "", "", false
		}
	}
	return name, startID, true
}

// find returns the line of the table for a path, nil if there is none. Under the base path is looked first, as in the
// Python outpost.
func find(basePath, sent string) (p *path, name, startID string) {
	for _, base := range []string{basePath, ""} {
		rest, under := strings.CutPrefix(sent, base)
		for i := range paths {
			if name, startID, ok := paths[i].match(rest); under && ok {
				return &paths[i], name, startID
			}
		}
	}
	return nil, "", ""
}

// route finds the path, picks the method, then authenticates.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	p, name, startID := find(s.opts.BasePath, r.URL.EscapedPath())
	if p == nil {
		answerUnknownPath.write(w)
		return
	}
	if p.slash != "" {
		redirect(w, r, p.slash)
		return
	}
	handle, ok := p.methods[r.Method]
	if !ok {
		w.Header()["Allow"] = []string{strings.Join(slices.Sorted(maps.Keys(p.methods)), ", ")}
		answerWrongMethod.write(w)
		return
	}
	if p.open {
		handle(s, w, r, outpost.Key{})
		return
	}
	hub, ok := s.authenticate(w, r)
	if !ok {
		return
	}
	k, ok := keyOf(hub, name, startID)
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
func keyOf(hub, name, startID string) (outpost.Key, bool) {
	name, err1 := url.PathUnescape(name)
	startID, err2 := url.PathUnescape(cmp.Or(startID, "0"))
	return outpost.Key{Hub: hub, Name: name, StartID: startID}, err1 == nil && err2 == nil
}

// unknown answers a path that names no service.
func unknown(_ *Server, w http.ResponseWriter, _ *http.Request, _ outpost.Key) {
	answerUnknownService.write(w)
}

// ping shows that the HTTP server answers, and nothing else.
func ping(_ *Server, w http.ResponseWriter, _ *http.Request, _ outpost.Key) { answerPong.write(w) }
