//go:build e2e

package stacks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/e2e/hubapi"
)

// otherHostKey is a host key that nobody here has.
const otherHostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN1Jm2f3WPTnu3iTK0AzBmmAlbGkAxv6kRaFWTRzZ0bM"

// TestE2EDialOut provisions a remote behind a NAT that lets nobody in, and breaks what is between it and the hub's
// cluster. Its outpost connects to the hub, at last through an HTTP proxy.
func TestE2EDialOut(t *testing.T) {
	s := newSite(t)
	s.close(t)
	addressed := s.read(t, "local")
	s.dialsOut(t)
	firstUp(t, s)
	nothingToDo(t, s)
	s.isClosed(t)
	s.isConnected(t)
	u := s.user(t)
	startServers(t, s)
	kernel, err := u.OpenWitness(t.Context(), u.name, servers["remote"])
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		wreck func(context.Context, *testing.T) error
	}{
		{"a replica of the tunnels killed", func(ctx context.Context, _ *testing.T) error {
			return s.hub.ReplacePod(ctx, deployed.HubNamespace, deployed.TunnelsPod)
		}},
		{"outpost killed", func(ctx context.Context, _ *testing.T) error {
			return s.remote.ReplacePod(ctx, deployed.OutpostNamespace, deployed.OutpostPod)
		}},
		{"proxy killed", func(ctx context.Context, _ *testing.T) error {
			return s.hub.ReplacePod(ctx, deployed.HubNamespace, deployed.ProxyPod)
		}},
		{"NAT with another address, and without its connections", func(_ context.Context, t *testing.T) error {
			s.filter(t, remoteContext, fmt.Sprintf("flush chain ip border out; "+
				"add rule ip border out ip daddr %s snat to %s; add rule ip border in ip daddr %s drop",
				s.hub.node, s.public(251), s.public(250)))
			return nil
		}},
		{"reached at its address from now on", func(ctx context.Context, t *testing.T) error {
			for _, cluster := range []string{hubContext, remoteContext} {
				s.filter(t, cluster, "delete table ip border")
			}
			s.write(t, "local", addressed)
			return s.moves(ctx, t, u)
		}},
		{"dialling out again, through a proxy that cuts", func(ctx context.Context, t *testing.T) error {
			s.close(t)
			s.dialsOut(t)
			s.up(t, "local")
			return s.throughProxy(ctx, t)
		}},
		// At last: the next up would find what it changes by hand.
		{"another host key, and the right one again", func(ctx context.Context, t *testing.T) error {
			return s.wrongKey(ctx, t, u)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.wreck(t.Context(), t); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), answerIn)
			defer cancel()
			if err := kernel.Knows(ctx); err != nil {
				t.Fatal(err)
			}
			t.Logf("the kernel answers after %.1f s", time.Since(began).Seconds())
		})
	}
}

// dialsOut lets the remote system connect to the hub in the hub's stack.
func (s *site) dialsOut(t *testing.T) {
	t.Helper()
	s.set(t, "local", nil, "outposts:outposts", 1, "address")
	s.set(t, "local", nil, "outposts:outposts", 1, "exposure")
	s.set(t, "local", "dialOut", "outposts:outposts", 1, "connect")
}

// moves applies both stacks after a change of the way to the outpost, and holds that the hub forgets none of the
// running servers while it has no way.
func (s *site) moves(ctx context.Context, t *testing.T, u user) error {
	t.Helper()
	pods := s.serverPods(t)
	s.up(t, "local")
	began := time.Now()
	err := s.hub.RolledOut(ctx, deployed.HubNamespace, "hub")
	if err != nil {
		return err
	}
	if err := u.WaitThere(ctx); err != nil {
		return err
	}
	// A server that is asked for once more is polled; one that has been forgotten would be started.
	err = u.Start(ctx, u.name, servers["remote"], map[string]any{"system": "remote", "flavor": "small"})
	if err == nil {
		return errors.New("the hub has forgotten the server while it had no way to the outpost")
	}
	t.Logf("start of the running server in between: %v", err)
	s.up(t, "remote")
	u.survive(t, s, pods)
	t.Logf("without a way for %.1f s", time.Since(began).Seconds())
	return nil
}

// close puts the node of the remote cluster behind a NAT. What it begins with the hub's cluster comes from an address
// of the NAT there: from the node's own, the hub's node takes nothing new. Nothing gets in that the hub's cluster
// begins.
func (s *site) close(t *testing.T) {
	t.Helper()
	const in = "add table ip border; add chain ip border in { type filter hook prerouting priority -300; }; " +
		"add rule ip border in ip saddr %s tcp flags & (syn | ack) == syn drop; "
	const out = "add chain ip border out { type nat hook postrouting priority srcnat - 10; }; " +
		"add rule ip border out ip daddr %s snat to %s"
	s.filter(t, hubContext, fmt.Sprintf(in, s.remote.node))
	s.filter(t, remoteContext, fmt.Sprintf(in+out, s.hub.node, s.hub.node, s.public(250)))
}

