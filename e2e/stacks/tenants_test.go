//go:build e2e

package stacks

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// tenants holds that a hub's stack and a remote's are made, verified, changed back and taken away by accounts that may
// do nothing outside of their namespaces, and in those no more than `stacks rights` prints. Another stack that is
// pointed at such a namespace is refused with the name of the one that is there.
func tenants(t *testing.T, s *site) {
	const hub, remote, north, second = "tenant", "tenant-north", "north", "tenant-second"
	s.write(t, hub, s.read(t, "local"))
	s.write(t, remote, s.read(t, "remote"))
	for _, stack := range []string{hub, remote} {
		s.set(t, stack, map[string]any{}, "outposts:cluster")
		s.pulumi(t, stack, "stack", "init")
	}
	s.set(t, hub, map[string]any{"name": "team", "create": false}, "outposts:outpost", "namespace")
	s.set(t, remote, map[string]any{"name": "team-north", "create": false}, "outposts:outpost", "namespace")
	s.set(t, hub, map[string]any{"name": "team-hub", "create": false}, "outposts:hub", "namespace")
	s.set(t, hub, "http://"+s.hub.node+":30001", "outposts:hub", "url")
	s.set(t, hub, 30001, "outposts:hub", "exposure", "nodePort")
	s.set(t, hub, north, "outposts:outposts", 1, "name")
	s.set(t, hub, 30090, "outposts:outposts", 1, "exposure", "apiNodePort")
	s.set(t, hub, 30032, "outposts:outposts", 1, "exposure", "sshNodePort")
	s.set(t, remote, north, "outposts:outpost", "name")
	s.set(t, remote, "organization/outposts/"+hub, "outposts:hubs", 0, "stack")

	ofHub := s.tenant(t, s.hub, "team-hub", "team")
	out, _, err := ofHub.try(t, hub, "preview", "--non-interactive")
	want := "outposts:cluster: the current context: neither namespace kube-system nor a namespace of this config " +
		"may be read"
	if err == nil || !strings.Contains(out, want) {
		t.Fatalf("without rights the preview says, %v:\n%s", err, out)
	}
	s.permit(t, s.hub, hub, "team-hub")
	ofRemote := s.tenant(t, s.remote, "team-north")
	s.permit(t, s.remote, remote, "team-north")
	ofHub.up(t, hub)
	ofRemote.up(t, remote)
	ofHub.unchanged(t, hub)
	ofRemote.unchanged(t, remote)
	s.write(t, second, s.read(t, remote))
	s.pulumi(t, second, "stack", "init")
	ofRemote.refused(t, second, "outposts:outpost.namespace: namespace team-north of the current context belongs to "+
		"stack organization/outposts/"+remote+"; 0 servers run there")

	verify := exec.CommandContext(t.Context(), "go", "run", "./e2e/verify", "--outputs", "-")
	verify.Dir = s.root
	verify.Stdin = strings.NewReader(ofHub.ask(t, hub, "stack", "output", "--show-secrets", "--json"))
	if said, err := verify.CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, said)
	}
	ofRemote.pulumi(t, remote, "destroy", "--exclude-protected", "--yes", "--non-interactive")
	ofHub.pulumi(t, hub, "destroy", "--exclude-protected", "--yes", "--non-interactive")
	for _, stack := range []string{hub, remote, second} {
		s.pulumi(t, stack, "stack", "rm", "--force", "--yes")
	}
	s.kubectl(t, s.hub, "", "delete", "namespace", "team-hub", "team")
	s.kubectl(t, s.remote, "", "delete", "namespace", "team-north")
}

// tenant makes namespaces in a cluster, as its admin would, and an account that may do nothing yet; it returns the site
// of whoever has that. The account is in namespace default, and is called as the first namespace.
func (s *site) tenant(t *testing.T, c cluster, namespaces ...string) *site {
	t.Helper()
	for _, name := range namespaces {
		s.kubectl(t, c, "", "create", "namespace", name)
	}
	s.kubectl(t, c, "", "create", "serviceaccount", namespaces[0])
	token := strings.TrimSpace(s.kubectl(t, c, "", "create", "token", namespaces[0]))
	var config map[string]any
	text := s.kubectl(t, c, "", "config", "view", "--minify", "--flatten", "--raw")
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	config["users"].([]any)[0].(map[string]any)["user"] = map[string]any{"token": token}
	own, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	o := *s
	o.env = append(append([]string{}, s.env...), "KUBECONFIG="+file(t, "tenant", string(own)))
	return &o
}

// permit gives the account of a cluster what the program asks for.
func (s *site) permit(t *testing.T, c cluster, stack, account string) {
	t.Helper()
	rights := exec.CommandContext(t.Context(), filepath.Join(s.dir, ".state", "bin", "stacks"), "rights", s.file(stack),
		"ServiceAccount:default/"+account)
	var complaint bytes.Buffer
	rights.Stderr, rights.Env = &complaint, os.Environ()
	roles, err := rights.Output()
	if err != nil || bytes.Contains(roles, []byte("ClusterRole")) {
		t.Fatalf("rights of %s: %v\n%s%s", stack, err, roles, &complaint)
	}
	s.kubectl(t, c, string(roles), "apply", "-f", "-")
}
