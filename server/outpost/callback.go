package outpost

import (
	"fmt"
	"net/url"
	"strings"
)

// Names of variables of a request's environment that say where the hub wants to be called (contract 1.6).
const (
	envEventsURL    = "JUPYTERHUB_EVENTS_URL"
	envTunnelURL    = "JUPYTERHUB_SETUPTUNNEL_URL"
	envFlavorsURL   = "JUPYTERHUB_FLAVORS_UPDATE_URL"
	envFlavorsToken = "JUPYTERHUB_FLAVORS_UPDATE_TOKEN"
	envAPIToken     = "JUPYTERHUB_API_TOKEN"
)

// callbacks says where a service's hub wants to be called. A call with an empty URL is not made.
type callbacks struct {
	events, tunnel, flavors HubCall
}

// callbacksOf reads the callbacks of a request's environment and keeps those that the hub's policy allows; refused
// lists the variables whose URL is not allowed.
func callbacksOf(h Hub, env map[string]string) (c callbacks, refused []string) {
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
		c.events = call(envEventsURL, api)
	}
	c.tunnel = call(envTunnelURL, api)
	token := env[envFlavorsToken]
	if token == "" {
		token = h.FlavorsToken.Reveal()
	}
	c.flavors = call(envFlavorsURL, token)
	return c, refused
}

// check reports every bad field of a hub.
func (h Hub) check() []error {
	var errs []error
	for _, prefix := range h.CallbackURLs {
		if u, err := url.Parse(prefix); err != nil || !soundURL(u) || u.RawQuery != "" {
			errs = append(errs, fmt.Errorf("hub %q: callback URL %q is not a plain http or https URL", h.Name, prefix))
		}
	}
	for _, p := range h.AllowedImages {
		if _, err := compileGlob(p); err != nil {
			errs = append(errs, fmt.Errorf("hub %q: image pattern %q is not a glob", h.Name, p))
		}
	}
	for what, call := range map[string]*HubCall{"tunnel restart": h.TunnelRestart, "servers": h.Servers} {
		if call == nil {
			continue
		}
		if u, err := url.Parse(call.URL); err != nil || !soundURL(u) {
			errs = append(errs, fmt.Errorf("hub %q: the URL for %s is not a plain http or https URL", h.Name, what))
		}
	}
	return errs
}

// allowsCallback tells whether raw lies below one of the hub's CallbackURLs: same scheme, host and port, and a path
// equal to the prefix's or below it. URLs with user information, a fragment or dot segments are never allowed.
func (h Hub) allowsCallback(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || !soundURL(u) {
		return false
	}
	for _, prefix := range h.CallbackURLs {
		p, err := url.Parse(prefix)
		if err != nil || !soundURL(p) || !sameOrigin(u, p) {
			continue
		}
		base := strings.TrimSuffix(p.Path, "/")
		if u.Path == base || strings.HasPrefix(u.Path, base+"/") {
			return true
		}
	}
	return false
}

// soundURL tells whether u is a plain http(s) URL that every server and library reads the same way.
func soundURL(u *url.URL) bool {
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return false
	}
	if strings.ContainsAny(u.Path, "\\\x00\r\n") || strings.Contains(strings.ToLower(u.EscapedPath()), "%2f") {
		return false
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
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
