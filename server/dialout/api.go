package dialout

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"
)

// NewAPI returns a handler that leads http://HOST/systems/NAME/PATH to PATH of the API of a system's outpost. dial
// opens a connection to that. A request that has not reached the outpost is answered 502 or 503, so that a hub may send
// it again, and one of which that is not known 504. Never is it 404, which would say that a server is gone.
func NewAPI(
	dialsOut func(system string) bool, dial func(ctx context.Context, system string) (net.Conn, error),
	log *slog.Logger,
) http.Handler {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			system, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			conn, err := dial(ctx, system)
			if err != nil {
				return nil, notSent{err}
			}
			return conn, nil
		},
		MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		DisableCompression: true,
	}
	proxy := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", r.In.PathValue("system")
			r.Out.Host = r.In.Host
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			log.Debug("no answer of an outpost", "system", r.PathValue("system"), "err", err)
			status := http.StatusGatewayTimeout
			if errors.As(err, &notSent{}) {
				status = http.StatusBadGateway
			}
			http.Error(w, "the outpost has not answered", status)
		},
	}
	// http.ServeMux would redirect a request with two slashes, such as each one about a default server, to a path of
	// another meaning.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, below := strings.CutPrefix(r.URL.EscapedPath(), "/systems/") // in which a name has no escapes
		system, _, found := strings.Cut(rest, "/")
		if !below || !found || !dialsOut(system) {
			http.Error(w, "the tunnels know no system of this name that dials out", http.StatusServiceUnavailable)
			return
		}
		r.SetPathValue("system", system)
		http.StripPrefix("/systems/"+system, proxy).ServeHTTP(w, r)
	})
}

// notSent is the error of a request for which there was no connection.
type notSent struct{ error }

func (e notSent) Unwrap() error { return e.error }