// public is an address of the NAT: one of those that the remote cluster keeps for Gateways.
func (s *site) public(n int) string { return fmt.Sprint(s.remote.balancer, n) }

// filter changes the rules for packets of the node of a cluster.
func (s *site) filter(t *testing.T, cluster, rules string) {
	t.Helper()
	node := fmt.Sprint(s.report(t, cluster).PID)
	out, err := exec.CommandContext(t.Context(), "nsenter", "-t", node, "-n", "nft", rules).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %s: %v: %s", rules, err, out)
	}
}

// isClosed holds that the hub's cluster reaches nothing of the remote one: neither the ports that are never closed nor
// those that an outpost might have.
func (s *site) isClosed(t *testing.T) {
	t.Helper()
	said, err := s.hub.Exec(t.Context(), deployed.HubNamespace, deployed.HubPod, "python3", "-c", fmt.Sprintf(`
import socket
for port in (6443, 10250, 30080, 30022):
    try: socket.create_connection((%q, port), timeout=2); print(port, "answers")
    except TimeoutError: pass
    except OSError as e: print(port, e)
`, s.remote.node))
	if err != nil || said != "" {
		t.Errorf("the remote node from the hub's pod: %v\n%s", err, said)
	}
	services, err := s.remote.API.CoreV1().Services(deployed.OutpostNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, svc := range services.Items {
		if svc.Spec.Type != "ClusterIP" {
			t.Errorf("Service %s is of type %s", svc.Name, svc.Spec.Type)
		}
	}
}

// isConnected waits until the tunnels have a connection of the remote outpost.
func (s *site) isConnected(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	err := deployed.Eventually(ctx, func(ctx context.Context) error {
		said, err := s.hub.Exec(ctx, deployed.HubNamespace, deployed.HubPod, "python3", "-c", `
import urllib.request
print(urllib.request.urlopen("http://outposts-hub-tunnels:8081/systems/remote", timeout=5).read().decode())
`)
		if err == nil && !strings.Contains(said, `"connected"`) {
			err = errors.New(said)
		}
		return err
	})
	if err != nil {
		t.Fatalf("the outpost is not connected after %s: %v", answerIn, err)
	}
}

// refusedBy finds the replicas of the tunnels that the outpost says know another host key.
var refusedBy = regexp.MustCompile(`"replica":"(\w+)","reason":"wrong_host_key"`)

// wrongKey lets the tunnels trust another host key than the outpost's, and the right one again once a start is refused
// in words and the outpost's log has the reason.
func (s *site) wrongKey(ctx context.Context, t *testing.T, u user) error {
	maps := s.hub.API.CoreV1().ConfigMaps(deployed.HubNamespace)
	trust, err := maps.Get(ctx, "jupyterhub-outpost-trust", metav1.GetOptions{})
	if err != nil {
		return err
	}
	set := func(text string) error {
		patch, err := json.Marshal(map[string]any{"data": map[string]string{"systems.yaml": text}})
		if err != nil {
			return err
		}
		if _, err = maps.Patch(ctx, trust.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return err
		}
		return s.hub.Hasten(ctx, deployed.HubNamespace)
	}
	if err := set("systems: {remote: {connect: dialOut, hostKeys: [" + otherHostKey + "]}}"); err != nil {
		return err
	}
	began := time.Now()
	refused, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	err = deployed.Eventually(refused, func(context.Context) error {
		log := s.kubectl(t, s.remote, "", "-n", deployed.OutpostNamespace, "logs", "deploy/outpost", "--since=5m")
		by := map[string]bool{} // a start may go through either replica, and they read the file one after the other
		for _, found := range refusedBy.FindAllStringSubmatch(log, -1) {
			by[found[1]] = true
		}
		if len(by) < 2 {
			return fmt.Errorf("%d replicas of the tunnels say wrong_host_key in the outpost's log", len(by))
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.Logf("said by the outpost after %.1f s", time.Since(began).Seconds())
	starting, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	start := u.Start(starting, u.name, "refused", map[string]any{"system": "remote", "flavor": "small"})
	if start == nil {
		start = u.Progress(starting, u.name, "refused", nil)
	}
	var message *hubapi.StartError
	const want = "Remote cluster cannot be reached at the moment."
	if !errors.As(start, &message) || !strings.Contains(message.Message, want) {
		t.Errorf("the start ended with %v, want %q", start, want)
	}
	return set(trust.Data["systems.yaml"])
}
