//go:build e2e

package lifecycle

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// evicted is how many servers a maintenance ends.
const evicted = 50

// The users of 50 servers are told twice that a maintenance ends them, then all are stopped, and their homes stay.
// Notices come 60 and 10 minutes before.
func TestE2EEvictionIsAnnouncedTwice(t *testing.T) {
	if os.Getenv("E2E_EVICT") == "" {
		t.Skip("takes a quarter of an hour: set E2E_EVICT=yes")
	}
	t.Parallel()
	c := newCluster(t)
	hub := newToldHub(t)
	p := c.newProcess(t, t.TempDir())
	write(t, p.config, fmt.Sprintf(
		"spawner: {image: %s, cpu_guarantee: 0.001, mem_guarantee: 1M, homes: {size: 1Mi}}\n"+
			"hubs: {%s: {callbackUrls: [%q]}}\n", c.image, hubName, hub.url))
	p.start(t)
	began := time.Now()
	atMost(t, evicted, 16, func(i int) error {
		name := serverOf(i)
		asked := startRequest{name: name, startID: "s", eventsURL: hub.url + "/" + name}
		return wantStatus(p.request(t.Context(), asked, false))
	})
	t.Logf("%d servers were started within %.0f s", evicted, time.Since(began).Seconds())
	pods, homes := c.uids(t), deployed.Claims(t, c.client, c.namespace)
	if len(pods) != evicted || len(homes) != evicted {
		t.Fatalf("%d pods and %d claims, want %d of each", len(pods), len(homes), evicted)
	}

	began = time.Now()
	p.does(t, "drain", "--from", "10m30s", "--evict", "--text", "New disks.")
	for notice := 1; notice <= 2; notice++ {
		wait(t, time.Minute, fmt.Sprintf("notice %d", notice), func() error { return hub.told(notice) })
		t.Logf("all have notice %d after %.0f s", notice, time.Since(began).Seconds())
	}
	if diff := cmp.Diff(pods, c.uids(t)); diff != "" {
		t.Errorf("pods before the time comes (-want +got):\n%s", diff)
	}
	wait(t, 13*time.Minute, "all servers are stopped", func() error {
		if left := c.pods(t); len(left) > 0 {
			return fmt.Errorf("%d pods are left", len(left))
		}
		return nil
	})
	t.Logf("all are stopped after %.0f s", time.Since(began).Seconds())
	if err := hub.told(2); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(homes, deployed.Claims(t, c.client, c.namespace)); diff != "" {
		t.Errorf("homes (-before +after):\n%s", diff)
	}
}

func serverOf(i int) string { return fmt.Sprintf("evicted-%02d", i) }

// toldHub is a hub that takes what users of servers are told (protocol 3.2).
type toldHub struct {
	url string

	mu      sync.Mutex
	notices map[string]int // by server
}

func newToldHub(t *testing.T) *toldHub {
	t.Helper()
	h := &toldHub{notices: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event struct {
			Message string `json:"message"`
			Notice  bool   `json:"notice"`
		}
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if event.Notice && strings.HasPrefix(event.Message, "This server is stopped at ") &&
			strings.HasSuffix(event.Message, " New disks.") {
			h.mu.Lock()
			h.notices[strings.TrimPrefix(r.URL.Path, "/")]++
			h.mu.Unlock()
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}

// told returns an error unless each user has been told that many times.
func (h *toldHub) told(times int) error {
	want := map[string]int{}
	for i := range evicted {
		want[serverOf(i)] = times
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if diff := cmp.Diff(want, h.notices); diff != "" {
		return fmt.Errorf("notices (-want +got):\n%s", diff)
	}
	return nil
}
