package proxy

import (
	"cmp"
	"net"
	"net/http"
	"slices"
	"strings"
)

// Hosts reports whether a hostname of a Config covers a host. A wildcard covers any number of labels: *.example.org
// covers a.b.example.org, not example.org.
func Hosts(hostname, host string) bool {
	if suffix, wildcard := strings.CutPrefix(hostname, "*"); wildcard {
		return len(host) > len(suffix) && strings.HasSuffix(host, suffix)
	}
	return hostname == "" || hostname == host
}

// Intersect returns the hosts that two hostnames have in common as a hostname, and whether there are any.
func Intersect(a, b string) (string, bool) {
	switch {
	case a == "" || Hosts(a, b):
		return b, true
	case b == "" || Hosts(b, a):
		return a, true
	case strings.HasPrefix(a, "*") && a == b:
		return a, true
	}
	return "", false
}

// compareHostnames puts the more specific hostname first: names before wildcards, long ones before short ones.
func compareHostnames(a, b string) int {
	kind := func(hostname string) int {
		switch {
		case hostname == "":
			return 2
		case strings.HasPrefix(hostname, "*"):
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(kind(a), kind(b)), cmp.Compare(len(b), len(a)))
}

// Sort puts routes in the order of their precedence as the Gateway API has it: by hostname, then path, method, number
// of headers and number of parameters. Those that are equal in all stay in their order: the caller puts older ones first.
func Sort(routes []Route) {
	slices.SortStableFunc(routes, func(a, b Route) int {
		m, n := a.Match, b.Match
		return cmp.Or(
			compareHostnames(a.Hostname, b.Hostname),
			truth(n.Path.Exact, m.Path.Exact),
			cmp.Compare(len(n.Path.Value), len(m.Path.Value)),
			truth(n.Method != "", m.Method != ""),
			cmp.Compare(len(n.Headers), len(m.Headers)),
			cmp.Compare(len(n.Query), len(m.Query)),
		)
	})
}

// SortStreams puts streams in the order of their precedence, as Sort does.
func SortStreams(streams []Stream) {
	slices.SortStableFunc(streams, func(a, b Stream) int { return compareHostnames(a.Hostname, b.Hostname) })
}

func truth(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// choose returns the listener for a host: the one with the most specific hostname that covers it, or nil.
func choose(listeners []Listener, host string, fits func(Protocol) bool) *Listener {
	var best *Listener
	for i := range listeners {
		l := &listeners[i]
		if fits(l.Protocol) && Hosts(l.Hostname, host) &&
			(best == nil || compareHostnames(l.Hostname, best.Hostname) < 0) {
			best = l
		}
	}
	return best
}

// route returns the first route of a listener that a request matches, or nil.
func (l *Listener) route(host string, r *http.Request) *Route {
	for i := range l.Routes {
		if route := &l.Routes[i]; Hosts(route.Hostname, host) && route.Match.covers(r) {
			return route
		}
	}
	return nil
}

func (m *Match) covers(r *http.Request) bool {
	if m.Method != "" && m.Method != r.Method || !m.Path.covers(r.URL.Path) {
		return false
	}
	for _, h := range m.Headers {
		values := r.Header.Values(h.Name)
		if strings.EqualFold(h.Name, "Host") {
			values = []string{r.Host}
		}
		if len(values) == 0 || !h.covers(strings.Join(values, ",")) {
			return false
		}
	}
	if len(m.Query) == 0 {
		return true
	}
	query := r.URL.Query()
	return !slices.ContainsFunc(m.Query, func(q ValueMatch) bool {
		return !query.Has(q.Name) || !q.covers(query.Get(q.Name))
	})
}

func (m *PathMatch) covers(path string) bool {
	switch {
	case m.Exact:
		return path == m.Value
	case m.Pattern != nil:
		return m.Pattern.MatchString(path)
	}
	rest, found := strings.CutPrefix(path, strings.TrimSuffix(m.Value, "/"))
	return found && (rest == "" || rest[0] == '/')
}

func (m *ValueMatch) covers(value string) bool {
	if m.Pattern != nil {
		return m.Pattern.MatchString(value)
	}
	return m.Value == value
}

// edit returns a path after an edit. The prefix that a route matched is replaced by whole elements, so that no slash is
// doubled or lost.
func (e *PathEdit) edit(path string, matched *PathMatch) string {
	if !e.Prefix {
		return e.Value
	}
	rest := strings.TrimPrefix(path, strings.TrimSuffix(matched.Value, "/"))
	if edited := strings.TrimSuffix(e.Value, "/") + rest; edited != "" {
		return edited
	}
	return "/"
}

// hostOf returns the host of an authority in lower case, without its port.
func hostOf(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return strings.ToLower(host)
	}
	return strings.ToLower(authority)
}
