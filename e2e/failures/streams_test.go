//go:build e2e

package failures

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// counted is the file that ends a count.
const counted = "/tmp/counted"

// TestE2EStreamsOutliveTheHub holds that a stream to a server on another cluster goes on while the hub's pod is killed:
// not a frame of a kernel that counts is lost, and nobody connects again. Where one of the tunnels is killed, one
// reconnect is enough.
func TestE2EStreamsOutliveTheHub(t *testing.T) {
	const server = "stream"
	d := deployed.Open(t)
	ctx := t.Context()
	d.Start(ctx, t, d.Hub, d.User, server, map[string]any{"system": "remote"})
	c := begin(ctx, t, d, server)
	if err := d.Local.ReplacePod(ctx, deployed.HubNamespace, deployed.HubPod); err != nil {
		t.Fatal(err)
	}
	reachable(ctx, t, d, server)
	numbers, err := c.end(ctx, t)
	if err != nil {
		t.Fatalf("the stream has broken: %v", err)
	}
	want := make([]string, len(numbers))
	for i := range want {
		want[i] = fmt.Sprint(i)
	}
	if diff := cmp.Diff(want, numbers); diff != "" || len(numbers) < 100 {
		t.Errorf("%d numbers were counted (-want +got):\n%s", len(numbers), diff)
	}
	t.Logf("%d numbers came in one stream of %.1f s", len(numbers), c.took.Seconds())

	// Of several, each is killed: the stream is in one of them.
	for range 2 {
		kernel, err := d.Hub.OpenKernel(ctx, d.User, server)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kernel.Run(ctx, "answer = 42"); err != nil {
			t.Fatal(err)
		}
		if err := d.Local.ReplacePod(ctx, deployed.HubNamespace, deployed.TunnelsPod); err != nil {
			t.Fatal(err)
		}
		printed, err := kernel.Run(ctx, "print(answer)")
		if err != nil { // it was the one
			if kernel, err = kernel.Reopen(ctx); err != nil {
				t.Fatalf("the first reconnect: %v", err)
			}
			printed, err = kernel.Run(ctx, "print(answer)")
		}
		if err != nil || strings.TrimSpace(printed) != "42" {
			t.Errorf("printed %q, %v", printed, err)
		}
		if err := d.Local.RolledOut(ctx, deployed.HubNamespace, "outposts-hub-tunnels"); err != nil {
			t.Fatal(err)
		}
	}
}

// count is a kernel that counts, and what has come of it.
type count struct {
	deployed *deployed.Deployed
	server   string
	began    time.Time
	took     time.Duration
	result   chan counting
}

type counting struct {
	printed string
	err     error
}

// begin starts to count on a server, ten numbers a second.
func begin(ctx context.Context, t *testing.T, d *deployed.Deployed, server string) *count {
	t.Helper()
	kernel, err := d.Hub.OpenKernel(ctx, d.User, server)
	if err != nil {
		t.Fatal(err)
	}
	c := &count{deployed: d, server: server, began: time.Now(), result: make(chan counting, 1)}
	go func() {
		printed, err := kernel.Run(ctx, fmt.Sprintf(`
import os, time
i = 0
while i < 100 or not os.path.exists(%q):
    print(i, flush=True)
    i += 1
    time.sleep(0.1)
`, counted))
		c.result <- counting{printed, err}
	}()
	return c
}

// end ends the count and returns what was counted.
func (c *count) end(ctx context.Context, t *testing.T) ([]string, error) {
	t.Helper()
	kernel, err := c.deployed.Hub.OpenKernel(ctx, c.deployed.User, c.server)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kernel.Run(ctx, fmt.Sprintf("open(%q, 'w').close()", counted)); err != nil {
		t.Fatal(err)
	}
	c.took = time.Since(c.began)
	result := <-c.result
	return strings.Fields(result.printed), result.err
}

// reachable waits until a server answers through the hub.
func reachable(ctx context.Context, t *testing.T, d *deployed.Deployed, server string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, aim)
	defer cancel()
	if err := d.Hub.WaitReachable(ctx, d.User, server); err != nil {
		t.Fatal(err)
	}
}
