package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"
	"golang.org/x/crypto/ssh"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/infratest"
	"github.com/outposts-dev/outposts/infra/values"
	"github.com/outposts-dev/outposts/server/tunnels/remote"
)

// projectRoot is the folder of Pulumi.yaml, as a test of this package sees it.
func projectRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// committedConfig is the config of a committed stack file, as Pulumi hands it over.
func committedConfig(t *testing.T, stack string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(projectRoot(t), "Pulumi."+stack+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return configFrom(t, string(text))
}

// configFrom is the config in the text of a stack file.
func configFrom(t *testing.T, text string) map[string]string {
	t.Helper()
	var file struct {
		Config map[string]any `json:"config"`
	}
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	raw := map[string]string{}
	for key, value := range file.Config {
		if text, isText := value.(string); isText {
			raw[key] = text
			continue
		}
		text, err := yaml.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if text, err = yaml.YAMLToJSON(text); err != nil {
			t.Fatal(err)
		}
		raw[key] = string(text)
	}
	return raw
}

// fakeCluster answers as a cluster would.
type fakeCluster struct {
	identity string
	err      error
	ports    map[int]cluster.Object
	services map[string]int // by system
	// pods are those of servers: by namespace, and by system or hub.
	pods    map[string]map[string]int
	podsErr error
	owners  map[string]string // of the namespaces that there are; empty without a mark
	// ownerErr is the answer to every question about owners.
	ownerErr error
	parts    map[string][]cluster.Part // what there is, by namespace
	classes  []string                  // storage classes; none is the default if there are any
	hidden   bool                      // they may not be read
	missing  []string                  // namespaces that do not exist
	unserved []cluster.RouteKind
	gateways map[cluster.Object]*cluster.Gateway // nil for one that may not be read
	routes   func(cluster.RouteKind) cluster.RouteStatus
	// addresses are those of Services and Ingresses, by "Kind namespace/name".
	addresses func(object string) []string
	rollouts  func(cluster.Object) cluster.Rollout // nil for done
	uids      map[string]string                    // of the namespaces that may be read
	may       func(cluster.Right) bool             // nil for everything
	// What Helm has installed there, by namespace: its release, whether it has a record of it, and the Secret of a hub.
	helm map[string]helmInstalled
}

func (f fakeCluster) NamespaceUID(_ context.Context, name string) (string, error) {
	return f.uids[name], f.err
}

func (f fakeCluster) Missing(_ context.Context, rights []cluster.Right) ([]cluster.Right, error) {
	return slices.DeleteFunc(slices.Clone(rights), func(r cluster.Right) bool { return f.may == nil || f.may(r) }), nil
}

type helmInstalled struct {
	release  string
	recorded bool
	keys     map[string]string
}

func (f fakeCluster) HelmRelease(_ context.Context, namespace string, _ []cluster.Part) (string, bool, error) {
	return f.helm[namespace].release, f.helm[namespace].recorded, nil
}

func (f fakeCluster) SecretData(_ context.Context, at cluster.Object) (map[string]string, error) {
	return f.helm[at.Namespace].keys, nil
}

func (f fakeCluster) Identity(context.Context) (string, error) { return f.identity, f.err }

func (f fakeCluster) Owner(_ context.Context, namespace string) (string, bool, error) {
	owner, exists := f.owners[namespace]
	return owner, exists, f.ownerErr
}

func (f fakeCluster) Present(_ context.Context, namespace string, parts []cluster.Part) ([]cluster.Part, error) {
	return slices.DeleteFunc(slices.Clone(parts), func(p cluster.Part) bool {
		return !slices.Contains(f.parts[namespace], p)
	}), nil
}

func (f fakeCluster) StorageClasses(context.Context) ([]string, bool, bool, error) {
	if f.hidden {
		return nil, false, false, nil
	}
	return f.classes, f.classes == nil, true, nil
}

func (f fakeCluster) HasNamespace(_ context.Context, name string) (bool, error) {
	return !slices.Contains(f.missing, name), nil
}

func (f fakeCluster) NodePorts(context.Context) (map[int]cluster.Object, bool, error) {
	return f.ports, true, nil
}

func (f fakeCluster) ServesRoutes(_ context.Context, kind cluster.RouteKind, _ string) (bool, error) {
	return !slices.Contains(f.unserved, kind), nil
}

func (f fakeCluster) Gateway(_ context.Context, name cluster.Object) (*cluster.Gateway, bool, error) {
	gateway, exists := f.gateways[name]
	return gateway, !exists || gateway != nil, nil
}

func (f fakeCluster) Gateways(_ context.Context, namespace string) ([]string, error) {
	var names []string
	for name := range f.gateways {
		if name.Namespace == namespace {
			names = append(names, name.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (f fakeCluster) Route(
	_ context.Context, kind cluster.RouteKind, _ cluster.Object,
) (cluster.RouteStatus, error) {
	if f.routes == nil {
		return cluster.RouteStatus{Verdict: cluster.Accepted}, nil
	}
	return f.routes(kind), nil
}

func (f fakeCluster) Addresses(_ context.Context, kind cluster.Balanced, name cluster.Object) ([]string, error) {
	if f.addresses == nil {
		return nil, nil
	}
	return f.addresses(string(kind) + " " + name.String()), nil
}

func (f fakeCluster) Rollout(_ context.Context, name cluster.Object) (cluster.Rollout, error) {
	if f.rollouts == nil {
		return cluster.Rollout{Done: true}, nil
	}
	return f.rollouts(name), nil
}

func (f fakeCluster) CountServices(_ context.Context, _, selector string) (int, error) {
	return f.services[selectedSystem(selector)], nil
}

func (f fakeCluster) CountPods(_ context.Context, namespace, selector string) (int, error) {
	if selector == anyServer {
		total := 0
		for _, count := range f.pods[namespace] {
			total += count
		}
		return total, nil
	}
	return f.pods[namespace][selectedSystem(selector)], nil
}

// selectedSystem is the system in a label selector, which comes first.
func selectedSystem(selector string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(selector, systemLabel+"="), ",")
	return name
}

func (f fakeCluster) CountPodsBy(_ context.Context, namespace, annotation string) (map[string]int, error) {
	if annotation != hubLabel {
		return nil, fmt.Errorf("pods counted by %s", annotation)
	}
	return f.pods[namespace], f.podsErr
}

// testWorld is a world with a sound cluster.
func testWorld(config map[string]string) world {
	return world{
		config: config,
		now:    time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),

		stackFile: func(string, string) []byte { return nil },
		open: func(cluster.Access) (clusterAPI, error) {
			return fakeCluster{identity: "11111111-2222-3333-4444-555555555555"}, nil
		},
	}
}

// runStack runs the program of a stack on a recorder.
func runStack(t *testing.T, r *infratest.Recorder, stack string, w world) error {
	t.Helper()
	return r.Run(stack, run(w), func(info *pulumi.RunInfo) { info.RootDirectory = projectRoot(t) })
}

// localOutputs is what the committed local stack tells remote stacks.
func localOutputs(t *testing.T) map[string]any {
	t.Helper()
	return outputsOf(t, "local", testWorld(committedConfig(t, "local")), &infratest.Recorder{})
}

// outputsOf runs a stack and returns its outputs as another stack reads them.
func outputsOf(t *testing.T, stack string, w world, r *infratest.Recorder) map[string]any {
	t.Helper()
	var outputs map[string]any
	w.exported = func(ctx *pulumi.Context, made pulumi.Map) {
		result, err := internals.UnsafeAwaitOutput(ctx.Context(), made.ToMapOutput())
		if err != nil {
			t.Error(err)
			return
		}
		outputs, _ = result.Value.(map[string]any)
	}
	if err := runStack(t, r, stack, w); err != nil {
		t.Fatal(err)
	}
	return outputs
}

func TestLocal(t *testing.T) {
	r := &infratest.Recorder{}
	if err := runStack(t, r, "local", testWorld(committedConfig(t, "local"))); err != nil {
		t.Fatal(err)
	}
	infratest.Golden(t, "local.golden.txt", []byte(r.List()))
	checkSecrets(t, r)
}

// TestOutpostOutputs holds that a stack tells where its outpost is for hubs elsewhere, and for its own hub if no other
// reaches it.
func TestOutpostOutputs(t *testing.T) {
	for _, tt := range []struct {
		name, exposure string
		want           map[string]any
	}{
		{"in the cluster", "", map[string]any{
			outputAPIURL: "http://outpost.outpost.svc:8080/services", outputSSH: "outpost.outpost.svc:22",
		}},
		{"exposed", "{type: nodePort, apiNodePort: 30081, sshNodePort: 30023, tls: false}", map[string]any{
			outputAPIURL: "http://outpost.example.org:30081/services", outputSSH: "outpost.example.org:30023",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := testWorld(committedConfig(t, "local"))
			if tt.exposure != "" {
				change(t, w.config, "outpost.exposure", tt.exposure)
				change(t, w.config, "outpost.address", "outpost.example.org")
			}
			outputs := outputsOf(t, "local", w, &infratest.Recorder{})
			got := map[string]any{outputAPIURL: outputs[outputAPIURL], outputSSH: outputs[outputSSH]}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("outputs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBaseURL holds that the path at which a hub is goes along with its URL and with every address of its API: to users
// and checks, to the hub's module, and to the outposts of this stack and of others.
func TestBaseURL(t *testing.T) {
	w := testWorld(committedConfig(t, "local"))
	change(t, w.config, "hub.values.hub", "{baseUrl: /jupyter/}")
	url := strings.Trim(values.At(documentOf(w.config), "hub", "url").(string), "/")
	r := &infratest.Recorder{}
	outputs := outputsOf(t, "local", w, r)
	local, remote := "http://hub.jupyter.svc:8081/jupyter/hub/api", url+"/jupyter/hub/api"
	got := map[string]any{
		"URL":    outputs[outputHubURL],
		"remote": values.At(outputs, outputSystems, "remote", "hubApiUrl"),
	}
	if diff := cmp.Diff(map[string]any{"URL": url + "/jupyter", "remote": remote}, got); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	for chart, wants := range map[string][]string{
		"hub":      {"/jupyter/hub/home", "/jupyter/"},
		"hub-side": {local, remote},
		"outpost":  {local},
	} {
		text := string(infratest.JSON(t, r.Find(t, "kubernetes:helm.sh/v4:Chart", chart).Inputs))
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s is not among the values of the chart of %s", want, chart)
			}
		}
	}
}

// TestImageOfTunnels holds that the tunnels have the image of the outpost in their stack, however that is said, unless
// they are given one.
func TestImageOfTunnels(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0", 64)
	for _, tt := range []struct {
		name string
		set  map[string]string
		want hub.OutpostImage
	}{
		{"none", map[string]string{"outpost": "{}"}, hub.OutpostImage{}},
		{"of the outpost", map[string]string{
			"outpost": "{image: {repository: a, tag: b}}",
		}, hub.OutpostImage{Repository: "a", Tag: "b"}},
		{"by values", map[string]string{
			"outpost": "{image: {repository: a}, values: {image: {tag: c}}}",
		}, hub.OutpostImage{Repository: "a", Tag: "c"}},
		{"their own", map[string]string{
			"outpost": "{image: {repository: a, tag: b}}", "hub.tunnels": "{image: {repository: d}}",
		}, hub.OutpostImage{Repository: "d"}},
		{"their own policy", map[string]string{
			"outpost":     "{image: {repository: a, tag: b, digest: '" + digest + "', pullPolicy: IfNotPresent}}",
			"hub.tunnels": "{image: {pullPolicy: Always}}",
		}, hub.OutpostImage{Repository: "a", Tag: "b", Digest: digest, PullPolicy: "Always"}},
		{"pulled with the hub's Secret", map[string]string{
			"outpost":     "{image: {repository: a}, values: {imagePullSecrets: [{name: pull}]}}",
			"hub.tunnels": "{values: {imagePullSecrets: [{name: pull}]}}",
		}, hub.OutpostImage{Repository: "a"}},
		{"pulled without a Secret", map[string]string{
			"outpost":     "{image: {repository: a}, values: {imagePullSecrets: [{name: pull}]}}",
			"hub.tunnels": "{values: {imagePullSecrets: []}}",
		}, hub.OutpostImage{Repository: "a"}},
		{"their own beside a Secret of the outpost", map[string]string{
			"outpost":     "{image: {repository: a}, values: {imagePullSecrets: [{name: pull}]}}",
			"hub.tunnels": "{image: {repository: d}}",
		}, hub.OutpostImage{Repository: "d"}},
		{"their own by values", map[string]string{
			"outpost":     "{values: {imagePullSecrets: [{name: pull}]}}",
			"hub.tunnels": "{values: {image: {repository: d}}}",
		}, hub.OutpostImage{}},
		{"without an outpost", map[string]string{
			"outpost": "-", "outposts": "[{name: remote, address: 10.0.0.3, " +
				"exposure: {type: nodePort, apiNodePort: 30080, sshNodePort: 30022}}]",
		}, hub.OutpostImage{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw := committedConfig(t, "local")
			for key, value := range tt.set {
				change(t, raw, key, value)
			}
			c, err := LoadConfig(raw, projectRoot(t))
			if err != nil {
				t.Fatal(err)
			}
			if got := c.tunnels().Image; got != tt.want {
				t.Errorf("image %+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestGivenHostKeys holds that the tunnels read the host keys that another operator has given, whatever else is in
// their lines: they refuse the systems all together for one that they do not read.
func TestGivenHostKeys(t *testing.T) {
	plain := strings.TrimSuffix(publicKey, " other")
	lines, err := json.Marshal([]string{
		publicKey, "[10.0.0.3]:30022 " + plain, `no-pty,from="10.0.0.0/8" ` + publicKey,
		"# 10.0.0.3:30022 SSH-2.0-Go\n10.0.0.3 " + plain + "\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	w := testWorld(committedConfig(t, "local"))
	change(t, w.config, "outposts.1.hostKeys", string(lines))
	r := &infratest.Recorder{}
	if err := runStack(t, r, "local", w); err != nil {
		t.Fatal(err)
	}
	trust := r.Find(t, "kubernetes:core/v1:ConfigMap", "hub-trust").Inputs["data"].ObjectValue()
	systems, err := remote.Parse([]byte(trust["systems.yaml"].StringValue()))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, key := range systems["remote"].HostKeys {
		got = append(got, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))))
	}
	if diff := cmp.Diff([]string{plain, plain, plain, plain}, got); diff != "" {
		t.Errorf("host keys (-want +got):\n%s", diff)
	}
}

func TestRemote(t *testing.T) {
	r := &infratest.Recorder{Stacks: map[string]map[string]any{"organization/outposts/local": localOutputs(t)}}
	if err := runStack(t, r, "remote", testWorld(committedConfig(t, "remote"))); err != nil {
		t.Fatal(err)
	}
	infratest.Golden(t, "remote.golden.txt", []byte(r.List()))
	checkSecrets(t, r)
}

// checkSecrets holds what programs register to: the data of every Secret is marked secret, and no text that comes from
// random bytes is anywhere outside a mark.
func checkSecrets(t *testing.T, r *infratest.Recorder) {
	t.Helper()
	secrets := 0
	for _, made := range r.Resources() {
		if made.Type == "kubernetes:core/v1:Secret" {
			secrets++
			if !made.Inputs["stringData"].IsSecret() {
				t.Errorf("%s %s: stringData is not marked secret", made.Type, made.Name)
			}
		}
		for _, text := range infratest.ClearTexts(resource.NewProperty(made.Inputs)) {
			for _, mark := range []string{"PRIVATE KEY", "BEGIN OPENSSH"} {
				if strings.Contains(text, mark) {
					t.Errorf("%s %s: a private key in clear", made.Type, made.Name)
				}
			}
			for _, secret := range r.Secrets() {
				if strings.Contains(text, secret) {
					t.Errorf("%s %s: a secret text in clear", made.Type, made.Name)
				}
			}
		}
	}
	if secrets == 0 {
		t.Error("the program made no Secret at all")
	}
}
