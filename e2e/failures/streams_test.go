//go:build e2e

package failures

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
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
// long as it lasts, within the time that the operator gives it, and that others serve new ones meanwhile. One that
// outlasts the time is ended, and one reconnect is enough.
func TestE2EStreamsOutliveAnUpgradeOfTheTunnels(t *testing.T) {
	const server = "drained"
	d, ctx := deployed.Open(t), t.Context()
	count := counting(ctx, t, d, server)
	before := tunnelsOf(ctx, t, d)
	if len(before) != 2 {
		t.Fatalf("the tunnels are %v, want two", before)
	}
	given := setDrain(ctx, t, d, "5") // for those that this starts
	t.Cleanup(func() { setDrain(context.Background(), t, d, given) })
	upgraded(ctx, t, d, server)
	if old, err := left(ctx, d, before); err != nil || len(old) == 0 {
		t.Errorf("old replicas are %v, %v, want the one with the stream", old, err)
	}
	count.Whole(ctx, t)

	kernel, err := d.Hub.OpenKernel(ctx, d.User, server)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kernel.Run(ctx, "answer = 42"); err != nil {
		t.Fatal(err)
	}
	brief := slices.DeleteFunc(tunnelsOf(ctx, t, d), func(name string) bool { return slices.Contains(before, name) })
	setDrain(ctx, t, d, given)
	upgraded(ctx, t, d, server)
	gone(ctx, t, d, brief)
	if printed, err := kernel.Run(ctx, "print(answer)"); err == nil {
		t.Errorf("a stream of a replica that has ended has printed %q", printed)
	}
	if kernel, err = kernel.Reopen(ctx); err != nil {
		t.Fatalf("the first reconnect: %v", err)
	}
	if printed, err := kernel.Run(ctx, "print(answer)"); err != nil || strings.TrimSpace(printed) != "42" {
		t.Errorf("printed %q, %v", printed, err)
	}

	// The last streams of the first replicas end with the server, and they with them, long before their time is over.
	deployed.Stop(t, d.Hub, d.User, server)
	gone(ctx, t, d, before)
}

// tunnelsOf returns the names of the pods of the tunnels.
func tunnelsOf(ctx context.Context, t *testing.T, d *deployed.Deployed) []string {
	t.Helper()
	names, err := d.Local.PodNames(ctx, deployed.HubNamespace, deployed.TunnelsPod)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// left returns those pods of the tunnels of before that are still there.
func left(ctx context.Context, d *deployed.Deployed, before []string) ([]string, error) {
	names, err := d.Local.PodNames(ctx, deployed.HubNamespace, deployed.TunnelsPod)
	return slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(before, name) }), err
}

// gone waits until none of the pods of before is there.
func gone(ctx context.Context, t *testing.T, d *deployed.Deployed, before []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := deployed.Eventually(ctx, func(ctx context.Context) error {
		old, err := left(ctx, d, before)
		if err == nil && len(old) > 0 {
			err = fmt.Errorf("%v run on", old)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// setDrain sets how many seconds streams of replicas may last that are started from now on, which replaces those that
// run. It returns what it was before.
func setDrain(ctx context.Context, t *testing.T, d *deployed.Deployed, seconds string) string {
	t.Helper()
	deployments := d.Local.API.AppsV1().Deployments(deployed.HubNamespace)
	changed, err := deployments.Get(ctx, tunnelsName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	env := changed.Spec.Template.Spec.Containers[0].Env
	i := slices.IndexFunc(env, func(v corev1.EnvVar) bool { return v.Name == "OUTPOST_TUNNELS_DRAIN" })
	before := env[i].Value
	env[i].Value = seconds
	if err := deployed.Replace(ctx, deployments.Update, changed); err != nil {
		t.Fatal(err)
	}
	return before
}

// upgraded waits until a change of the tunnels is rolled out, and holds that two serve all the time.
func upgraded(ctx context.Context, t *testing.T, d *deployed.Deployed, server string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	err := deployed.Eventually(ctx, func(ctx context.Context) error {
		deployments := d.Local.API.AppsV1().Deployments(deployed.HubNamespace)
		tunnels, err := deployments.Get(ctx, tunnelsName, metav1.GetOptions{})
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
}
