package kubespawner

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/outpost"
)

// built builds a start of alice's server with variables and misc of the hub, and returns its objects.
func built(t *testing.T, b *Builder, env map[string]string, misc map[string]string) *Objects {
	t.Helper()
	r := outpost.StartRequest{
		Key:  outpost.Key{Hub: "hub", StartID: "s1"},
		Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "alice"}, Misc: map[string]json.RawMessage{}},
	}
	maps.Copy(r.Body.Env, env)
	for name, value := range misc {
		r.Body.Misc[name] = json.RawMessage(value)
	}
	o, err := b.Build(installation, outpost.Hub{Name: "hub", AllowedOptions: []string{"*"}}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// variables are those of the notebook's container.
func variables(pod *corev1.Pod) map[string]string {
	out := map[string]string{}
	for _, v := range pod.Spec.Containers[0].Env {
		out[v.Name] = v.Value
	}
	return out
}

func TestTheHubsVariablesReachThePodAndWin(t *testing.T) {
	b := testBuilder(
		t,
		"jhub",
		map[string]any{"environment": map[string]any{"JUPYTERHUB_API_URL": "planted", "MINE": "of {username}"}},
	)
	hub := map[string]string{
		"JUPYTERHUB_API_URL":  "https://hub.example.org/hub/api",
		"JUPYTERHUB_BASE_URL": "/base/",
		"JUPYTERHUB_HOST":     "https://hub.example.org",
		"OTHER":               "{not} a template",
	}
	got := variables(built(t, b, hub, nil).Pod)
	for name, want := range hub {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if got["MINE"] != "of alice" {
		t.Errorf("MINE is %q", got["MINE"])
	}
}

// With an environment of the operator's own the Python outpost loses all variables of the hub, the token included.
func TestTheOperatorsEnvironmentKeepsTheHubs(t *testing.T) {
	b := testBuilder(t, "jhub", map[string]any{"environment": map[string]any{"MINE": "x"}})
	got := variables(built(t, b, map[string]string{"JUPYTERHUB_API_TOKEN": "5d0c"}, nil).Pod)
	if got["JUPYTERHUB_API_TOKEN"] != "5d0c" || got["MINE"] != "x" {
		t.Errorf("variables %v", got)
	}
}

func TestMiscChangesOneServerOnly(t *testing.T) {
	b := testBuilder(t, "jhub", map[string]any{"image": "configured"})
	for _, c := range []struct {
		misc map[string]string
		want string
	}{{nil, "configured"}, {map[string]string{"image": `"other"`}, "other"}, {nil, "configured"}} {
		if got := built(t, b, nil, c.misc).Pod.Spec.Containers[0].Image; got != c.want {
			t.Errorf("with misc %v the image is %s, want %s", c.misc, got, c.want)
		}
	}
}

func TestMapsInMiscAreAcceptedWithoutAConfiguration(t *testing.T) {
	b := testBuilder(t, "jhub", nil)
	for _, misc := range []map[string]string{
		{"extra_labels": `{}`},
		{"extra_labels": `{"team":"blue"}`, "extra_annotations": `{}`, "node_selector": `{}`},
	} {
		pod := built(t, b, nil, misc).Pod
		if want := strings.Contains(misc["extra_labels"], "blue"); (pod.Labels["team"] == "blue") != want {
			t.Errorf("misc %v: labels %v", misc, pod.Labels)
		}
	}
}

// The certificates are in the Secret as they were sent, and the three variables point at them. In the pod its user and
// group alone can read them, and no file is made anywhere else.
func TestCertificatesAreInASecret(t *testing.T) {
	o, err := testBuilder(
		t,
		"jhub",
		map[string]any{"fs_gid": 1000, "internal_ssl": true},
	).Build(
		installation,
		outpost.Hub{Name: "hub"},
		outpost.StartRequest{
			Key: outpost.Key{
				Hub:     "hub",
				StartID: "s1",
			},
			Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "alice"}},
			Certs: map[string]string{
				"keyfile":  "KEY\n",
				"certfile": "CERT\n",
				"cafile":   "CA\n",
			},
			TrustBundles: map[string]string{"hub-ca": "HUBCA\n"},
		},
		nil,
	)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, data := range o.Secret.Data {
		got[name] = string(data)
	}
	if diff := cmp.Diff(
		map[string]string{"ssl.key": "KEY\n", "ssl.crt": "CERT\n", "notebooks-ca_trust.crt": "CA\nHUBCA\n"},
		got,
	); diff != "" {
		t.Errorf("secret (-want +got):\n%s", diff)
	}
	env := variables(o.Pod)
	for name, want := range map[string]string{
		"JUPYTERHUB_SSL_KEYFILE": "ssl.key", "JUPYTERHUB_SSL_CERTFILE": "ssl.crt",
		"JUPYTERHUB_SSL_CLIENT_CA": "notebooks-ca_trust.crt",
	} {
		if env[name] != "/etc/jupyterhub/ssl/"+want {
			t.Errorf("%s is %q", name, env[name])
		}
	}
	i := slices.IndexFunc(o.Pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Secret != nil })
	if i < 0 || *o.Pod.Spec.Volumes[i].Secret.DefaultMode != 0o440 {
		t.Errorf("volumes %+v", o.Pod.Spec.Volumes)
	}
}

