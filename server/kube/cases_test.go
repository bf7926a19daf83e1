package kube

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/outpost"
)

// The tests below are the observable cases of the Python server's own suite (contract section 11) that show in a pod, and defects of
// section 9 that do, each named by its number.

// planned plans a start of alice's server with variables and misc of the hub, and returns its objects.
func planned(t *testing.T, s *Spawner, env map[string]string, misc map[string]string) *objects {
	t.Helper()
	r := outpost.StartRequest{Key: aliceKey, Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "alice"}, Misc: map[string]json.RawMessage{}}}
	maps.Copy(r.Body.Env, env)
	for name, value := range misc {
		r.Body.Misc[name] = json.RawMessage(value)
	}
	p, err := s.Plan(t.Context(), outpost.Hub{Name: "hub", AllowedOptions: []string{"*"}}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p.Objects.(*objects)
}

// variables are those of the notebook's container.
func variables(pod *corev1.Pod) map[string]string {
	out := map[string]string{}
	for _, v := range pod.Spec.Containers[0].Env {
		out[v.Name] = v.Value
	}
	return out
}

func TestCase39TheHubsVariablesReachThePodAndWin(t *testing.T) {
	s := testSpawner(t, "jhub", Options{Spawner: map[string]any{"environment": map[string]any{"JUPYTERHUB_API_URL": "planted", "MINE": "of {username}"}}})
	hub := map[string]string{
		"JUPYTERHUB_API_URL": "https://hub.example.org/hub/api", "JUPYTERHUB_BASE_URL": "/base/", "JUPYTERHUB_HOST": "https://hub.example.org", "OTHER": "{not} a template",
	}
	got := variables(planned(t, s, hub, nil).pod)
	for name, want := range hub {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if got["MINE"] != "of alice" {
		t.Errorf("MINE is %q", got["MINE"])
	}
}

// X62: with an environment of the operator's own the Python server loses all variables of the hub, the token included.
func TestX62TheOperatorsEnvironmentKeepsTheHubs(t *testing.T) {
	s := testSpawner(t, "jhub", Options{Spawner: map[string]any{"environment": map[string]any{"MINE": "x"}}})
	got := variables(planned(t, s, map[string]string{"JUPYTERHUB_API_TOKEN": "5d0c"}, nil).pod)
	if got["JUPYTERHUB_API_TOKEN"] != "5d0c" || got["MINE"] != "x" {
		t.Errorf("variables %v", got)
	}
}

func TestCase40MiscChangesOneServerOnly(t *testing.T) {
	s := testSpawner(t, "jhub", Options{Spawner: map[string]any{"image": "configured"}})
	for _, c := range []struct {
		misc map[string]string
		want string
	}{{nil, "configured"}, {map[string]string{"image": `"other"`}, "other"}, {nil, "configured"}} {
		if got := planned(t, s, nil, c.misc).pod.Spec.Containers[0].Image; got != c.want {
			t.Errorf("with misc %v the image is %s, want %s", c.misc, got, c.want)
		}
	}
}

// X81: a map for an option that the operator has not configured.
func TestX81MapsInMiscAreTakenWithoutAConfiguration(t *testing.T) {
	s := testSpawner(t, "jhub", Options{})
	for _, misc := range []map[string]string{{"extra_labels": `{}`}, {"extra_labels": `{"team":"blue"}`, "extra_annotations": `{}`, "node_selector": `{}`}} {
		pod := planned(t, s, nil, misc).pod
		if want := strings.Contains(misc["extra_labels"], "blue"); (pod.Labels["team"] == "blue") != want {
			t.Errorf("misc %v: labels %v", misc, pod.Labels)
		}
	}
}

// The texts of the certificates are in the Secret as they were sent, the three variables point at them, and all go with the pod. X17:
// in the pod they are readable by its user and group alone, and no file is made anywhere else.
func TestCase45AndX17CertificatesAreInASecret(t *testing.T) {
	cl := newCluster()
	s := cl.run(t, Options{Spawner: map[string]any{"fs_gid": 1000}})
	p, err := s.Plan(t.Context(), outpost.Hub{Name: "hub"}, outpost.StartRequest{
		Key: aliceKey, Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "alice"}},
		Certs: map[string]string{"keyfile": "KEY\n", "certfile": "CERT\n", "cafile": "CA\n"}, TrustBundles: map[string]string{"hub-ca": "HUBCA\n"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := p.Objects.(*objects)
	got := map[string]string{}
	for name, data := range o.secret.Data {
		got[name] = string(data)
	}
	if diff := cmp.Diff(map[string]string{"ssl.key": "KEY\n", "ssl.crt": "CERT\n", "notebooks-ca_trust.crt": "CA\nHUBCA\n"}, got); diff != "" {
		t.Errorf("secret (-want +got):\n%s", diff)
	}
	env := variables(o.pod)
	for name, want := range map[string]string{"JUPYTERHUB_SSL_KEYFILE": "ssl.key", "JUPYTERHUB_SSL_CERTFILE": "ssl.crt", "JUPYTERHUB_SSL_CLIENT_CA": "notebooks-ca_trust.crt"} {
		if env[name] != "/etc/jupyterhub/ssl/"+want {
			t.Errorf("%s is %q", name, env[name])
		}
	}
	i := slices.IndexFunc(o.pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Secret != nil })
	if i < 0 || *o.pod.Spec.Volumes[i].Secret.DefaultMode != 0o440 {
		t.Errorf("volumes %+v", o.pod.Spec.Volumes)
	}
	if _, err := s.Start(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context(), p.Key, p.State); err != nil {
		t.Fatal(err)
	}
	if left := cl.left(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// X36: a stop after a restart knows the stored state and nothing else; it makes nothing, neither certificates nor a Secret.
func TestX36AStopAfterARestartMakesNothing(t *testing.T) {
	cl := newCluster()
	first := cl.run(t, withService)
	p := mustStart(t, first, aliceKey)
	data, err := json.Marshal(p.State)
	if err != nil {
		t.Fatal(err)
	}
	var stored outpost.State
	if err := json.Unmarshal(data, &stored); err != nil {
		t.Fatal(err)
	}
	next := cl.run(t, withService)
	cl.taken()
	if err := next.Stop(t.Context(), aliceKey, stored); err != nil {
		t.Fatal(err)
	}
	for _, call := range cl.taken() {
		if strings.HasPrefix(call, "create ") || strings.HasPrefix(call, "patch ") {
			t.Errorf("the stop made something: %s", call)
		}
	}
	if left := cl.left(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
