package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation"
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

// TestRightsOfTexts holds that a key which is JSON in a string, as `pulumi config set` writes it without --path, means
// the same to `stacks rights` as it does to an up.
func TestRightsOfTexts(t *testing.T) {
	committed, err := os.ReadFile(filepath.Join(projectRoot(t), "Pulumi.local.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	config := map[string]any{}
	for key, text := range committedConfig(t, "local") {
		config[key] = text
	}
	asTexts, err := yaml.Marshal(map[string]any{"config": config})
	if err != nil {
		t.Fatal(err)
	}
	printed := func(text []byte) string {
		file := filepath.Join(t.TempDir(), "Pulumi.local.yaml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := writeRights(file, "User:jane", &out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if diff := cmp.Diff(printed(committed), printed(asTexts)); diff != "" {
		t.Errorf("rights (-maps +texts):\n%s", diff)
	}
}

// TestRightsToRemoveHomes holds that who may let the outpost remove homes (values.rbac.homes) has these rights where
// servers run: the chart's Role gives them, and nobody gives what they do not have.
func TestRightsToRemoveHomes(t *testing.T) {
	claims := func(values string) (verbs []string) {
		t.Helper()
		raw := tenantConfig(t)
		change(t, raw, "outpost.serverNamespace", "{name: team-servers, create: false}")
		change(t, raw, "outpost.values", values)
		c, err := LoadConfig(raw, "/project")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.rights(state{})["team-servers"] {
			if slices.Contains(r.Resources, "persistentvolumeclaims") {
				verbs = append(verbs, r.Verbs...)
			}
		}
		return verbs
	}
	if diff := cmp.Diff([]string{"get", "create"}, claims("{}")); diff != "" {
		t.Errorf("rights (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"get", "create", "list", "delete"}, claims("{rbac: {homes: true}}")); diff != "" {
		t.Errorf("rights with rbac.homes (-want +got):\n%s", diff)
	}
}

// TestRightsToBackUp holds that who lets the chart make backups (values.backup) has the rights to make their CronJob.
func TestRightsToBackUp(t *testing.T) {
	of := func(backup map[string]any) []rule {
		o := OutpostConfig{}
		o.Values = map[string]any{"backup": backup}
		return o.given()
	}
	want := append(of(nil), allow(batchGroup, manage, "cronjobs"))
	if diff := cmp.Diff(want, of(map[string]any{"enabled": true, "claim": "kept"})); diff != "" {
		t.Errorf("rights (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(of(nil), of(map[string]any{"enabled": false})); diff != "" {
		t.Errorf("without backups (-want +got):\n%s", diff)
	}
}

// TestMissingRights holds that all rights that are missing are said at once, before anything is registered.
func TestMissingRights(t *testing.T) {
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
	const lacks = "outposts:cluster: the user of context local lacks rights; nothing was changed. `make rights " +
		"STACK=... SUBJECT=...` prints Roles with them, for the cluster's admin. Missing are:"
	const group = "rbac.authorization.k8s.io"
	want := lacks + `
  in namespace team: get, list, watch, create, patch, delete, bind roles.` + group +
		`; get, list, watch, create, patch, delete rolebindings.` + group + `; get pods/log
  in namespace team-hub: delete roles.` + group + `, rolebindings.` + group
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	w = testWorld(committedConfig(t, "local"))
	w.open = func(cluster.Access) (clusterAPI, error) {
		return fakeCluster{identity: "a", may: func(r cluster.Right) bool { return r.Namespace != "" }}, nil
	}
	err = runStack(t, r, "local", w)
	want = lacks + "\n  in the cluster, unless the namespaces are there and outposts:hub.namespace.create, " +
		"outposts:outpost.serverNamespace.create, outposts:outpost.namespace.create are false: " +
		"get, list, watch, create, patch, delete namespaces"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestRightsOfSeveral holds that neither a second subject nor a second stack takes away what the first one was given:
// of two objects of one kind and name, the one that is applied later stays.
func TestRightsOfSeveral(t *testing.T) {
	folder := t.TempDir()
	text, err := os.ReadFile(filepath.Join(projectRoot(t), "Pulumi.local.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	applied := map[string]string{}
	long := strings.Repeat("a", 100)
	for _, stack := range []string{"prod", "Prod", "prod.1", "prod-1", long, long + "b"} {
		file := filepath.Join(folder, "Pulumi."+stack+".yaml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, subject := range []string{
			"User:jane", "Group:jane", "User:Jane", "User:" + long + "@b",
			"ServiceAccount:a-b/c", "ServiceAccount:a/b-c",
		} {
			var printed strings.Builder
			if err := writeRights(file, subject, &printed); err != nil {
				t.Fatal(err)
			}
			for document := range strings.SplitSeq(printed.String(), "---\n") {
				var object struct {
					Kind     string                           `json:"kind"`
					Metadata struct{ Namespace, Name string } `json:"metadata"`
				}
				if err := yaml.Unmarshal([]byte(document), &object); err != nil {
					t.Fatal(err)
				}
				at := object.Kind + " " + object.Metadata.Namespace + "/" + object.Metadata.Name
				if before, there := applied[at]; there && before != document {
					t.Errorf("%s of stack %s and %s replaces another", at, stack, subject)
				}
				applied[at] = document
				if namespace := object.Metadata.Namespace; namespace != "" &&
					!strings.Contains(printed.String(), "#   kubectl create namespace "+namespace+"\n") {
					t.Errorf("nothing says that %s needs its namespace", at)
				}
				if object.Kind == "Namespace" {
					t.Errorf("%s would be deleted with the rights", at)
				}
				if wrong := validation.IsDNS1123Label(object.Metadata.Name); object.Kind != "" && wrong != nil {
					t.Errorf("%s: %v", at, wrong)
				}
			}
		}
	}
}
