package outpost

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
)

// Variables of a request's environment that say where the hub wants to be called (protocol 3.1).
const (
	envEventsURL    = "JUPYTERHUB_EVENTS_URL"
	envTunnelURL    = "JUPYTERHUB_SETUPTUNNEL_URL"
	envFlavorsURL   = "JUPYTERHUB_FLAVORS_UPDATE_URL"
	envFlavorsToken = "JUPYTERHUB_FLAVORS_UPDATE_TOKEN"
	envAPIToken     = "JUPYTERHUB_API_TOKEN"
)

// Callbacks says where a service's hub wants to be called. A call with an empty URL is not made.
type Callbacks struct {
	Events, Tunnel, Flavors HubCall
}

// Callbacks reads the callbacks of a request's environment and keeps those that the hub's policy allows; refused lists
// the variables whose URL is not allowed.
func (h Hub) Callbacks(env map[string]string) (c Callbacks, refused []string) {
	call := func(name, token string) HubCall {
		u := env[name]
		switch {
		case u == "" || token == "":
			return HubCall{}
		case !h.allowsCallback(u):
			refused = append(refused, name)
			return HubCall{}
		}
		return HubCall{Hub: h.Name, URL: u, Token: Secret(token)}
	}
	api := env[envAPIToken]
	if h.SendEvents {
		c.Events = call(envEventsURL, api)
	}
	c.Tunnel = call(envTunnelURL, api)
	c.Flavors = call(envFlavorsURL, cmp.Or(env[envFlavorsToken], h.FlavorsToken.Reveal()))
	return c, refused
}

// allowsCallback reports whether raw lies below one of the hub's CallbackURLs: same scheme, host and port, and a path
// equal to the prefix's or below it. A URL that is not plain is never allowed.
func (h Hub) allowsCallback(raw string) bool {
	u, ok := plainURL(raw)
	if !ok {
		return false
	}
	return slices.ContainsFunc(h.CallbackURLs, func(prefix string) bool {
		p, ok := plainURL(prefix)
		if !ok || !sameOrigin(u, p) {
			return false
		}
		below, ok := strings.CutPrefix(u.Path, strings.TrimSuffix(p.Path, "/"))
		return ok && (below == "" || below[0] == '/')
	})
}

// plainURL parses an http or https URL that every server and library reads the same way: without user information,
// fragment and dot segments.
func plainURL(raw string) (u *url.URL, ok bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, false
	}
	if u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return nil, false
	}
	if strings.ContainsAny(u.Path, "\\\x00\r\n") || strings.Contains(strings.ToLower(u.EscapedPath()), "%2f") {
		return nil, false
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return nil, false
		}
	}
	return u, true
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}
