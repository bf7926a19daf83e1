package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/infratest"
)

// TestRights holds what `stacks rights` prints for the committed stacks, and for somebody who has namespaces alone.
func TestRights(t *testing.T) {
	folder := t.TempDir()
	tenant := filepath.Join(folder, "Pulumi.tenant.yaml")
	document := map[string]any{}
	for name, value := range documentOf(tenantConfig(t)) {
		document[project+":"+name] = value
	}
	document["outposts:hub"].(map[string]any)["values"].(map[string]any)["custom"] = map[string]any{"secure": "v1:x"}
	text, err := yaml.Marshal(map[string]any{"config": document})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tenant, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range []string{
		filepath.Join(projectRoot(t), "Pulumi.local.yaml"), filepath.Join(projectRoot(t), "Pulumi.remote.yaml"), tenant,
	} {
		all.WriteString("# " + filepath.Base(file) + "\n")
		if err := writeRights(file, "ServiceAccount:ci/deployer", &all); err != nil {
			t.Fatal(err)
		}
	}
	infratest.Golden(t, "rights.golden.yaml", []byte(all.String()))
	for subject, want := range map[string]map[string]any{
		"User:jane":  {"kind": "User", "apiGroup": rbacGroup, "name": "jane"},
		"Group:devs": {"kind": "Group", "apiGroup": rbacGroup, "name": "devs"},
		"jane":       nil, "User:": nil, "ServiceAccount:a": nil, "ServiceAccount:/a": nil,
	} {
		got, err := subjectOf(subject)
		if diff := cmp.Diff(want, got); diff != "" || (want == nil) != (err != nil) {
			t.Errorf("%s: %v (-want +got):\n%s", subject, err, diff)
		}
	}
}

// said are the errors that a run ends with, one a line.
func said(err error) []string {
	var all []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimPrefix(strings.TrimSpace(line), "* "); strings.HasPrefix(line, project+":") {
			all = append(all, line)
		}
	}
	return all
}

// TestMissingRights holds that all rights that are missing are said at once, before anything is registered.
func TestMissingRights(t *testing.T) {
	const out = "; nothing was changed. `make rights STACK=...` prints what to ask for"
	w := testWorld(tenantConfig(t))
	w.open = func(cluster.Access) (clusterAPI, error) {
		api := ofTenant()
		api.may = func(r cluster.Right) bool {
			return r.Group != rbacGroup && r.Resource != "pods/log" || r.Namespace == "team-hub" && r.Verb != "delete"
		}
		return api, nil
	}
	r := &infratest.Recorder{}
	err := runStack(t, r, "local", w)
	if err == nil || r.List() != "" {
		t.Fatalf("error %v; registered:\n%s", err, r.List())
	}
	who := "outposts:cluster: the user of context local may not "
	want := []string{
		who + "get, list, watch, create, patch, delete, bind roles.rbac.authorization.k8s.io in namespace team" + out,
		who + "get, list, watch, create, patch, delete rolebindings.rbac.authorization.k8s.io in namespace team" + out,
		who + "get pods/log in namespace team" + out,
		who + "delete roles.rbac.authorization.k8s.io in namespace team-hub" + out,
		who + "delete rolebindings.rbac.authorization.k8s.io in namespace team-hub" + out,
	}
	if diff := cmp.Diff(want, said(err)); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	w = testWorld(committedConfig(t, "local"))
	w.open = func(cluster.Access) (clusterAPI, error) {
		return fakeCluster{identity: "a", may: func(r cluster.Right) bool { return r.Namespace != "" }}, nil
	}
	err = runStack(t, r, "local", w)
	want = []string{who + "get, list, watch, create, patch, delete namespaces in the cluster; nothing was changed. " +
		"Have the namespaces made, and set outposts:hub.namespace.create, outposts:outpost.serverNamespace.create, " +
		"outposts:outpost.namespace.create to false"}
	if err == nil {
		t.Fatal("accepted")
	}
	if diff := cmp.Diff(want, said(err)); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}
