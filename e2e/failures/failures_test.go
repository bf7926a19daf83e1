//go:build e2e

// Package failures breaks one part after the other of a deployed hub and its outposts while servers run, and starts
// servers that cannot start.
package failures

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/e2e/hubapi"
)

// aim is how soon a running server must be reachable again after a part has come back.
const aim = time.Minute

// reasonIn is how soon the user must see why a start cannot work.
const reasonIn = 30 * time.Second

// TestE2ERunningServersSurvive holds that a JupyterLab on each system, with a variable in its kernel, outlives the loss
// of every part between it and its user.
func TestE2ERunningServersSurvive(t *testing.T) {
	d := deployed.Open(t)
	ctx := t.Context()
	kernels := map[string]*hubapi.Kernel{}
	for _, system := range d.Systems {
		server := "survive-" + system
		d.Start(ctx, t, d.Hub, d.User, server, map[string]any{"system": system, "flavor": "large"})
		kernel, err := d.Hub.OpenKernel(ctx, d.User, server)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kernel.Run(ctx, "answer = 42"); err != nil {
			t.Fatal(err)
		}
		kernels[system] = kernel
	}
	tests := []struct {
		name  string
		wreck func(context.Context, *testing.T) error
	}{
		{"a replica of the tunnels killed", func(ctx context.Context, _ *testing.T) error {
			return d.Local.ReplacePod(ctx, deployed.HubNamespace, deployed.TunnelsPod)
		}},
		{"outpost pod of remote killed", func(ctx context.Context, _ *testing.T) error {
			return d.Remote.ReplacePod(ctx, deployed.OutpostNamespace, deployed.OutpostPod)
		}},
		{"outpost pod of local killed", func(ctx context.Context, _ *testing.T) error {
			return d.Local.ReplacePod(ctx, deployed.OutpostNamespace, deployed.OutpostPod)
		}},
		{"proxy killed", func(ctx context.Context, _ *testing.T) error {
			return d.Local.ReplacePod(ctx, deployed.HubNamespace, deployed.ProxyPod)
		}},
		{"hub pod killed", func(ctx context.Context, _ *testing.T) error {
			return d.Local.ReplacePod(ctx, deployed.HubNamespace, deployed.HubPod)
		}},
		{"network to remote cut for 60 s", func(ctx context.Context, t *testing.T) error {
			return cut(ctx, t, d.Root, "remote", time.Minute)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := test.wreck(ctx, t); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			ctx, cancel := context.WithTimeout(ctx, aim)
			defer cancel()
			for _, system := range d.Systems {
				server := "survive-" + system
				if err := d.Hub.WaitReachable(ctx, d.User, server); err != nil {
					t.Fatalf("%s is not reachable after %s: %v", server, aim, err)
				}
				t.Logf("%s reachable after %.1f s", server, time.Since(began).Seconds())
				again, err := kernels[system].Reopen(ctx)
				if err != nil {
					t.Fatalf("the kernel on %s: %v", system, err)
				}
				kernels[system] = again
				printed, err := again.Run(ctx, "print(answer)")
				if err != nil || strings.TrimSpace(printed) != "42" {
					t.Fatalf("the kernel on %s has forgotten: printed %q, %v", system, printed, err)
				}
			}
		})
	}
}

// cut takes the node of a local cluster off the network for a while.
func cut(ctx context.Context, t *testing.T, root, cluster string, d time.Duration) error {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("taking a node off the network needs root")
	}
	node, ok := deployed.Running(t, root, cluster)
	if !ok {
		return fmt.Errorf("no node of cluster %s runs", cluster)
	}
	pid := strconv.Itoa(node.PID)
	link := func(state string) error {
		out, err := exec.CommandContext(context.WithoutCancel(ctx), "nsenter", "-t", pid, "-n", "ip", "link", "set",
			"eth0", state).CombinedOutput()
		if err != nil {
			return fmt.Errorf("link %s: %w: %s", state, err, out)
		}
		return nil
	}
	routes, err := exec.CommandContext(ctx, "nsenter", "-t", pid, "-n", "ip", "route", "show", "default").Output()
	if err != nil {
		return fmt.Errorf("read the default route: %w", err)
	}
	if err := link("down"); err != nil {
		return err
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	if err := link("up"); err != nil {
		return err
	}
	// The kernel forgets the route with the link.
	argv := append([]string{"-t", pid, "-n", "ip", "route", "replace"}, strings.Fields(string(routes))...)
	if out, err := exec.CommandContext(context.WithoutCancel(ctx), "nsenter", argv...).CombinedOutput(); err != nil {
		return fmt.Errorf("restore the default route: %w: %s", err, out)
	}
	return nil
}

