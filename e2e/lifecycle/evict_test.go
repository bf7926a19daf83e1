//go:build e2e

package lifecycle

import (
	"fmt"
	"os"
	"strings"
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
	hub := newProgress(t)
	p := c.newProcess(t, t.TempDir())
	write(t, p.config, fmt.Sprintf(
		"spawner: {image: %s, cpu_guarantee: 0.001, mem_guarantee: 1M, homes: {size: 1Mi}}\n"+
			"hubs: {%s: {callbackUrls: [%q]}}\n", c.image, hubName, hub.URL))
	p.start(t)
	began := time.Now()
	atMost(t, evicted, 16, func(i int) error {
		name := serverOf(i)
		asked := startRequest{name: name, startID: "s", eventsURL: hub.URL + "/" + name}
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

// told returns an error unless the users of all servers have been told that many times that they are stopped.
func (p *progress) told(times int) error {
	want, got := map[string]int{}, map[string]int{}
	for i := range evicted {
		want[serverOf(i)] = times
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, events := range p.said {
		for _, e := range events {
			if e.Notice && strings.HasPrefix(e.Message, "This server is stopped at ") &&
				strings.HasSuffix(e.Message, " New disks.") {
				got[name]++
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("notices (-want +got):\n%s", diff)
	}
	return nil
}
