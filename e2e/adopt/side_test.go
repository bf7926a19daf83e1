//go:build e2e

package adopt

import (
	"testing"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/e2e/hubapi"
)

const (
	sideHub     = "side-hub"
	sideOutpost = "side-outpost"
)

// TestE2EHubSideByHelm holds that a hub of Helm gets outposts by Helm alone: by the chart of the hub's side, and by the
// lines that Helm prints for it. One system is reached directly, the other one through the tunnels.
func TestE2EHubSideByHelm(t *testing.T) {
	s := newSite(t, sideHub, sideOutpost)
	hubKey, hubPublic := deployed.NewKey(t)
	hostKey, hostPublic := deployed.NewKey(t)
	s.kubectl(t, "", "create", "namespace", sideHub)
	s.kubectl(t, "", "create", "namespace", sideOutpost)
	s.MakeSecret(t, sideHub, "jupyterhub-outpost-auth",
		map[string]string{"near": "jupyterhub:word", "far": "jupyterhub:word"})
	s.MakeSecret(t, sideHub, "jupyterhub-outpost-sshkey", map[string]string{"ssh-privatekey": hubKey})
	s.MakeSecret(t, sideOutpost, "outpost-users", map[string]string{"usernames": "jupyterhub", "passwords": "word"})
	s.MakeSecret(t, sideOutpost, "outpost-cryptkey", map[string]string{"secret_key": deployed.PythonKey})
	s.MakeSecret(t, sideOutpost, "outpost-host-keys", map[string]string{"ssh_host_ed25519_key": hostKey})

	image := map[string]any{"repository": "localhost/outposts/outpost", "tag": "dev"}
	s.Release(t, s.root, sideOutpost, "outpost", "charts/outpost", map[string]any{
		"image": image, "cryptSecret": "outpost-cryptkey", "outpostUsers": "outpost-users",
		"hostKeySecret": "outpost-host-keys", "sshPublicKeys": []any{hubPublic},
		"networkPolicy": map[string]any{"hubNamespace": sideHub},
		"config":        map[string]any{"spawner": map[string]any{"image": deployed.LabImage}},
	})
	outpost := map[string]any{
		"url":       "http://outpost." + sideOutpost + ".svc:8080/services",
		"hubApiUrl": "http://hub." + sideHub + ".svc:8081/hub/api",
	}
	notes := s.Release(t, s.root, sideHub, "outposts-hub", "charts/outposts-hub", map[string]any{
		"image": image, "hubRelease": release,
		"authSecret": "jupyterhub-outpost-auth", "sshKeySecret": "jupyterhub-outpost-sshkey",
		"systems": map[string]any{"near": outpost, "far": deployed.Merge(outpost, map[string]any{
			"ssh": map[string]any{"host": "outpost." + sideOutpost + ".svc", "hostKeys": []any{hostPublic}},
		})},
	})
	s.Release(t, s.root, sideHub, release, "e2e/charts/hub", stockHub(t, notes))
	for _, name := range []string{"deployment/hub", "deployment/proxy", "deployment/outposts-hub-tunnels"} {
		s.kubectl(t, "", "rollout", "status", "--timeout=5m", name)
	}

	hub := &hubapi.Client{URL: s.hubURL(), Token: token}
	there(t, hub)
	for _, system := range []string{"near", "far"} {
		deployed.RunCell(t, hub, kept, system, map[string]any{"system": system})
		deployed.Stop(t, hub, kept, system)
	}
}

// stockHub are the values of a hub as somebody has it, with the lines of the notes, and a way in for an outpost of its
// cluster.
func stockHub(t *testing.T, notes string) map[string]any {
	t.Helper()
	outpost := map[string]any{"kubernetes.io/metadata.name": sideOutpost}
	return deployed.Merge(deployed.Merge(ofHelm(), deployed.HubLines(t, notes)), map[string]any{
		"hub": map[string]any{"networkPolicy": map[string]any{"ingress": []any{map[string]any{
			"from":  []any{map[string]any{"namespaceSelector": map[string]any{"matchLabels": outpost}}},
			"ports": []any{map[string]any{"protocol": "TCP", "port": "http"}},
		}}}},
	})
}
