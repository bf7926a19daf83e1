package kubeapi

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outposts-dev/outposts/dev/clusters/pki"
	"github.com/outposts-dev/outposts/dev/clusters/plan"
)

// serve starts an API server with the keys of a cluster at 127.0.0.1, and returns a client for it.
func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	network, err := plan.ParseNetwork(plan.DefaultNetwork)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "pki")
	if err := pki.Ensure(dir, plan.Cluster{Name: "local", Index: 2, Network: network}); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "apiserver.crt"), filepath.Join(dir, "apiserver.key"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	client, err := New(server.URL, dir)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestApply(t *testing.T) {
	var got string
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = strings.Join([]string{
			r.TLS.PeerCertificates[0].Subject.CommonName, r.Method, r.URL.String(),
			r.Header.Get("Content-Type"), string(body),
		}, " ")
		w.WriteHeader(http.StatusCreated)
	})
	if err := client.Apply(t.Context(), "/api/v1/namespaces/x", []byte("kind: Namespace")); err != nil {
		t.Fatal(err)
	}
	if want := "admin PATCH /api/v1/namespaces/x?fieldManager=clusters&force=true application/apply-patch+yaml kind: " +
		"Namespace"; got != want {
		t.Errorf("request %q, want %q", got, want)
	}
}

// What kubectl cordon, or a test that was ended, has left is undone; a node that takes pods is not written to.
func TestUncordon(t *testing.T) {
	for node, want := range map[string][]string{
		`{"spec": {}}`: {"GET /api/v1/nodes/local  "},
		`{"spec": {"unschedulable": true}}`: {
			"GET /api/v1/nodes/local  ",
			`PATCH /api/v1/nodes/local application/merge-patch+json {"spec":{"unschedulable":null}}`,
		},
	} {
		var got []string
		client := serve(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got = append(got, strings.Join([]string{
				r.Method, r.URL.String(), r.Header.Get("Content-Type"), string(body),
			}, " "))
			_, _ = io.WriteString(w, node)
		})
		if err := client.Uncordon(t.Context(), "local"); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("node %s: requests %q, want %q", node, got, want)
		}
	}
}

func TestErrorsSayWhatTheServerSaid(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		if r.URL.Path == "/readyz" {
			_, _ = io.WriteString(w, "[-]etcd failed")
			return
		}
		_, _ = io.WriteString(w, `{"kind": "Status", "message": "you may not"}`)
	})
	for path, want := range map[string]string{
		"/readyz": "403 Forbidden: [-]etcd failed",
		"/api":    "GET /api: 403 Forbidden: you may not",
	} {
		if err := client.Get(t.Context(), path, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Get(%s): %v, want %q", path, err, want)
		}
	}
}

func TestCountPods(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"items": [
			{"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}},
			{"status": {"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}]}},
			{"status": {"phase": "Succeeded", "conditions": [{"type": "Ready", "status": "False"}]}}]}`)
	})
	if ready, all, err := client.CountPods(t.Context()); ready != 1 || all != 2 || err != nil {
		t.Errorf("%d of %d, %v", ready, all, err)
	}
}

func TestNodeReady(t *testing.T) {
	const node = `{"metadata": {"name": "local"}, "status": {"conditions": [
		{"type": "MemoryPressure", "status": "False"},
		{"type": "Ready", "status": "STATUS", "message": "why", "lastHeartbeatTime": "2026-01-02T03:04:05Z"}]}}`
	beat := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		name, node string
		since      time.Time
		ready      bool
		why        string
	}{
		{"fresh", strings.Replace(node, "STATUS", "True", 1), beat.Add(900 * time.Millisecond), true, "why"},
		{"from before", strings.Replace(node, "STATUS", "True", 1), beat.Add(time.Second), false, "no heartbeat yet"},
		{"not ready", strings.Replace(node, "STATUS", "False", 1), beat, false, "why"},
		{"new", `{}`, beat, false, "not registered yet"},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, test.node) })
			got, err := client.Node(t.Context(), "local")
			if err != nil {
				t.Fatal(err)
			}
			if ready, why := got.Ready(test.since); ready != test.ready || why != test.why {
				t.Errorf("Ready: %v %q", ready, why)
			}
		})
	}
}

func TestNewWithoutKeys(t *testing.T) {
	if _, err := New("https://127.0.0.1:1", t.TempDir()); err == nil {
		t.Error("a client without keys")
	}
}
