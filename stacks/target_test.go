package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/infratest"
)

const anyKubeconfig = `{"clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443"}}], ` +
	`"contexts": [{"name": "a", "context": {"cluster": "c"}}], "current-context": "a"}`

// TestCluster holds by what a cluster is reached, and that the provider is given what means the same to everybody.
func TestCluster(t *testing.T) {
	const infra = "acme/infra/prod"
	var document map[string]any
	if err := json.Unmarshal([]byte(anyKubeconfig), &document); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, cluster string
		outputs       map[string]any
		want          cluster.Access
		kubeconfig    any // of the provider
		refused       string
	}{
		{
			name: "path in the project", cluster: "{kubeconfig: .state/k, context: a}",
			want:       cluster.Access{Path: filepath.Join("..", ".state", "k"), Context: "a"},
			kubeconfig: filepath.Join("..", ".state", "k"),
		},
		{
			name: "path in the home folder", cluster: "{kubeconfig: ~/.kube/config, context: a}",
			want: cluster.Access{Path: "~/.kube/config", Context: "a"}, kubeconfig: "~/.kube/config",
		},
		{
			name: "path elsewhere", cluster: "{kubeconfig: /etc/k, context: a}",
			want: cluster.Access{Path: "/etc/k", Context: "a"}, kubeconfig: "/etc/k",
		},
		{name: "as kubectl", cluster: "{}", kubeconfig: ""},
		{
			name: "content", cluster: "{kubeconfig: '" + anyKubeconfig + "'}",
			want: cluster.Access{Content: anyKubeconfig}, kubeconfig: map[string]any{"secret": anyKubeconfig},
		},
		{
			name: "output", cluster: "{stack: " + infra + ", context: a}",
			outputs:    map[string]any{"kubeconfig": anyKubeconfig},
			want:       cluster.Access{Content: anyKubeconfig, Context: "a"},
			kubeconfig: map[string]any{"secret": anyKubeconfig},
		},
		{
			name: "output that is a map", cluster: "{stack: " + infra + ", output: k}",
			outputs:    map[string]any{"k": document},
			want:       cluster.Access{Content: compact(t, document)},
			kubeconfig: map[string]any{"secret": compact(t, document)},
		},
		{
			name: "no output", cluster: "{stack: " + infra + "}", outputs: map[string]any{"a": "", "b": ""},
			refused: `outposts:cluster.stack: acme/infra/prod has no output "kubeconfig"; it has: a, b`,
		},
		{
			name: "output that cannot be decrypted", cluster: "{stack: " + infra + "}",
			outputs: map[string]any{"kubeconfig": map[string]any{}},
			refused: "outposts:cluster.stack: acme/infra/prod cannot be decrypted: ",
		},
		{
			name: "output of something else", cluster: "{stack: " + infra + "}",
			outputs: map[string]any{"kubeconfig": 3.0},
			refused: `outposts:cluster.stack: acme/infra/prod: output "kubeconfig" is not a kubeconfig`,
		},
		{
			name: "no stack", cluster: "{stack: acme/infra/none}",
			refused: "outposts:cluster.stack: acme/infra/none cannot be read; run `pulumi up` on it first: ",
		},
		{
			name: "both", cluster: "{stack: acme/infra/none, kubeconfig: a}",
			refused: "outposts:cluster: want either kubeconfig or stack",
		},
		{
			name: "no stack for the output", cluster: "{kubeconfig: a, output: a}",
			refused: "outposts:cluster.output: has no effect here; it is of the stack that is missing",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := testWorld(committedConfig(t, "local"))
			change(t, w.config, "cluster", tt.cluster)
			var got cluster.Access
			w.open = func(access cluster.Access) (clusterAPI, error) {
				got = access
				return fakeCluster{identity: "a"}, nil
			}
			r := &infratest.Recorder{Stacks: map[string]map[string]any{infra: tt.outputs}}
			err := runStack(t, r, "local", w)
			if tt.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tt.refused) || r.List() != "" {
					t.Errorf("error %v, want %s; registered:\n%s", err, tt.refused, r.List())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("access (-want +got):\n%s", diff)
			}
			provider := map[string]any{}
			made := r.Find(t, "pulumi:providers:kubernetes", "cluster-kubernetes")
			if err := json.Unmarshal(infratest.JSON(t, made.Inputs), &provider); err != nil {
				t.Fatal(err)
			}
			want := map[string]any{
				"kubeconfig": tt.kubeconfig, "clusterIdentifier": "a",
				"enableConfigMapMutable": true, "enableSecretMutable": true,
			}
			if tt.want.Context != "" {
				want["context"] = tt.want.Context
			}
			if diff := cmp.Diff(want, provider); diff != "" {
				t.Errorf("provider (-want +got):\n%s", diff)
			}
		})
	}
}

func compact(t *testing.T, document any) string {
	t.Helper()
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestGivenSystem holds that what the hub's stack tells of one system, given by its operator, does the same as the
// stack itself, and that its secrets stay marked.
func TestGivenSystem(t *testing.T) {
	outputs := localOutputs(t)
	byStack := &infratest.Recorder{Stacks: map[string]map[string]any{"organization/outposts/local": outputs}}
	if err := runStack(t, byStack, "remote", testWorld(committedConfig(t, "remote"))); err != nil {
		t.Fatal(err)
	}
	object := compact(t, outputs[outputSystem+"remote"])
	for name, system := range map[string]string{"string": compact(t, object), "object": object} {
		t.Run(name, func(t *testing.T) {
			w := testWorld(committedConfig(t, "remote"))
			change(t, w.config, "hubs", "[{name: jupyterhub, system: "+system+"}]")
			r := &infratest.Recorder{}
			if err := runStack(t, r, "remote", w); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(byStack.Resources(), r.Resources()); diff != "" {
				t.Errorf("resources (-by stack +given):\n%s", diff)
			}
			checkSecrets(t, r)
		})
	}
	//nolint:lll // a case a line
	for _, tt := range []struct{ name, hub, want string }{
		{"not JSON", "system: a-password", "outposts:hubs[0].system is not JSON; want what `pulumi stack output --show-secrets system-remote` prints"},
		{"something else", "system: {a: b}", "outposts:hubs[0].system is not a system of a hub's stack"},
		{"another hub's", "system: {hub: other}", `outposts:hubs[0].system is of a hub that is called "other", not "jupyterhub"`},
		{"both", "system: {hub: other}, stack: a/b/c", "outposts:hubs[0]: want either stack or system"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := testWorld(committedConfig(t, "remote"))
			change(t, w.config, "hubs", "[{name: jupyterhub, "+tt.hub+"}]")
			r := &infratest.Recorder{}
			err := runStack(t, r, "remote", w)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "a-password") {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			if got := r.List(); got != "" {
				t.Errorf("registered:\n%s", got)
			}
		})
	}
}
