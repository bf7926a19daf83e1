package dialout

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAPIWithoutAnAnswer holds what a hub learns of a request that an outpost has not answered: whether it may send it
// again, and never that what it asks for is gone.
func TestAPIWithoutAnAnswer(t *testing.T) {
	outpost := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/lost" {
			panic(http.ErrAbortHandler)
		}
		http.Error(w, r.URL.EscapedPath(), http.StatusNotFound)
	}))
	defer outpost.Close()
	away := errors.New("the outpost is away")
	api := NewAPI(
		func(system string) bool { return system == "inner" || system == "away" },
		func(ctx context.Context, system string) (net.Conn, error) {
			if system == "away" {
				return nil, away
			}
			return new(net.Dialer).DialContext(ctx, "tcp", outpost.Listener.Addr().String())
		}, slog.New(slog.DiscardHandler))
	const words = "the outpost has not answered\n"
	for _, c := range []struct {
		name, path string
		status     int
		body       string
	}{
		{"the outpost's own answer", "/systems/inner/services/a", 404, "/services/a\n"},
		{"a default server", "/systems/inner/services//a", 404, "/services//a\n"},
		{"an encoded slash", "/systems/inner/services/a%2Fb/../c", 404, "/services/a%2Fb/../c\n"},
		{"no system", "/services//a", 503, "the tunnels know no system of this name that dials out\n"},
		{
			"an escaped name", "/systems/%69nner/services", 503,
			"the tunnels know no system of this name that dials out\n",
		},
		{
			"an escaped prefix", "/%73ystems/inner/services", 503,
			"the tunnels know no system of this name that dials out\n",
		},
		{"a system alone", "/systems/inner", 503, "the tunnels know no system of this name that dials out\n"},
		{
			"a system that is not known", "/systems/direct/services", 503,
			"the tunnels know no system of this name that dials out\n",
		},
		{"no connection", "/systems/away/services", 502, words},
		{"a connection that is lost", "/systems/inner/lost", 504, words},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			api.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, c.path, nil))
			body, err := io.ReadAll(w.Result().Body)
			if err != nil {
				t.Fatal(err)
			}
			got, want := []any{w.Code, string(body)}, []any{c.status, c.body}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}
