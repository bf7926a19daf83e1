//go:build e2e

package lifecycle

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// ownLimit is how much of the time from a start's request to its pod may be the outpost's own.
const ownLimit = 50 * time.Millisecond

// ownName is how the servers of this test are called; their pods' names hold it.
var ownName = regexp.MustCompile(`own-[0-9]+-end`)

// watchedAPI is the cluster's API server behind a proxy that takes the time of the requests of each start.
type watchedAPI struct {
	mu      sync.Mutex
	waited  map[string]time.Duration // by server: of all its requests until its pod was made
	created map[string]time.Time     // by server: when the answer to the creation of its pod had gone out
}

// newWatchedAPI returns the proxy and a kubeconfig for it.
func newWatchedAPI(t *testing.T, c *cluster) (*watchedAPI, string) {
	t.Helper()
	w := &watchedAPI{waited: map[string]time.Duration{}, created: map[string]time.Time{}}
	transport, err := rest.TransportFor(c.config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(c.config.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		// watches
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: transport, FlushInterval: -1,
		ErrorLog: log.New(io.Discard, "", 0), // of a process that is killed
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: w.handler(proxy)}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(
		"apiVersion: v1\nkind: Config\ncurrent-context: %[1]s\nclusters: [{name: c, cluster: {server: "+
			"'http://%[2]s'}}]\n"+
			"contexts: [{name: %[1]s, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n",
		c.context, listener.Addr())
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return w, path
}

// handler takes the time of what concerns a start. In the protobuf that the outpost sends, names are plain text.
func (w *watchedAPI) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		name := ownName.FindString(r.URL.Path)
		if r.Method == http.MethodPost {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			name = string(ownName.Find(body))
		}
		next.ServeHTTP(rw, r)
		if name == "" {
			return
		}
		end := time.Now()
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.created[name].IsZero() {
			return
		}
		w.waited[name] += end.Sub(begin)
		if r.Method == http.MethodPost && filepath.Base(r.URL.Path) == "pods" {
			w.created[name] = end
		}
	})
}

// own returns how long a start took from its request to the answer to the creation of its pod, without Kubernetes.
func (w *watchedAPI) own(name string, posted time.Time) (own, waited time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.created[name].IsZero() {
		return 0, 0, fmt.Errorf("%s: its pod was never made", name)
	}
	return w.created[name].Sub(posted) - w.waited[name], w.waited[name], nil
}

// What a start takes beside Kubernetes is little: one at a time, and many at once.
func TestE2EOwnTimeOfAStart(t *testing.T) {
	many, err := strconv.Atoi(setting("E2E_STARTS", defaultManyStarts))
	if err != nil {
		t.Fatal("E2E_STARTS is a number: ", err)
	}
	c := newCluster(t)
	w, kubeconfig := newWatchedAPI(t, c)
	p := c.newProcess(t, t.TempDir())
	p.kubeconfig = kubeconfig
	p.start(t)
	serial := 0
	for _, test := range []struct{ atOnce, count int }{{1, 10}, {many, many}} {
		var mu sync.Mutex
		var owns, waits []time.Duration
		first := serial
		serial += test.count
		begin := time.Now()
		atMost(t, test.count, test.atOnce, func(i int) error {
			name := fmt.Sprintf("own-%d-end", first+i)
			posted := time.Now()
			if err := wantStatus(p.startService(t.Context(), name, "s", false)); err != nil {
				return err
			}
			own, waited, err := w.own(name, posted)
			mu.Lock()
			defer mu.Unlock()
			owns, waits = append(owns, own), append(waits, waited)
			return err
		})
		took := time.Since(begin)
		if t.Failed() {
			return
		}
		slices.Sort(owns)
		slices.Sort(waits)
		half, last := len(owns)/2, len(owns)-1
		t.Logf("%d starts, %d at once: own time %v (p50), %v (longest); Kubernetes until the pod was made %v (p50), "+
			"%v (longest); all ready within %v",
			test.count, test.atOnce, owns[half], owns[last], waits[half], waits[last], took.Round(time.Millisecond))
		if test.atOnce == 1 && owns[half] > ownLimit {
			t.Errorf("half of the starts took %v of our own time or more, want %v", owns[half], ownLimit)
		}
		atMost(t, test.count, test.atOnce, func(i int) error {
			return wantStatus(p.call(context.WithoutCancel(t.Context()), http.MethodDelete,
				fmt.Sprintf("/services/own-%d-end/s", first+i), nil, false))
		})
	}
}
