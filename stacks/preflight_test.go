package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/infratest"
)

func loaded(t *testing.T, text string, changes map[string]string) Config {
	t.Helper()
	raw := configFrom(t, text)
	for key, value := range changes {
		change(t, raw, key, value)
	}
	c, err := LoadConfig(raw, "/project")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// made is the state of a stack as Pulumi tells it.
func made(identity string, claims ...volume) map[string]any {
	const urn = "urn:pulumi:local::outposts::"
	resources := map[string]any{
		urn + "outposts:cluster:Cluster$pulumi:providers:kubernetes::cluster-kubernetes": map[string]any{
			"type": "pulumi:providers:kubernetes", "outputs": map[string]any{"clusterIdentifier": identity},
		},
		urn + "outposts:credentials:Pair::remote": map[string]any{
			"type": "outposts:credentials:Pair", "outputs": map[string]any{},
		},
	}
	for _, v := range claims {
		resources[urn+"kubernetes:core/v1:Namespace::cluster-"+v.Namespace] = madeNamespace(v.Namespace)
		asked := map[string]any{}
		spec := map[string]any{
			"storageClassName": "standard", // the cluster's default
			"accessModes":      []any{},
			"resources":        map[string]any{"requests": map[string]any{"storage": v.size}},
		}
		for _, mode := range v.accessModes {
			spec["accessModes"] = append(spec["accessModes"].([]any), mode)
		}
		if v.storageClass != nil {
			asked["storageClassName"], spec["storageClassName"] = *v.storageClass, *v.storageClass
		}
		if v.selector != nil {
			spec["selector"] = v.selector
		}
		resources[urn+"kubernetes:core/v1:PersistentVolumeClaim::"+v.String()] = map[string]any{
			"type": "kubernetes:core/v1:PersistentVolumeClaim",
			"outputs": map[string]any{
				"__inputs": map[string]any{"spec": asked},
				"metadata": map[string]any{"namespace": v.Namespace, "name": v.Name},
				"spec":     spec,
			},
		}
	}
	return resources
}

var (
	hubVolume = volume{
		Object:      cluster.Object{Namespace: "jupyter", Name: "hub-db-dir"},
		accessModes: []string{"ReadWriteOnce"}, size: "1Gi",
	}
	outpostVolume = volume{
		Object:      cluster.Object{Namespace: "outpost", Name: "outpost-data"},
		accessModes: []string{"ReadWriteOnce"}, size: "1Gi",
	}
)

// madeNamespaces is the state of a stack without volumes of its own.
func madeNamespaces(identity string, names ...string) map[string]any {
	resources := made(identity)
	for _, name := range names {
		resources["urn:pulumi:local::outposts::kubernetes:core/v1:Namespace::cluster-"+name] = madeNamespace(name)
	}
	return resources
}

func madeNamespace(name string) map[string]any {
	return map[string]any{
		"type": "kubernetes:core/v1:Namespace", "outputs": map[string]any{"metadata": map[string]any{"name": name}},
	}
}

// lostNamespace is what a run says that would delete a namespace.
func lostNamespace(name string) string {
	return "namespace " + name + " would be deleted with everything in it, including users' homes and " +
		"running servers: nothing in this config uses it; nothing was changed. To delete it, " +
		"first run `pulumi up` with \"" + name + "/*\" in outposts:allowDataLoss and without this change"
}

func TestPreflightRefuses(t *testing.T) {
	const lost = "; nothing was changed. To let the data go, first run `pulumi up` with "
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name    string
		changes map[string]string
		api     fakeCluster
		before  map[string]any
		want    []string
	}{
		{
			"unreachable", nil,
			fakeCluster{err: errors.New("no answer from the cluster at https://10.0.0.1:6443: timeout")},
			nil,
			[]string{"outposts:cluster: context local: no answer from the cluster at https://10.0.0.1:6443: timeout; nothing was changed. Check that the cluster is up and that it is the one you mean"},
		},
		{
			"another cluster", nil,
			fakeCluster{identity: "new"},
			made("old"),
			[]string{"outposts:cluster: context local is another cluster than last time: its namespace kube-system has uid new, this stack was made in old; " +
				"nothing was changed. Go back to the old cluster, or use a new stack for the new one. To move the stack with its keys, see docs/adopt.md"},
		},
		{
			"another cluster, by the outputs that are left with the keys", nil,
			fakeCluster{identity: "new"},
			madeKeysOnly("old"),
			[]string{"outposts:cluster: context local is another cluster than last time: its namespace kube-system has uid new, this stack was made in old; " +
				"nothing was changed. Go back to the old cluster, or use a new stack for the new one. To move the stack with its keys, see docs/adopt.md"},
		},
		{
			"a third cluster than the one to move to",
			map[string]string{"cluster.adopt": "new"},
			fakeCluster{identity: "third"},
			madeKeysOnly("old"),
			[]string{"outposts:cluster.adopt: context local is another cluster: its namespace kube-system has uid third, not new; nothing was changed. Check outposts:cluster.context"},
		},
		{
			"the cluster to move to, with the objects of the old one",
			map[string]string{"cluster.adopt": "new"},
			fakeCluster{identity: "new"},
			made("old"),
			[]string{"outposts:cluster.adopt: the state of this stack still has the objects of cluster old; nothing was changed. Leave its keys alone in the state: make export-keys import-keys STACK=..."},
		},
		{
			"node port taken",
			map[string]string{"hub.exposure": "{type: nodePort, nodePort: 30000}"},
			fakeCluster{identity: "a", ports: map[int]cluster.Object{30000: {Namespace: "other", Name: "web"}}},
			nil,
			[]string{"outposts:hub.exposure.nodePort: node port 30000 is taken by Service other/web; choose another"},
		},
		{
			"namespaces of servers that do not exist",
			map[string]string{
				"outpost.config":  "{spawner: {namespace: servers, profile_list: [{display_name: GPU, kubespawner_override: {namespace: gpu-users}}]}}",
				"outpost.flavors": "{flavors: {tiny: {resources: {namespace: there}}, big: {resources: {namespace: outpost}}}}",
			},
			fakeCluster{identity: "a", missing: []string{"gpu-users", "servers", "outpost"}},
			nil,
			[]string{
				"outposts:outpost.config.spawner.profile_list[0].kubespawner_override.namespace: namespace gpu-users does not exist; make it first (kubectl create namespace gpu-users)",
				"outposts:outpost.config.spawner.namespace: namespace servers does not exist; make it first (kubectl create namespace servers)",
			},
		},
		{
			"no chart",
			map[string]string{"hub.chart": "{path: /nowhere}"},
			fakeCluster{identity: "a"},
			nil,
			[]string{"outposts:hub.chart.path: /nowhere is not a chart: no Chart.yaml there"},
		},
		{
			"volume of the hub gone",
			map[string]string{"hub.values": "{hub: {db: {type: postgres}}}"},
			fakeCluster{identity: "a"},
			made("a", hubVolume, outpostVolume),
			[]string{"volume jupyter/hub-db-dir holds data and would be deleted: nothing in this config uses it" + lost + `"jupyter/hub-db-dir" in outposts:allowDataLoss and without this change`},
		},
		{
			"another namespace",
			map[string]string{"outpost.namespace": "elsewhere"},
			fakeCluster{identity: "a"},
			made("a", hubVolume, outpostVolume),
			[]string{lostNamespace("outpost")},
		},
		{
			"another namespace, though the volume may go",
			map[string]string{"hub.namespace": "elsewhere", "allowDataLoss": "[jupyter/hub-db-dir]"},
			fakeCluster{identity: "a"},
			made("a", hubVolume, outpostVolume),
			[]string{lostNamespace("jupyter")},
		},
		{
			"another namespace without a volume of ours",
			map[string]string{
				"outpost.namespace": "elsewhere", "outpost.persistence.enabled": "false",
				"outpost.values": "{extraEnvVarsSecrets: [sql]}",
			},
			fakeCluster{identity: "a"},
			madeNamespaces("a", "jupyter", "outpost"),
			[]string{lostNamespace("outpost")},
		},
		{
			"no outpost any more",
			map[string]string{"outposts": "[{name: remote, address: 10.0.0.3, exposure: {type: nodePort, apiNodePort: 30080, sshNodePort: 30022}}]"},
			fakeCluster{identity: "a"},
			made("a", hubVolume, outpostVolume),
			[]string{lostNamespace("outpost")},
		},
		{
			"no default storage class",
			map[string]string{"hub.values": "{hub: {db: {pvc: {storageClassName: fast}}}}"},
			fakeCluster{identity: "a", classes: []string{"fast", "slow"}},
			nil,
			[]string{"outposts:outpost.persistence.storageClass: volume outpost/outpost-data asks for the cluster's default storage class, but none is the default; nothing was changed. Name a class there, or make one the default; the cluster has only fast, slow"},
		},
		{
			"no storage class",
			map[string]string{"outpost.persistence.storageClass": `"-"`},
			fakeCluster{identity: "a", classes: []string{}},
			nil,
			[]string{"outposts:hub.values.hub.db.pvc.storageClassName: volume jupyter/hub-db-dir asks for the cluster's default storage class, but none is the default; nothing was changed. Name a class there, or make one the default; the cluster has no storage class"},
		},
		{
			"running servers",
			map[string]string{"outposts": "[{name: local}]"},
			fakeCluster{identity: "a", services: map[string]int{"remote": 3}},
			made("a", hubVolume, outpostVolume),
			[]string{`system remote is no longer in outposts:outposts, but 3 of its servers are running; nothing was changed. Stop them, or add "remote" to outposts:allowServerLoss; if the system has another name now, add "remote" to its formerNames`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := checked(loaded(t, localConfig, tt.changes), tt.api, stateOf(tt.before))
			if err == nil {
				t.Fatal("accepted")
			}
			if diff := cmp.Diff(tt.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPreflightAccepts holds that what is asked for by its key, or changes nothing, passes.
func TestPreflightAccepts(t *testing.T) {
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name    string
		changes map[string]string
		api     fakeCluster
		before  map[string]any
	}{
		{"first time", nil, fakeCluster{identity: "a"}, nil},
		{"no default storage class, but the volumes are there", nil, fakeCluster{identity: "a", classes: []string{"fast"}}, made("a", hubVolume, outpostVolume)},
		{"nothing new", nil, fakeCluster{identity: "a"}, made("a", hubVolume, outpostVolume)},
		{
			"own node port",
			map[string]string{"hub.exposure": "{type: nodePort, nodePort: 30000}"},
			fakeCluster{identity: "a", ports: map[int]cluster.Object{30000: {Namespace: "jupyter", Name: "proxy-public"}}},
			nil,
		},
		{"a volume may go", map[string]string{"outpost.persistence.enabled": "false", "outpost.values": "{extraEnvVarsSecrets: [sql]}", "allowDataLoss": "[outpost/outpost-data]"}, fakeCluster{identity: "a"}, made("a", hubVolume, outpostVolume)},
		{"a namespace may go", map[string]string{"outpost.namespace": "elsewhere", "allowDataLoss": "[outpost/*]"}, fakeCluster{identity: "a"}, made("a", hubVolume, outpostVolume)},
		{
			"servers may go",
			map[string]string{"outposts": "[{name: local}]", "allowServerLoss": "[remote]"},
			fakeCluster{identity: "a", services: map[string]int{"remote": 3}},
			made("a", hubVolume, outpostVolume),
		},
		{"servers get a namespace of their own", map[string]string{"outpost.serverNamespace": "labs"}, fakeCluster{identity: "a"}, made("a", hubVolume, outpostVolume)},
		{"no server runs", map[string]string{"outposts": "[{name: local}]"}, fakeCluster{identity: "a"}, made("a", hubVolume, outpostVolume)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := checked(loaded(t, localConfig, tt.changes), tt.api, stateOf(tt.before))
			if err != nil || got != "a" {
				t.Errorf("identity %q, error %v", got, err)
			}
		})
	}
}

// checked is what a run finds before it registers anything, and the uid of its cluster.
func checked(c Config, api clusterAPI, before state) (string, error) {
	uid, err := c.identify(context.Background(), api, before)
	if err != nil {
		return "", err
	}
	_, err = preflightAlone(c, api, before)
	return uid, err
}

// preflightAlone is preflight of a stack that no other one tells anything.
func preflightAlone(c Config, api clusterAPI, before state) (warned []string, err error) {
	shown, contrary := c.shown([]*systemOutput{})
	warned, err = preflight(context.Background(), c, api, before, shown)
	return warned, errors.Join(contrary, err)
}

// TestBadInput holds each mistake that is easily made to a message that names the key and the way out, and to nothing
// being registered.
func TestBadInput(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig,
		[]byte(`{"apiVersion":"v1","kind":"Config","clusters":[{"name":"c","cluster":{"server":"http://127.0.0.1:1"}}],
		"contexts":[{"name":"here","context":{"cluster":"c"}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(access cluster.Access) (clusterAPI, error) { return cluster.Open(access) }
	taken := fakeCluster{
		identity: "11111111-2222-3333-4444-555555555555",
		ports:    map[int]cluster.Object{30000: {Namespace: "other", Name: "web"}},
	}
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name, stack string
		change      map[string]string
		open        func(cluster.Access) (clusterAPI, error)
		made        map[string]any
		want        string
	}{
		{
			"missing kubeconfig", "local",
			map[string]string{"cluster.kubeconfig": "/nowhere"},
			open, nil,
			"outposts:cluster.kubeconfig: no file /nowhere; name one that is there",
		},
		{
			"missing context", "local",
			map[string]string{"cluster": "{kubeconfig: " + kubeconfig + ", context: there}"},
			open, nil,
			"outposts:cluster.context: kubeconfig " + kubeconfig + ` has no context "there"; it has: here`,
		},
		{"another cluster", "local", nil, nil, made("another"), "outposts:cluster: context local is another cluster than last time"},
		{
			"unreachable API", "local",
			map[string]string{"cluster": "{kubeconfig: " + kubeconfig + ", context: here}"},
			open, nil,
			"outposts:cluster: context here: no answer from the cluster at http://127.0.0.1:1",
		},
		{"unknown key", "local", map[string]string{"hub.adress": "x"}, nil, nil, "outposts:hub.adress: unknown key; known keys: bootstrap, chart, "},
		{"wrong type", "remote", map[string]string{"outpost.startTimeout": "soon"}, nil, nil, "outposts:outpost.startTimeout: got string, want integer"},
		{"two systems of one name", "local", map[string]string{"outposts.1.name": "local"}, nil, nil, `outposts:outposts[1].name: "local" is also the name of outposts[0]`},
		{
			"node port out of range", "local",
			map[string]string{"outposts.1.exposure.apiNodePort": "80"},
			nil, nil,
			"outposts:outposts[1].exposure.apiNodePort: minimum: got 80, want 30,000",
		},
		{
			"node port taken", "local", nil, func(cluster.Access) (clusterAPI, error) { return taken, nil }, nil,
			"outposts:hub.exposure.nodePort: node port 30000 is taken by Service other/web; choose another",
		},
		{
			"no address", "local",
			map[string]string{"outposts.1.address": "ten.77.0.300"},
			nil, nil,
			`outposts:outposts[1].address: "ten.77.0.300" is neither an IPv4 address nor a DNS name`,
		},
		{"remote before local", "remote", nil, nil, nil, "outposts:hubs[0].stack: organization/outposts/local cannot be read; run `pulumi up` on it first"},
		{"no chart", "local", map[string]string{"hub.chart.path": "stacks"}, nil, nil, "outposts:hub.chart.path: " + filepath.Join(projectRoot(t), "stacks") + " is not a chart: no Chart.yaml there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := testWorld(committedConfig(t, tt.stack))
			for key, value := range tt.change {
				change(t, w.config, key, value)
			}
			if tt.open != nil {
				w.open = tt.open
			}
			r := &infratest.Recorder{Made: tt.made}
			err := runStack(t, r, tt.stack, w)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ... %s", err, tt.want)
			}
			if got := r.List(); got != "" {
				t.Errorf("registered:\n%s", got)
			}
		})
	}
}

// TestNothingIsWrittenBefore holds that a run which is refused registers nothing.
func TestNothingIsWrittenBefore(t *testing.T) {
	w := testWorld(committedConfig(t, "local"))
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name string
		made map[string]any
		open func(cluster.Access) (clusterAPI, error)
		key  string
		set  string
	}{
		{name: "another cluster", made: made("another", hubVolume)},
		{name: "no kubeconfig", open: func(access cluster.Access) (clusterAPI, error) {
			access.Path += ".missing"
			return cluster.Open(access)
		}},
		{name: "volume", key: "hub.namespace", set: "other", made: made("11111111-2222-3333-4444-555555555555", hubVolume)},
		{name: "config", key: "hub.url", set: "3"},
		{name: "values", key: "hub.values", set: "{hub: {nodeSelector: 3}}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := w
			w.config = committedConfig(t, "local")
			if tt.key != "" {
				change(t, w.config, tt.key, tt.set)
			}
			if tt.open != nil {
				w.open = tt.open
			}
			r := &infratest.Recorder{Made: tt.made}
			if err := runStack(t, r, "local", w); err == nil {
				t.Error("accepted")
			}
			if got := r.List(); got != "" {
				t.Errorf("registered:\n%s", got)
			}
		})
	}
}

// TestRemoteBeforeLocal holds the message of a remote stack whose hub's stack is not there yet.
func TestRemoteBeforeLocal(t *testing.T) {
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name   string
		stacks map[string]map[string]any
		want   string
	}{
		{"no such stack", nil, "outposts:hubs[0].stack: organization/outposts/local cannot be read; run `pulumi up` on it first: "},
		{
			"never applied",
			map[string]map[string]any{"organization/outposts/local": {}},
			"outposts:hubs[0].stack: organization/outposts/local has no systems yet; run `pulumi up` on it first",
		},
		{
			"no such system",
			map[string]map[string]any{"organization/outposts/local": {"systems": map[string]any{"other": map[string]any{}}}},
			`outposts:hubs[0].stack: organization/outposts/local has no system "remote": add it to outposts:outposts there and run ` + "`pulumi up` on it first",
		},
		{
			"another passphrase",
			map[string]map[string]any{"organization/outposts/local": {"systems": map[string]any{}, "loginPassword": map[string]any{}}},
			"outposts:hubs[0].stack: organization/outposts/local cannot be decrypted: its secrets have another passphrase or key than this run was given",
		},
		{
			"another hub",
			map[string]map[string]any{"organization/outposts/local": {"systems": map[string]any{"remote": map[string]any{"hub": "elsewhere"}}}},
			`outposts:hubs[0].stack: organization/outposts/local is of a hub that is called "elsewhere", not "jupyterhub"`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &infratest.Recorder{Stacks: tt.stacks}
			err := runStack(t, r, "remote", testWorld(committedConfig(t, "remote")))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ... %s", err, tt.want)
			}
			if got := r.List(); got != "" {
				t.Errorf("registered:\n%s", got)
			}
		})
	}
}

// TestRemoteRefuses holds what a remote stack refuses by what the stacks of hubs tell, and that nothing is registered.
func TestRemoteRefuses(t *testing.T) {
	const stack, another = "organization/outposts/local", "organization/outposts/another"
	taken := map[int]cluster.Object{
		30080: {Namespace: "other", Name: "web"}, 30022: {Namespace: "outpost", Name: "outpost-ssh"},
	}
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name    string
		changes map[string]string
		told    map[string]any // over what the hub's stack tells
		ports   map[int]cluster.Object
		want    []string
	}{
		{"node port taken", nil, nil, taken, []string{
			"outposts:hubs[0]: apiNodePort from " + stack + ": node port 30080 is taken by Service other/web; choose another at outposts:outposts[].exposure there",
		}},
		{"rotation of what the hub's stack makes", map[string]string{"outpost.rotation": `{hostKey: "2", tls: ["2", "1"], cryptKey: "1"}`}, nil, nil, []string{
			"outposts:outpost.rotation.hostKey: has no effect here; " + stack + " makes it; set outposts:outposts[].rotation there",
			"outposts:outpost.rotation.tls: has no effect here; " + stack + " makes it; set outposts:outposts[].rotation there",
		}},
		{
			"rotation of no certificate",
			map[string]string{"outpost.rotation": `{tls: "2"}`},
			map[string]any{"exposure": map[string]any{"type": "nodePort", "apiNodePort": 30080, "sshNodePort": 30022, "tls": false}, "tlsKey": "", "tlsCertificate": ""},
			nil,
			[]string{"outposts:outpost.rotation.tls: has no effect here; the outpost has no certificate of its own"},
		},
		{
			"hubs that disagree",
			map[string]string{"hubs": "[{name: one, stack: " + stack + "}, {name: two, stack: " + another + "}]"},
			map[string]any{"hub": "one", "address": "10.0.0.4"},
			nil,
			[]string{
				"outposts:hubs: the stacks of hubs one and two give this outpost different addresses or exposures",
				"outposts:hubs: hub two makes a host key for this outpost, and so does another hub; give it that one's instead (outposts:outposts, hostKeys and ca)",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			outputs, others := localOutputs(t), localOutputs(t)
			maps.Copy(others[outputSystems].(map[string]any)["remote"].(map[string]any), map[string]any{"hub": "two"})
			system := outputs[outputSystems].(map[string]any)["remote"].(map[string]any)
			maps.Copy(system, tt.told)
			w := testWorld(committedConfig(t, "remote"))
			w.open = func(cluster.Access) (clusterAPI, error) { return fakeCluster{identity: "a", ports: tt.ports}, nil }
			for key, value := range tt.changes {
				change(t, w.config, key, value)
			}
			r := &infratest.Recorder{Stacks: map[string]map[string]any{stack: outputs, another: others}}
			err := runStack(t, r, "remote", w)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want ... %s", err, want)
				}
			}
			if got := r.List(); got != "" {
				t.Errorf("registered:\n%s", got)
			}
		})
	}
}

// TestWarnings holds what is allowed but said.
func TestWarnings(t *testing.T) {
	const (
		system   = "outposts:outposts[1].exposure.tls is false: passwords and start requests go to 10.0.0.3 unencrypted"
		password = "outposts:outposts[1].password is not encrypted: set it with `pulumi config set --secret --path`"
		own      = "outposts:outpost.exposure.tls is false: passwords and start requests reach 10.0.0.3 unencrypted"
		url      = "outposts:hub.url begins with http://: " +
			"users log in, and servers of other clusters call the hub, over plain HTTP"
		login = "outposts:hub.values.hub.config.JupyterHub.authenticator_class is shared-password, the default: " +
			"whoever has the password logs in as any user; set another there"
		dummy = "outposts:hub.values.hub.config.JupyterHub.authenticator_class is dummy, without a password: " +
			"anybody who reaches the hub logs in as any user; set another there"
		copied = "outposts:hub.values has a copy of the chart's defaults, of which only changes are taken, and these " +
			"have another value here: hub.config.JupyterHub.admin_access, " +
			"hub.config.JupyterHub.authenticator_class; write only what you mean to change"
		groups = "outposts:outpost.%s names groups, of which this hub's login tells none: users are only in those " +
			"that you give them on the admin page or by the API; let the authenticator manage them (manage_groups in " +
			"hub.values.hub.config), or set JupyterHub.load_groups there"
	)
	plain := map[string]string{"outposts.1.exposure.tls": "false", "outposts.1.password": "0123456789abcdef"}
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name    string
		base    string
		changes map[string]string
		secret  []string
		want    []string
	}{
		{"encrypted", localConfig, nil, nil, []string{login}},
		{"login of its own", localConfig, map[string]string{"hub.values": "{hub: {config: {JupyterHub: {authenticator_class: github}}}}"}, nil, nil},
		{"login with other values", localConfig, map[string]string{"hub.values": "{hub: {config: {JupyterHub: {admin_access: true}}}}"}, nil, []string{login}},
		{"login without a password", localConfig, map[string]string{"hub.values": "{hub: {config: {JupyterHub: {authenticator_class: dummy}}}}"}, nil, []string{dummy}},
		{"copy of the chart's login", localConfig, map[string]string{"hub.values": "{hub: {config: {JupyterHub: {authenticator_class: dummy, admin_access: true}}}}"}, nil, []string{copied, login}},
		{"by the hub's stack", remoteConfig, nil, nil, nil},
		{"system and its password", localConfig, plain, nil, []string{system, password, login}},
		{"password that is secret", localConfig, plain, []string{"outposts:outposts"}, []string{system, login}},
		{
			"own exposure", remoteConfig,
			map[string]string{
				"hubs":    "[{name: other, password: 0123456789abcdef, sshPublicKeys: [" + publicKey + "]}]",
				"outpost": "{address: 10.0.0.3, exposure: {type: nodePort, apiNodePort: 30080, sshNodePort: 30022, tls: false}}",
			},
			[]string{"outposts:hubs"},
			[]string{own},
		},
		{
			"flavors and credits", localConfig,
			map[string]string{
				"outpost.flavors":        "{flavors: {a: {}}, hubs: {h: {jupyterhub_name: [jupyterhubb]}}}",
				"outpost.values.credits": "{credits: {a: {cap: 1}}, users: {u: {hubs: [], authentication: {name: x}}}}",
			},
			nil,
			[]string{
				"outposts:outpost.flavors.hubs.h.jupyterhub_name: no hub of the name jupyterhubb may log in; did you mean jupyterhub?",
				"outposts:outpost.values.credits.users.u.hubs: is an empty list, which nothing matches",
				login,
			},
		},
		{"URL of the hub", localConfig, map[string]string{"hub.url": "http://10.0.0.1:30000", "hub.exposure": "{type: nodePort, nodePort: 30000}"}, nil, []string{url, login}},
		{
			"Ingress of the hub", localConfig,
			map[string]string{"hub.exposure.tlsSecret": "-"},
			nil,
			[]string{"outposts:hub.exposure.tlsSecret is missing: users log in over plain HTTP", login},
		},
		{
			"groups that nobody tells", localConfig,
			map[string]string{"outpost.config": "{hubs: {jupyterhub: {allowedGroups: [staff], deniedText: Ask Bob.}}}"},
			nil,
			[]string{login, fmt.Sprintf(groups, "config.hubs.jupyterhub.allowedGroups")},
		},
		{
			"groups of a flavor", localConfig,
			map[string]string{
				"outpost.flavors": "{flavors: {a: {allowedGroups: [x]}}}",
				"hub.values":      "{hub: {config: {JupyterHub: {authenticator_class: github}}}}",
			},
			nil,
			[]string{fmt.Sprintf(groups, "flavors.flavors.a.allowedGroups")},
		},
		{
			"groups of the login", localConfig,
			map[string]string{
				"outpost.config": "{hubs: {jupyterhub: {allowedGroups: [staff]}}}",
				"hub.values":     "{hub: {config: {JupyterHub: {authenticator_class: github}, Authenticator: {manage_groups: true}}}}",
			},
			nil, nil,
		},
		{
			"groups of the configuration", localConfig,
			map[string]string{
				"outpost.config": "{hubs: {jupyterhub: {allowedGroups: [staff]}}}",
				"hub.values":     "{hub: {config: {JupyterHub: {authenticator_class: github, load_groups: {staff: {users: [ann]}}}}}}",
			},
			nil, nil,
		},
		{
			"groups of Python code", localConfig,
			map[string]string{
				"outpost.config": "{hubs: {jupyterhub: {allowedGroups: [staff]}}}",
				"hub.values":     "{hub: {config: {JupyterHub: {authenticator_class: github}}, extraConfig: {a: 'c.Authenticator.manage_groups = True'}}}",
			},
			nil, nil,
		},
		{
			"auth state that nobody keeps", localConfig,
			map[string]string{"outposts.1.sendAuthState": "[access_token]"},
			nil,
			[]string{login, "outposts:outposts[1].sendAuthState has nothing to send: the hub keeps no auth state; set " +
				"hub.values.hub.config.Authenticator.enable_auth_state"},
		},
		{
			"auth state that is kept", localConfig,
			map[string]string{
				"outposts.1.sendAuthState": "[access_token]",
				"hub.values":               "{hub: {config: {JupyterHub: {authenticator_class: github}, GitHubOAuthenticator: {enable_auth_state: true}}}}",
			},
			nil, nil,
		},
		{"both of the hub, said once", localConfig, map[string]string{"hub.url": "http://hub.example.org", "hub.exposure.tlsSecret": "-"}, nil, []string{url, login}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, warnings(loaded(t, tt.base, tt.changes), tt.secret)); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func goldenText(t *testing.T, name, got string) {
	t.Helper()
	infratest.Golden(t, name, []byte(got))
}

// TestCommittedStacksPointAtCharts holds that the paths in the committed stack files are there.
func TestCommittedStacksPointAtCharts(t *testing.T) {
	c, err := LoadConfig(committedConfig(t, "local"), projectRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	if errs := c.checkCharts(); len(errs) > 0 {
		t.Error(errs)
	}
	if _, err := os.Stat(filepath.Join(projectRoot(t), "charts", "outpost", "Chart.yaml")); err != nil {
		t.Error(err)
	}
}
