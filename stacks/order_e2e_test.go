//go:build e2e

package main

import (
	"strings"
	"testing"
)

// TestE2ESecretsComeBeforePods holds that hub and proxy start again when their secrets are there, and not before; that
// tunnels which take their time leave a hub of before as it is; and that a destroy of all but the data leaves neither.
func TestE2ESecretsComeBeforePods(t *testing.T) {
	e := newEngine(t)
	e.env = append(e.env, slowVariable+"=true")
	for _, up := range []struct{ word, done, begun string }{
		{`"1"`, "created", "creating"}, {`"2"`, "updated", "updating"},
	} {
		e.set(t, "local", "hub.rotation.proxyToken", up.word)
		said := e.run(t, "local", "up", "--yes")
		_, said, _ = strings.Cut(said, "Updating (") // after the preview
		secret := strings.Index(said, "Secret hub:jupyter/hub "+up.done)
		for _, deployment := range []string{"hub", "proxy"} {
			began := strings.Index(said, "Deployment hub:jupyter/"+deployment+" "+up.begun)
			if secret < 0 || began < secret {
				t.Errorf("Deployment %s is at %d, the Secret at %d of\n%s", deployment, began, secret, said)
			}
		}
		if up.word != `"1"` {
			continue
		}
		tunnels := strings.Index(said, "Deployment hub-side:jupyter/outposts-hub-tunnels created")
		for _, later := range []string{
			"Secret hub:jupyter/hub", "NetworkPolicy hub:jupyter/hub", "NetworkPolicy hub:jupyter/proxy",
			"NetworkPolicy hub:jupyter/singleuser", "Deployment hub:jupyter/hub", "Deployment hub:jupyter/proxy",
		} {
			if began := strings.Index(said, later+" creating"); tunnels < 0 || began < tunnels {
				t.Errorf("%s is at %d, the tunnels are at %d of\n%s", later, began, tunnels, said)
			}
		}
	}
	e.run(t, "local", "destroy", "--yes", "--exclude-protected")
	left := e.run(t, "local", "stack", "--show-urns")
	if !strings.Contains(left, "hub-db-dir") || strings.Contains(left, "apps/v1:Deployment") {
		t.Errorf("a destroy of all but the data leaves\n%s", left)
	}
}
