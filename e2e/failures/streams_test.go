//go:build e2e

package failures

import (
	"context"
	"strings"
	"testing"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// TestE2EStreamsOutliveTheHub holds that a stream to a server on another cluster goes on while the hub's pod is killed:
// not a frame of a kernel that counts is lost, and nobody connects again. Where one of the tunnels is killed, one
// reconnect is enough.
func TestE2EStreamsOutliveTheHub(t *testing.T) {
	const server = "stream"
	d := deployed.Open(t)
	ctx := t.Context()
	d.Start(ctx, t, d.Hub, d.User, server, map[string]any{"system": "remote"})
	count := d.Count(ctx, t, server)
	if err := d.Local.ReplacePod(ctx, deployed.HubNamespace, deployed.HubPod); err != nil {
		t.Fatal(err)
	}
	reachable(ctx, t, d, server)
	count.Whole(ctx, t)

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

// reachable waits until a server answers through the hub.
func reachable(ctx context.Context, t *testing.T, d *deployed.Deployed, server string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, aim)
	defer cancel()
	if err := d.Hub.WaitReachable(ctx, d.User, server); err != nil {
		t.Fatal(err)
	}
}