// TestE2EStartsThatCannotWork holds that the user sees the reason of a failed start within reasonIn, in words.
func TestE2EStartsThatCannotWork(t *testing.T) {
	d := deployed.Open(t)
	d.Remote.ReplaceFlavors(t, `{
		"flavors": {
			"small": {"display_name": "Small", "resources": {"image": "localhost/outposts/no-such-image:1"}},
			"large": {"display_name": "Large", "resources": {"mem_guarantee": "900G", "mem_limit": "900G"}}
		}
	}`)
	tests := []struct {
		name    string
		options map[string]any
		want    []string
	}{
		{
			"no such image",
			map[string]any{"system": "remote", "flavor": "small"},
			[]string{"Remote cluster", "no-such-image"},
		},
		{
			"too much memory",
			map[string]any{"system": "remote", "flavor": "large"},
			[]string{"Remote cluster", "memory"},
		},
		{
			"no such flavor",
			map[string]any{"system": "remote", "flavor": "huge"},
			[]string{"no flavor 'huge'", "small, large"},
		},
		{"no such system", map[string]any{"system": "moon"}, []string{"Choose one of these systems: local, remote"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			const server = "cannot-work"
			ctx, cancel := context.WithTimeout(t.Context(), reasonIn)
			defer cancel()
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
				defer cancel()
				if err := d.Hub.Stop(ctx, d.User, server); err != nil {
					t.Error(err)
				}
				if err := d.Hub.WaitGone(ctx, d.User, server); err != nil {
					t.Error(err)
				}
			})
			began := time.Now()
			err := d.Hub.Start(ctx, d.User, server, test.options)
			if err == nil {
				err = d.Hub.Progress(ctx, d.User, server, nil)
			}
			if err == nil {
				t.Fatal("the server has started")
			}
			t.Logf("after %.1f s: %v", time.Since(began).Seconds(), err)
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in the reason %q", want, err)
				}
			}
		})
	}
}

// TestE2ESeveralUsers holds that users who start at once, on both systems and with default and named servers, all get a
// server of their own.
func TestE2ESeveralUsers(t *testing.T) {
	d := deployed.Open(t)
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			user, server, system := fmt.Sprintf("several-%d", i), "", d.Systems[i%len(d.Systems)]
			if i >= 2 {
				server = "named"
			}
			hub, err := hubapi.Login(t.Context(), d.HubURL, user, d.Password)
			if err != nil {
				t.Error(err)
				return
			}
			if err := ownServer(t.Context(), hub, user, server, system); err != nil {
				t.Errorf("user %s on %s: %v", user, system, err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			if err := hub.Stop(ctx, user, server); err != nil {
				t.Error(err)
			}
			if err := hub.WaitGone(ctx, user, server); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

// ownServer starts a server and asks it who it works for. What a run that was killed has left is stopped before.
func ownServer(ctx context.Context, hub *hubapi.Client, user, server, system string) error {
	if err := hub.Stop(ctx, user, server); err != nil {
		return err
	}
	if err := hub.WaitGone(ctx, user, server); err != nil {
		return err
	}
	if err := hub.Start(ctx, user, server, map[string]any{"system": system}); err != nil {
		return err
	}
	if err := hub.Progress(ctx, user, server, nil); err != nil {
		return err
	}
	kernel, err := hub.OpenKernel(ctx, user, server)
	if err != nil {
		return err
	}
	printed, err := kernel.Run(ctx, "import os; print(os.environ['JUPYTERHUB_USER'])")
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(printed); got != user {
		return fmt.Errorf("the server is that of %q", got)
	}
	return kernel.Close(ctx)
}
