package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// errTimeout is why a request that took too long was ended.
var errTimeout = errors.New("timed out")

// ServeHTTP answers one request: 421 when it came over the TLS handshake of another listener, 404 when no route has it.
func (p *port) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	listeners, host := *p.listeners.Load(), hostOf(r.Host)
	fits := func(protocol Protocol) bool { return protocol == HTTP }
	if r.TLS != nil {
		fits = Protocol.OverTLS
	}
	listener := choose(listeners, host, fits)
	if r.TLS != nil && listener != choose(listeners, strings.ToLower(r.TLS.ServerName), fits) {
		http.Error(w, "this connection is for another host", http.StatusMisdirectedRequest)
		return
	}
	if listener == nil {
		http.Error(w, "no listener for "+r.Host, http.StatusNotFound)
		return
	}
	route := listener.route(host, r)
	if route == nil {
		http.Error(w, "no route for "+r.Host+r.URL.Path, http.StatusNotFound)
		return
	}
	x := exchange{port: p, listener: listener, route: route}
	x.serve(w, r)
}

// exchange is one request on its way through its route.
type exchange struct {
	port     *port
	listener *Listener
	route    *Route
	stop     func() bool // ends the timeouts
}

func (x *exchange) serve(w http.ResponseWriter, r *http.Request) {
	rule := x.route.Rule
	if rule.Filters.Redirect != nil {
		x.redirect(w, r, rule.Filters.Redirect)
		return
	}
	backend, endpoint, err := pick(rule.Backends)
	switch {
	case errors.Is(err, errNoEndpoint):
		http.Error(w, "no endpoint is ready", http.StatusServiceUnavailable)
		return
	case err != nil:
		http.Error(w, "no backend", http.StatusInternalServerError)
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	x.stop = func() bool { return true }
	// Requests are never retried, so that one attempt is all of them.
	if limit := shorter(rule.RequestTimeout, rule.BackendTimeout); limit > 0 {
		timer := time.AfterFunc(limit, func() { cancel(errTimeout) })
		defer timer.Stop()
		x.stop = timer.Stop
	}
	x.pass(w, r.WithContext(ctx), backend, endpoint)
}

func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// pass sends the request to an endpoint of a backend and its answer back. WebSockets pass.
func (x *exchange) pass(w http.ResponseWriter, r *http.Request, backend *Backend, endpoint netip.AddrPort) {
	filters := []Filters{x.route.Rule.Filters, backend.Filters}
	if err := x.mirror(r, filters); err != nil {
		http.Error(w, "cannot read the request", http.StatusBadRequest)
		return
	}
	logger := x.port.server.logger
	proxy := httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			x.rewrite(p, filters)
			p.SetURL(&url.URL{Scheme: backend.scheme(), Host: endpoint.String()})
			p.Out.Host = x.host(p.In.Host, filters)
		},
		ModifyResponse: func(response *http.Response) error {
			if response.StatusCode == http.StatusSwitchingProtocols && !x.stop() {
				return errTimeout
			}
			for _, f := range filters {
				f.Response.edit(response.Header)
			}
			return nil
		},
		FlushInterval: -1, // progress events must not wait for a full buffer
		Transport:     x.port.server.transports.of(backend),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(context.Cause(r.Context()), errTimeout) {
				http.Error(w, "the backend did not answer in time", http.StatusGatewayTimeout)
				return
			}
			http.Error(w, "bad gateway", http.StatusBadGateway)
			logger.Warn("backend did not answer", "listener", x.listener.Name, "path", r.URL.Path, "err", err)
		},
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	proxy.ServeHTTP(w, r)
}

func (x *exchange) rewrite(p *httputil.ProxyRequest, filters []Filters) {
	p.SetXForwarded()
	for _, f := range filters {
		if f.Rewrite != nil && f.Rewrite.Path != nil {
			p.Out.URL.Path, p.Out.URL.RawPath = f.Rewrite.Path.edit(p.Out.URL.Path, &x.route.Match.Path), ""
		}
		f.Request.edit(p.Out.Header)
	}
}

func (x *exchange) host(host string, filters []Filters) string {
	for _, f := range filters {
		if f.Rewrite != nil && f.Rewrite.Hostname != "" {
			host = f.Rewrite.Hostname
		}
	}
	return host
}

func (e *HeaderEdit) edit(header http.Header) {
	for _, h := range e.Set {
		header.Set(h.Name, h.Value)
	}
	for _, h := range e.Add {
		header.Add(h.Name, h.Value)
	}
	for _, name := range e.Remove {
		header.Del(name)
	}
}

func (x *exchange) redirect(w http.ResponseWriter, r *http.Request, to *Redirect) {
	scheme, port := "http", 0
	if r.TLS != nil {
		scheme = "https"
	}
	switch {
	case to.Port != 0:
		port = to.Port
	case to.Scheme == "":
		port = int(x.port.address.Port())
	}
	if to.Scheme != "" {
		scheme = strings.ToLower(to.Scheme)
	}
	host := hostOf(r.Host)
	if to.Hostname != "" {
		host = to.Hostname
	}
	if port != 0 && !(scheme == "http" && port == 80) && !(scheme == "https" && port == 443) {
		host = net.JoinHostPort(host, strconv.Itoa(port))
	}
	target := url.URL{Scheme: scheme, Host: host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	if to.Path != nil {
		target.Path, target.RawPath = to.Path.edit(r.URL.Path, &x.route.Match.Path), ""
	}
	header := w.Header()
	x.route.Rule.Filters.Response.edit(header)
	header.Set("Location", target.String())
	w.WriteHeader(to.Status)
}

// mirror sends copies of the request to the mirrors that are due, without waiting for their answers. The body is read
// before, once for all.
func (x *exchange) mirror(r *http.Request, filters []Filters) error {
	var due []*Mirror
	for i := range filters {
		for j := range filters[i].Mirrors {
			if m := &filters[i].Mirrors[j]; rand.IntN(m.Denominator) < m.Numerator {
				due = append(due, m)
			}
		}
	}
	if len(due) == 0 {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	for _, m := range due {
		endpoint, err := m.Backend.endpoint()
		if err != nil {
			continue
		}
		copied := r.Clone(x.port.ctx)
		copied.URL.Scheme, copied.URL.Host, copied.RequestURI = m.Backend.scheme(), endpoint.String(), ""
		copied.Body = io.NopCloser(bytes.NewReader(body))
		for _, f := range filters {
			f.Request.edit(copied.Header)
		}
		go func() {
			answer, err := x.port.server.transports.of(&m.Backend).RoundTrip(copied)
			if err != nil {
				x.port.server.logger.Debug("mirror did not answer", "listener", x.listener.Name, "err", err)
				return
			}
			answer.Body.Close()
		}()
	}
	return nil
}
