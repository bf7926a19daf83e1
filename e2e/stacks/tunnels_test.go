//go:build e2e

package stacks

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// tunnelsDoNotCome applies another hub together with tunnels whose image cannot be had. As long as those do not come,
// nothing is changed that the hub which runs needs for its users; with an image that can be had, the next up goes on.
func tunnelsDoNotCome(t *testing.T, s *site) {
	u, pods := s.user(t), s.serverPods(t)
	before, committed := s.hub.served(t), s.read(t, "local")
	s.restart(t, 1)
	egress := []any{map[string]any{"ports": []any{map[string]any{"port": 4433}}}}
	s.set(t, "local", egress, "outposts:hub", "values", "hub", "networkPolicy", "egress")
	s.set(t, "local", egress, "outposts:hub", "values", "proxy", "chp", "networkPolicy", "egress")
	// Of an up that was killed, Pulumi does not know what it has changed: only what changes again is made right.
	s.set(t, "local", 30, "outposts:hub", "tunnels", "drain")
	mended := s.read(t, "local")
	s.set(t, "local", map[string]any{"tag": "nowhere", "pullPolicy": "Never"}, "outposts:hub", "tunnels", "image")
	s.killedAfter(t, "local", func(ctx context.Context) {
		if err := deployed.Eventually(ctx, s.hub.tunnelsWait); err != nil {
			t.Fatal(err)
		}
		u.survive(t, s, pods)
		if diff := cmp.Diff(before, s.hub.served(t)); diff != "" {
			t.Errorf("before the tunnels have come (-before +after):\n%s", diff)
		}
	})
	s.write(t, "local", mended)
	s.up(t, "local")
	u.survive(t, s, pods)
	after := s.hub.served(t)
	for object, was := range before {
		if after[object] == was {
			t.Errorf("%s is as it was", object)
		}
	}
	s.write(t, "local", committed)
	s.up(t, "local")
}

// tunnelsWait returns nil when a pod of the tunnels waits for its image.
func (c cluster) tunnelsWait(ctx context.Context) error {
	pods, err := c.API.CoreV1().Pods(deployed.HubNamespace).List(ctx,
		metav1.ListOptions{LabelSelector: deployed.TunnelsPod})
	if err != nil {
		return err
	}
	for _, pod := range pods.Items {
		for _, container := range pod.Status.ContainerStatuses {
			if container.State.Waiting != nil && container.State.Waiting.Reason == "ErrImageNeverPull" {
				return nil
			}
		}
	}
	return errors.New("no pod of the tunnels waits for its image")
}

// served are the versions of what a hub needs for its users.
func (c cluster) served(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, name := range []string{"hub", "proxy"} {
		policy, err := c.API.NetworkingV1().NetworkPolicies(deployed.HubNamespace).Get(t.Context(), name,
			metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		found["policy "+name] = policy.ResourceVersion
		deployment, err := c.API.AppsV1().Deployments(deployed.HubNamespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		found["deployment "+name] = fmt.Sprint(deployment.Generation)
	}
	secret, err := c.API.CoreV1().Secrets(deployed.HubNamespace).Get(t.Context(), "hub", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found["secret hub"] = secret.ResourceVersion
	return found
}