// A hub's SSH key opens the address that a start is answered with, so nothing in misc may lead it elsewhere.
func TestAHubDoesNotChooseWhereItsKeyLeads(t *testing.T) {
	const own, client = "{name}.{namespace}.svc.example.org", "{name}.{namespace}.svc.cluster.local"
	const refused = `dns_name_template: yields "%s", but hub h may only use "%s"; ` +
		`leave the option out at the hub, or list dns_name_template in hubs.h.allowedOptions of the outpost`
	listed := []string{"dns_name_template"}
	//nolint:lll // a case a line
	for _, c := range []struct {
		name     string
		operator string // dns_name_template of the outpost, empty for none
		allowed  []string
		misc     map[string]any
		host     string // of the address; empty for a refusal
		want     string // the error
	}{
		{name: "what every client sends", misc: map[string]any{"dns_name_template": client}, host: "jupyter-alice--lab.outpost.svc.cluster.local"},
		{name: "nothing", host: "jupyter-alice--lab.outpost.svc.cluster.local"},
		{name: "the same in other words", misc: map[string]any{"dns_name_template": "{name!s}.{namespace:s}.svc.cluster.local"}, host: "jupyter-alice--lab.outpost.svc.cluster.local"},
		{
			name: "a database", misc: map[string]any{"dns_name_template": "postgres.bank.svc.cluster.local", "port": 5432},
			want: fmt.Sprintf(refused, "postgres.bank.svc.cluster.local", "jupyter-alice--lab.outpost.svc.cluster.local"),
		},
		{
			name: "a database of the pod's name", misc: map[string]any{"dns_name_template": "{name}.bank.svc.cluster.local", "pod_name_template": "postgres"},
			want: fmt.Sprintf(refused, "postgres.bank.svc.cluster.local", "postgres.outpost.svc.cluster.local"),
		},
		{
			name: "a database through a pod's name", misc: map[string]any{"pod_name_template": "postgres.bank.svc.cluster.local"},
			want: `pod_name_template: yields the name "postgres.bank.svc.cluster.local": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')`,
		},
		{name: "a wrong type", misc: map[string]any{"dns_name_template": 5}, want: "dns_name_template (misc): must be a string, not an integer"},
		{name: "an unknown field", misc: map[string]any{"dns_name_template": "{username}"}, want: "dns_name_template: unknown field {username} in template; write {{ and }} for braces"},
		{name: "the operator's own domain", operator: own, misc: map[string]any{"dns_name_template": own}, host: "jupyter-alice--lab.outpost.svc.example.org"},
		// The client sends its default without being asked to, so nobody has wished for it.
		{name: "what every client sends to the operator's own domain", operator: own, misc: map[string]any{"dns_name_template": client}, host: "jupyter-alice--lab.outpost.svc.example.org"},
		{name: "a hub that may", allowed: listed, misc: map[string]any{"dns_name_template": "other.example.org"}, host: "other.example.org"},
		{name: "a hub that may, by its client's default", operator: own, allowed: listed, misc: map[string]any{"dns_name_template": client}, host: "jupyter-alice--lab.outpost.svc.cluster.local"},
	} {
		t.Run(c.name, func(t *testing.T) {
			operator := map[string]any{
				"services_enabled":  true,
				"pod_name_template": "jupyter-{username}--{servername}",
			}
			if c.operator != "" {
				operator["dns_name_template"] = c.operator
			}
			b := testBuilder(t, "outpost", operator)
			o, err := request(t, b, outpost.Hub{Name: "h", AllowedOptions: c.allowed}, nil, c.misc)
			if c.want != "" {
				if err == nil || err.Error() != c.want || outpost.KindOf(err) != outpost.KindInvalid {
					t.Errorf("got  %v\nwant %s", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := o.url(
				"10.0.0.1",
				8888,
			); err != nil || got != "http://"+c.host+":8888" ||
				o.State()[stateDNS] != c.host {
				t.Errorf("address %s, state %v, %v; want the host %s", got, o.State(), err, c.host)
			}
		})
	}
}

// Whatever labels a hub sends, by options that its operator allows too, neither its pods nor their Services and Secrets
// are selected with those of another component; what the outpost sets by itself stays.
func TestNoLabelsOfAHubPassForAnotherComponent(t *testing.T) {
	const all = `{"app": "database", "component": "outpost", "release": "outpost", "app.kubernetes.io/name": "outpost",
		"app.kubernetes.io/instance": "outpost", "app.kubernetes.io/component": "outpost",
		"hub.jupyter.org/network-access-proxy-api": "true", "hub.jupyter.org/network-access-proxy-http": "true",
		"hub.jupyter.org/network-access-singleuser": "true", "team": "blue"}`
	mine := map[string]any{"common_labels": map[string]any{"site": "north"}}
	withApp := map[string]any{
		"common_labels": map[string]any{"site": "north"}, "extra_labels": map[string]any{"app": "{username}"},
	}
	withOverlay := map[string]any{
		"common_labels": map[string]any{"site": "north"},
		"pod_overlay": map[string]any{"metadata": map[string]any{
			"labels": map[string]any{"release": "hub", "component": "x"},
		}},
	}
	base := map[string]string{
		UsernameKey: "alice", ServernameKey: "", HubKey: "hub", InstallationKey: installation, StartIDKey: "s1",
		"component": "singleuser-server", "app.kubernetes.io/component": "singleuser-server", "site": "north",
	}
	with := func(more ...string) map[string]string {
		out := maps.Clone(base)
		for i := 0; i < len(more); i += 2 {
			out[more[i]] = more[i+1]
		}
		return out
	}
	for _, c := range []struct {
		name    string
		options map[string]any
		misc    map[string]string
		want    map[string]string
	}{
		{"labels", mine, map[string]string{"extra_labels": all}, with("team", "blue")},
		{"common labels", mine, map[string]string{"common_labels": all}, with("team", "blue")},
		{
			"an overlay", mine,
			map[string]string{"pod_overlay": `{"metadata": {"labels": ` + all + `}}`},
			with("team", "blue"),
		},
		{
			"an overlay that takes labels away", mine, map[string]string{
				"pod_overlay": `{"metadata": {"labels": {"component": null, "site": null, "outposts.dev/hub": null}}}`,
			}, base,
		},
		{
			"an overlay that replaces labels", mine, map[string]string{
				"pod_overlay": `{"metadata": {"labels": {"$patch": "replace", "app": "hub", "team": "blue"}}}`,
			}, with("team", "blue"),
		},
		{
			"labels of the operator's", withApp,
			map[string]string{"extra_labels": all},
			with("app", "alice", "team", "blue"),
		},
		{"an overlay of the operator's", withOverlay, nil, with("release", "hub")},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.options["services_enabled"] = true
			o := built(t, testBuilder(t, "jhub", c.options), nil, c.misc)
			if diff := cmp.Diff(c.want, o.Pod.Labels); diff != "" {
				t.Errorf("pod (-want +got):\n%s", diff)
			}
			for key := range o.Service.Labels {
				if slices.Contains(selecting, key) && key != "app" {
					t.Errorf("the Service has the label %s=%s", key, o.Service.Labels[key])
				}
			}
			for key, value := range o.Service.Spec.Selector {
				if o.Pod.Labels[key] != value {
					t.Errorf("the Service selects by %s=%s, the pod has %q", key, value, o.Pod.Labels[key])
				}
			}
		})
	}
}

// Whose an object is, and which start's, is not a hub's to say, whatever it may set.
func TestHubSetsNoFacts(t *testing.T) {
	const forged = `{"hub.jupyter.org/username": "bob", "hub.jupyter.org/servername": "s", "outposts.dev/hub": "other",
		"outposts.dev/installation": "x", "outposts.dev/name": "s", "outposts.dev/start-id": "s9",
		"outposts.dev/start-date": "2000-01-01T00:00:00Z", "team": "blue"}`
	b := testBuilder(t, "jhub", map[string]any{
		"storage_pvc_ensure": true, "storage_capacity": "1Gi", "services_enabled": true, "enable_user_namespaces": true,
		"extra_annotations": map[string]any{"site": "north"},
	})
	of := func(misc map[string]string) []map[string]string {
		o := built(t, b, nil, misc)
		all := []map[string]string{
			o.Pod.Annotations, o.Claim.Annotations, o.Service.Annotations, o.Namespace.Annotations,
		}
		for _, annotations := range all {
			delete(annotations, "team")
			delete(annotations, StateKey) // says what the rest says
		}
		return all
	}
	want := of(nil)
	if want[1][UsernameKey] != "alice" || want[0][UsernameKey] != "alice" {
		t.Fatalf("the facts are not there: %v", want)
	}
	for name, misc := range map[string]map[string]string{
		"annotations":              {"extra_annotations": forged},
		"annotations of the claim": {"storage_extra_annotations": forged},
		"of the namespace":         {"user_namespace_annotations": forged},
		"an overlay":               {"pod_overlay": `{"metadata": {"annotations": ` + forged + `}}`},
		"an overlay without facts": {
			"pod_overlay": `{"metadata": {"annotations": {"hub.jupyter.org/username": null}}}`,
		},
		"labels": {"storage_extra_labels": `{"outposts.dev/hub": "other"}`},
	} {
		if diff := cmp.Diff(want, of(misc)); diff != "" {
			t.Errorf("%s (-without +with):\n%s", name, diff)
		}
	}
	replaced := of(map[string]string{"pod_overlay": `{"metadata": {"annotations": {"$patch": "replace", "a": "b"}}}`})
	for _, key := range facts {
		if replaced[0][key] != want[0][key] {
			t.Errorf("an overlay that replaces annotations makes %s %q", key, replaced[0][key])
		}
	}
}
