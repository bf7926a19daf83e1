//go:build e2e

package failures

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// tunnelsName is the name of the Deployment of the tunnels.
const tunnelsName = "outposts-hub-tunnels"

// TestE2EStreamsOutliveTheHub holds that a stream to a server on another cluster goes on while the hub's pod is killed:
// not a frame of a kernel that counts is lost, and nobody connects again. Where one of the tunnels is killed, one
// reconnect is enough.
func TestE2EStreamsOutliveTheHub(t *testing.T) {
	const server = "stream"
	d, ctx := deployed.Open(t), t.Context()
	count := counting(ctx, t, d, server)
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
		if err := d.Local.RolledOut(ctx, deployed.HubNamespace, tunnelsName); err != nil {
			t.Fatal(err)
		}
	}
}

// counting starts a server on the other cluster, and a count on it.
func counting(ctx context.Context, t *testing.T, d *deployed.Deployed, server string) *deployed.Count {
	t.Helper()
	d.Start(ctx, t, d.Hub, d.User, server, map[string]any{"system": "remote"})
	return deployed.StartCount(ctx, t, d.Hub, d.User, server)
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

// TestE2EStreamsOutliveAnUpgradeOfTheTunnels holds that a rolling upgrade of the tunnels leaves a stream alone for as
// long as it lasts, within the time that the operator gives it, and that others serve new ones meanwhile.
func TestE2EStreamsOutliveAnUpgradeOfTheTunnels(t *testing.T) {
	const server = "drained"
	d, ctx := deployed.Open(t), t.Context()
	count := counting(ctx, t, d, server)
	before, err := d.Local.PodNames(ctx, deployed.HubNamespace, deployed.TunnelsPod)
	if err != nil || len(before) != 2 {
		t.Fatalf("the tunnels are %v, %v, want two", before, err)
	}
	left := func(ctx context.Context) ([]string, error) {
		names, err := d.Local.PodNames(ctx, deployed.HubNamespace, deployed.TunnelsPod)
		return slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(before, name) }), err
	}
	if err := mark(ctx, d.Local, deployed.HubNamespace, tunnelsName, t.Name()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := mark(context.Background(), d.Local, deployed.HubNamespace, tunnelsName, nil); err != nil {
			t.Error(err)
		}
	})

	rolling, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	err = deployed.Eventually(rolling, func(ctx context.Context) error {
		tunnels, err := d.Local.API.AppsV1().Deployments(deployed.HubNamespace).Get(ctx, tunnelsName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if tunnels.Status.AvailableReplicas < 2 {
			t.Errorf("%d replicas are available", tunnels.Status.AvailableReplicas)
		}
		if err := d.Local.IsRolledOut(ctx, deployed.HubNamespace, tunnelsName); err != nil {
			return err
		}
		return d.Hub.WaitReachable(ctx, d.User, server)
	})
	if err != nil {
		t.Fatal(err)
	}
	if old, err := left(ctx); err != nil || len(old) == 0 {
		t.Errorf("old replicas are %v, %v, want the one with the stream", old, err)
	}
	count.Whole(ctx, t)

	// Its last streams end with the server, and it with them, long before its time is over.
	deployed.Stop(t, d.Hub, d.User, server)
	ended, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = deployed.Eventually(ended, func(ctx context.Context) error {
		old, err := left(ctx)
		if err == nil && len(old) > 0 {
			err = fmt.Errorf("%v run on without a stream", old)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
