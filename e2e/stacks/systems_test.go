//go:build e2e

package stacks

import (
	"context"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// secondRemote adds a system with an outpost behind load balancers, in another namespace of the remote cluster, whose
// first up is killed at a random step, and takes it away again. Nothing but itself and what the hub is given is
// touched, hub and proxy do not start again, and the servers of the other systems live on, to the frame of a stream.
func secondRemote(t *testing.T, s *site) {
	u, pods := s.user(t), s.serverPods(t)
	api, ssh := s.remote.balancer+"101", s.remote.balancer+"102"
	s.set(t, "local", map[string]any{
		"name": "second", "address": api,
		"exposure": map[string]any{
			"type": "loadBalancer", "loadBalancerIP": api,
			"sshAddress": ssh, "sshLoadBalancerIP": ssh,
		},
	}, "outposts:outposts", 2)
	before, running := s.export(t, "local"), s.hub.podNames(t, deployed.HubNamespace)
	u.counts(t, s)
	touched(t, before, s.export(t, "local"), "second", "hub")
	s.pulumi(t, "remote", "preview", "--non-interactive", "--expect-no-changes")

	s.write(t, "second", s.read(t, "remote"))
	s.set(t, "second", "second", "outposts:outpost", "name")
	s.set(t, "second", "outpost2", "outposts:outpost", "namespace")
	s.pulumi(t, "second", "stack", "init")
	s.killed(t, "second", 1+rand.IntN(20))
	s.up(t, "second")
	s.unchanged(t, "second")

	one, two := s.system(t, "remote"), s.system(t, "second")
	if one.Password == two.Password || one.HostKey == two.HostKey || one.TLSKey == two.TLSKey {
		t.Error("two systems share a secret")
	}
	if at := two.Exposure.Endpoint(two.Address); at.API != "https://"+api+":8080" ||
		at.SSHHost != ssh || at.SSHPort != 22 {
		t.Errorf("the second outpost is at %+v", at)
	}
	two.answersPinned(t)
	other := two.login()
	other.password = one.Password
	if err := other.gets(t.Context(), "/services/", http.StatusUnauthorized); err != nil {
		t.Error(err)
	}
	u.survive(t, s, pods)

	// Taken away in the other order: while a server runs there, not at all.
	s.hub.Arrives(t, deployed.HubNamespace, "the second system", func(ctx context.Context) error {
		return u.Start(ctx, u.name, "second", map[string]any{"system": "second", "flavor": "small"})
	})
	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	u.ready(ctx, t, "second")
	withSecond := s.read(t, "local")
	s.set(t, "local", nil, "outposts:outposts", 2)
	without := s.read(t, "local")
	s.refused(t, "local", "system second is no longer in outposts:outposts, but 1 of its servers are running",
		`add "second" to outposts:allowServerLoss`)
	u.stop(t, "second")
	s.write(t, "local", withSecond)
	s.set(t, "local", "another", "outposts:hub", "name")
	s.refused(t, "local", "hub jupyterhub may no longer use the outpost in namespace outpost",
		`add "jupyterhub" to outposts:allowServerLoss`)
	s.write(t, "local", withSecond)
	s.set(t, "second", []any{"outpost2/*", "outpost2-servers/*"}, "outposts:allowDataLoss")
	s.up(t, "second")
	s.pulumi(t, "second", "destroy", "--yes", "--skip-preview", "--non-interactive")
	s.pulumi(t, "second", "stack", "rm", "--yes")
	s.write(t, "local", without)
	before = s.export(t, "local")
	u.counts(t, s)
	touched(t, before, s.export(t, "local"), "second", "hub")
	s.pulumi(t, "remote", "preview", "--non-interactive", "--expect-no-changes")
	u.survive(t, s, pods)
	if diff := cmp.Diff(running, s.hub.podNames(t, deployed.HubNamespace)); diff != "" {
		t.Errorf("pods beside the hub (-before +after):\n%s", diff)
	}
	s.gone(t, s.remote, "outpost2", "outpost2-servers")
}

// counts applies the hub's stack while the server on the remote counts, and holds that not a frame of that is lost.
func (u user) counts(t *testing.T, s *site) {
	t.Helper()
	count := deployed.StartCount(t.Context(), t, u.Client, u.name, servers["remote"])
	s.up(t, "local")
	count.Whole(t.Context(), t)
}
