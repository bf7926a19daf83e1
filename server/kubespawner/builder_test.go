package kubespawner

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/kubespawner/kubespawnertest"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

// spawnerVector is one start of KubeSpawner inside a hub.
type spawnerVector struct {
	ID    string `json:"id"`
	Input struct {
		Username     string         `json:"username"`
		Servername   string         `json:"servername"`
		UserID       int            `json:"userid"`
		HubNamespace string         `json:"hub_namespace"`
		Options      map[string]any `json:"options"`
	} `json:"input"`
	wantObjects
}

// outpostVector is one start of the Python outpost by a hub's client.
type outpostVector struct {
	ID    string `json:"id"`
	Input struct {
		Operator  map[string]any `json:"operator_options"`
		Namespace string         `json:"outpost_namespace"`
		Request   struct {
			Name         string                     `json:"name"`
			Env          map[string]string          `json:"env"`
			UserOptions  map[string]json.RawMessage `json:"user_options"`
			Misc         map[string]json.RawMessage `json:"misc"`
			Certs        map[string]string          `json:"certs"`
			TrustBundles map[string]string          `json:"internal_trust_bundles"`
		} `json:"request_body"`
	} `json:"input"`
	Error string `json:"error"`
	wantObjects
}

// wantObjects are the results that both kinds of cases have.
type wantObjects struct {
	Names struct {
		Pod       string `json:"pod_name"`
		Namespace string `json:"namespace"`
		PVC       string `json:"pvc_name"`
		DNS       string `json:"dns_name"`
		Secret    string `json:"secret_name"`
	} `json:"names"`
	Pod       json.RawMessage `json:"pod"`
	PVC       json.RawMessage `json:"pvc"`
	Service   json.RawMessage `json:"service"`
	Secret    json.RawMessage `json:"secret"`
	Namespace json.RawMessage `json:"namespace_object"`
	Returns   string          `json:"start_returns"`
	State     outpost.State   `json:"state_saved"`
}

// renamed replaces names in all of it.
func (w wantObjects) renamed(t *testing.T, names *strings.Replacer) (out wantObjects) {
	t.Helper()
	data, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(names.Replace(string(data))), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// installation is the id of the outpost's database in these tests.
const installation = "00112233445566778899aabbccddeeff"

func testBuilder(t testing.TB, namespace string, options map[string]any) *Builder {
	t.Helper()
	b, err := NewBuilder(namespace, nil, options, 0, func(name string) (string, bool) {
		value, ok := map[string]string{"LANGUAGE_KEPT": "de"}[name]
		return value, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkObject compares an object with KubeSpawner's as far as an outpost adds nothing to it, after edit has changed
// both.
func checkObject[T any, P interface {
	*T
	metav1.Object
	DeepCopy() *T
}](t *testing.T, namespace string, recorded json.RawMessage, built P, edit func(want, got P)) {
	t.Helper()
	want := P(kubespawnertest.Decode[T](t, recorded))
	if want == nil || built == nil {
		if want != nil || built != nil {
			t.Errorf("%T: want %v, got %v", built, want, built)
		}
		return
	}
	got := P(built.DeepCopy())
	want.SetNamespace(namespace)
	want.SetOwnerReferences(nil) // set when the pod has a uid
	for _, o := range []P{want, got} {
		o.SetLabels(likeKubeSpawner(o.GetLabels()))
		o.SetAnnotations(likeKubeSpawner(o.GetAnnotations()))
	}
	if edit != nil {
		edit(want, got)
	}
	if diff := cmp.Diff(want, got, kubespawnertest.SameObject); diff != "" {
		t.Errorf("%T (-want +got)\n%s", built, diff)
	}
}

// check compares what was built with a vector. edit changes KubeSpawner's pod where ours differs.
func (w wantObjects) check(t *testing.T, o *Objects, edit func(*corev1.Pod)) {
	t.Helper()
	n := w.Names
	wantNames := names{Namespace: n.Namespace, Pod: n.Pod, DNS: n.DNS, Secret: n.Secret, PVC: n.PVC}
	if diff := cmp.Diff(wantNames, o.names); diff != "" {
		t.Errorf("names (-want +got)\n%s", diff)
	}
	if len(w.Pod) == 0 {
		return
	}
	checkObject(t, n.Namespace, w.Pod, o.Pod, func(want, got *corev1.Pod) { edit(want); withKubeSpawnersMode(got) })
	checkObject(t, n.Namespace, w.PVC, o.Claim, nil)
	checkObject(t, n.Namespace, w.Secret, o.Secret, nil)
	checkObject(t, n.Namespace, w.Service, o.Service, func(want, got *corev1.Service) {
		want.Spec.Selector, got.Spec.Selector = likeKubeSpawner(want.Spec.Selector), likeKubeSpawner(got.Spec.Selector)
		got.APIVersion = ""
	})
	checkObject(t, "", w.Namespace, o.Namespace, nil)
	_, port, err := ServingContainer(o.Pod)
	if err != nil {
		t.Fatal(err)
	}
	if url, err := o.url("10.0.0.9", port); err != nil || url != w.Returns {
		t.Errorf("start returns %s, %v; want %s", url, err, w.Returns)
	}
	for key, value := range w.State {
		if got := o.State()[key]; key != stateVersion && got != value {
			t.Errorf("state %s = %v, want %v", key, got, value)
		}
	}
}

// likeKubeSpawner removes what only we put on objects and makes the versions equal.
func likeKubeSpawner(m map[string]string) map[string]string {
	out := map[string]string{}
	for key, value := range m {
		switch {
		case strings.HasPrefix(key, "outposts.dev/"):
		case key == kubespawnerKey || key == jupyterhubKey:
			out[key] = "any"
		default:
			out[key] = value
		}
	}
	return out
}

// editEnv sets and removes variables of the notebook and keeps the list in order.
func editEnv(pod *corev1.Pod, set map[string]string, remove ...string) {
	env := slices.DeleteFunc(pod.Spec.Containers[0].Env, func(v corev1.EnvVar) bool {
		_, changed := set[v.Name]
		return changed || slices.Contains(remove, v.Name)
	})
	for name, value := range set {
		env = append(env, corev1.EnvVar{Name: name, Value: value})
	}
	slices.SortFunc(env, func(a, b corev1.EnvVar) int { return strings.Compare(a.Name, b.Name) })
	pod.Spec.Containers[0].Env = env
}

func TestObjectsInsideAHubAreKubeSpawners(t *testing.T) {
	var v podVectors
	kubespawnertest.Load(t, "pod-vectors", &v)
	if len(v.Spawner) < 16 {
		t.Fatalf("only %d vectors", len(v.Spawner))
	}
	// Kubernetes would refuse these; an outpost says so before anything is made.
	problemsOf := map[string]string{
		"labels-annotations-templates": `extra_labels and common_labels: label {username}=`,
		"template-scope":               `node_selector: label n="{username}": a valid label`,
	}
	// Variables that a hub does not send; the server sets them from its options.
	computed := []string{
		"JUPYTER_IMAGE", "JUPYTER_IMAGE_SPEC", "JUPYTERHUB_SERVICE_URL", "JUPYTERHUB_DEBUG", "JUPYTERHUB_DEFAULT_URL",
		"JUPYTERHUB_DISABLE_USER_CONFIG", "JUPYTERHUB_ROOT_DIR", "LANGUAGE_KEPT",
		"MEM_LIMIT", "MEM_GUARANTEE", "CPU_LIMIT", "CPU_GUARANTEE",
	}
	for _, c := range v.Spawner {
		t.Run(c.ID, func(t *testing.T) {
			b := testBuilder(t, c.Input.HubNamespace, c.Input.Options)
			env := map[string]string{"JUPYTERHUB_USER_ID": strconv.Itoa(c.Input.UserID)}
			own, _ := c.Input.Options["environment"].(map[string]any)
			for _, v := range kubespawnertest.Decode[corev1.Pod](t, c.Pod).Spec.Containers[0].Env {
				if _, set := own[v.Name]; !set && !slices.Contains(computed, v.Name) {
					env[v.Name] = v.Value
				}
			}
			r := outpost.StartRequest{
				Key:  outpost.Key{Hub: "hub", Name: c.Input.Servername, StartID: "1"},
				Body: outpost.Body{Env: env},
			}
			var p options.Problems
			o := b.objects(installation, outpost.Hub{Name: "hub"}, r, nil, "", &p)
			if err := p.Err(); err != nil &&
				(problemsOf[c.ID] == "" || !strings.HasPrefix(err.Error(), problemsOf[c.ID])) {
				t.Fatal(err)
			}
			c.check(t, o, func(pod *corev1.Pod) {
				editEnv(pod, map[string]string{"JUPYTERHUB_USER_ID": strconv.Itoa(c.Input.UserID)})
				pod.Spec.EnableServiceLinks = new(false) // KubeSpawner shows every server all others
			})
		})
	}
}

func TestObjectsOfARequestAreKubeSpawners(t *testing.T) {
	var v podVectors
	kubespawnertest.Load(t, "pod-vectors", &v)
	if len(v.Outpost) < 11 {
		t.Fatalf("only %d vectors", len(v.Outpost))
	}
	edits := map[string]func(*corev1.Pod, map[string]string){
		// The variables of a hub are not replaced by the operator's.
		"outpost-operator-environment": func(pod *corev1.Pod, env map[string]string) {
			changes := maps.Clone(env)
			changes["OPERATOR_VAR"] = "alice"
			editEnv(pod, changes)
		},
		// What a profile adds is expanded like every other variable of the operator; what it removes is not there,
		// where KubeSpawner leaves an empty one.
		"outpost-profile-environment": func(pod *corev1.Pod, _ map[string]string) {
			editEnv(pod, map[string]string{"EXTRA": "x-alice"}, "JUPYTERHUB_PUBLIC_URL")
		},
		// A hub that sends no port names it in its URL.
		"outpost-misc-disabled": func(pod *corev1.Pod, _ map[string]string) {
			pod.Spec.Containers[0].Ports[0].ContainerPort = 45126
		},
	}
	returns := map[string]string{"outpost-misc-disabled": "http://10.0.0.9:45126"}
	//nolint:lll // a case a line
	problemsOf := map[string]string{
		// KubeSpawner drops wrong values silently, and the operator's with them.
		"outpost-bad-misc-ignored": `cpu_limit (misc): must be a number of cores such as 1.5 or "500m"; image (misc): must be a string, not an integer; ` +
			`no_such_option (misc): unknown option; tolerations (misc): must be a list or a map of objects, not a string; uid (misc): must be an integer, not a string`,
	}
	fine := map[string]bool{
		"outpost-profile-without-list": true, // nobody offers profiles, so nobody misses one
		"outpost-json-env":             true, // hub variables are taken verbatim
		"outpost-long-name":            true, // its name is cut
	}
	names := strings.NewReplacer("jupyter-kreuzert-fz-juelich-de---d471e423--a0f3c2d4e5b6478899aabbccddeeff00",
		"jupyter-kreuzert-fz-juelich-de-d471e423-a0f3c2d4e5b6---d3ad977f")
	for _, c := range v.Outpost {
		t.Run(c.ID, func(t *testing.T) {
			in := c.Input.Request
			b := testBuilder(t, c.Input.Namespace, c.Input.Operator)
			r := outpost.StartRequest{
				Key:   outpost.Key{Hub: "hub", Name: in.Name, StartID: "0123456789abcdef0123456789abcdef"},
				Body:  outpost.Body{Env: in.Env, Misc: in.Misc, UserOptions: in.UserOptions},
				Certs: in.Certs, TrustBundles: in.TrustBundles,
			}
			var p options.Problems
			o := b.objects(installation, outpost.Hub{Name: "hub", AllowedOptions: []string{"*"}}, r, nil, "", &p)
			if want := problemsOf[c.ID]; want != "" {
				if err := p.Err(); err == nil || err.Error() != want {
					t.Errorf("error\n%v\nwant\n%s", err, want)
				}
				return
			}
			if err := p.Err(); (err != nil) != (c.Error != "" && !fine[c.ID]) {
				t.Fatalf("error %v, KubeSpawner's is %q", err, c.Error)
			}
			if c.ID == "outpost-long-name" {
				c.wantObjects = c.renamed(t, names)
			}
			if url, ok := returns[c.ID]; ok {
				c.Returns = url
			}
			c.check(t, o, func(pod *corev1.Pod) {
				editEnv(pod, nil, "JPY_API_TOKEN")       // KubeSpawner's old name, always empty
				pod.Spec.EnableServiceLinks = new(false) // KubeSpawner shows every server all others
				if edit := edits[c.ID]; edit != nil {
					edit(pod, in.Env)
				}
			})
		})
	}
}

// The Services of other servers are no variables of a pod, unless the operator wants that: a hub cannot ask for them.
func TestServiceLinks(t *testing.T) {
	in := func(value bool) map[string]any {
		return map[string]any{"extra_pod_config": map[string]any{"enableServiceLinks": value}}
	}
	snake := map[string]any{"extra_pod_config": map[string]any{"enable_service_links": true}}
	overlay := map[string]any{"pod_overlay": map[string]any{"spec": map[string]any{"enableServiceLinks": true}}}
	service, none := map[string]any{"services_enabled": true}, map[string]any{"services_enabled": false}
	for name, tc := range map[string]struct {
		general, hub, flavor, misc map[string]any
		want                       bool
	}{
		"a Service":                        {misc: service},
		"no Service":                       {misc: none},
		"the hub's own":                    {misc: in(true)},
		"the hub's own, in snake case":     {misc: snake},
		"the hub's own overlay":            {misc: overlay},
		"the operator's":                   {general: in(true), misc: service, want: true},
		"the operator's, no Service":       {general: in(true), misc: none, want: true},
		"the operator's in snake case":     {general: snake, want: true},
		"the operator's overlay":           {general: overlay, want: true},
		"the operator's for the hub":       {hub: in(true), want: true},
		"the flavor's":                     {flavor: in(true), want: true},
		"the hub wants none":               {general: in(true), misc: in(false)},
		"the hub's over the operator's no": {general: in(false), misc: in(true)},
		"another option of the pod": {
			general: map[string]any{"extra_pod_config": map[string]any{"hostIPC": false}}, misc: in(true),
		},
	} {
		t.Run(name, func(t *testing.T) {
			hub := outpost.Hub{Name: "h", Options: tc.hub, AllowedOptions: []string{"*"}}
			resources := flavor.Flavor{"resources": tc.flavor}
			o, err := request(t, testBuilder(t, "jhub", tc.general), hub, resources, tc.misc)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&tc.want, o.Pod.Spec.EnableServiceLinks); diff != "" {
				t.Errorf("enableServiceLinks (-want +got)\n%s", diff)
			}
		})
	}
}

func request(t testing.TB, b *Builder, hub outpost.Hub, flavor flavor.Flavor, misc map[string]any) (*Objects, error) {
	t.Helper()
	raw := map[string]json.RawMessage{}
	for name, value := range misc {
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		raw[name] = data
	}
	return b.Build(installation, hub, outpost.StartRequest{
		Key: outpost.Key{Hub: hub.Name, Name: "lab", StartID: "s1"}, Flavor: "small",
		Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "alice"}, Misc: raw},
	}, flavor)
}

func TestWhatAHubSetsIsChecked(t *testing.T) {
	b := testBuilder(t, "outpost", nil)
	//nolint:lll // a case a line
	for _, c := range []struct {
		name string
		hub  outpost.Hub
		misc map[string]any
		want string // empty: allowed
	}{
		{"what the client always sends", outpost.Hub{}, map[string]any{
			"dns_name_template": "{name}.{namespace}.svc.cluster.local", "pod_name_template": "jupyter-{username}", "internal_ssl": false,
			"port": 4000, "ip": "0.0.0.0", "services_enabled": true, "extra_labels": map[string]any{},
		}, ""},
		{
			"credentials are the hub's variables",
			outpost.Hub{AllowedOptions: []string{"*"}},
			map[string]any{"environment": map[string]any{"JUPYTERHUB_API_TOKEN": "x"}},
			"environment.JUPYTERHUB_API_TOKEN: only the hub may set this variable",
		},
		{
			"a label that Kubernetes refuses",
			outpost.Hub{},
			map[string]any{"extra_labels": map[string]any{"a b": "c"}},
			`extra_labels and common_labels: label a b="c": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
		},
		{"a template with an unknown field", outpost.Hub{}, map[string]any{"pod_name_template": "{nope}"}, "pod_name_template: unknown field {nope} in template; write {{ and }} for braces"},
		{
			"a name that is none",
			outpost.Hub{},
			map[string]any{"pod_name_template": "Jupyter_{username}"},
			`pod_name_template: yields the name "Jupyter_alice": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`,
		},
		{
			"TLS without certificates",
			outpost.Hub{Options: map[string]any{"internal_ssl": true}},
			map[string]any{"internal_ssl": true},
			"internal_ssl: certs of the request lacks keyfile, certfile or cafile",
		},
		{
			"TLS that the operator has not enabled",
			outpost.Hub{},
			map[string]any{"internal_ssl": true},
			"internal_ssl: is not enabled on this outpost; its operator enables it by spawner option internal_ssl",
		},
		{
			"an unknown field of a volume",
			outpost.Hub{AllowedOptions: []string{"*"}},
			map[string]any{"volumes": []any{map[string]any{"name": "x", "emptyDir": map[string]any{"medum": "Memory"}}}},
			`volumes[0]: unknown field "emptyDir.medum"`,
		},
		{"storage without a size", outpost.Hub{AllowedOptions: []string{"*"}}, map[string]any{"storage_pvc_ensure": true}, "storage_capacity: must be a quantity such as 10Gi"},
	} {
		c.hub.Name = "h"
		_, err := request(t, b, c.hub, nil, c.misc)
		got := ""
		if err != nil {
			got = err.Error()
			if outpost.KindOf(err) != outpost.KindInvalid {
				t.Errorf("%s: kind %v", c.name, outpost.KindOf(err))
			}
		}
		if got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// A start that an earlier process has accepted goes on, though nobody says any more which groups its user is in.
func TestGroupsAreJudgedOnce(t *testing.T) {
	b := testBuilder(t, "jhub", map[string]any{"profile_list": []any{map[string]any{
		"slug": "gpu", "allowed_groups": []any{"gpu"}, "denied_text": "Ask Bob.",
		"kubespawner_override": map[string]any{"image": "of-gpu"},
	}}})
	r := outpost.StartRequest{
		Key: outpost.Key{Hub: "hub", StartID: "s1"},
		Body: outpost.Body{
			Env:         map[string]string{"JUPYTERHUB_USER": "alice"},
			UserOptions: map[string]json.RawMessage{"profile": json.RawMessage(`"gpu"`)},
		},
	}
	_, err := b.Build("00", outpost.Hub{Name: "hub"}, r, nil)
	if err == nil || err.Error() != "profile: You may not use the profile gpu. Ask Bob." {
		t.Errorf("a user of no group: %v", err)
	}
	member, resumed := r, r
	member.Authentication, resumed.Resumed = map[string]any{"groups": []any{"gpu"}}, true
	for name, r := range map[string]outpost.StartRequest{"a member": member, "resumed": resumed} {
		o, err := b.Build("00", outpost.Hub{Name: "hub"}, r, nil)
		if err != nil || o.Pod.Spec.Containers[0].Image != "of-gpu" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a start that goes on does not name is not opened to its user, whose groups nobody says any more.
func TestAResumedStartOpensNothingElse(t *testing.T) {
	b := testBuilder(t, "jhub", map[string]any{
		"profile_list": []any{
			map[string]any{
				"slug": "gpu", "default": true, "allowed_groups": []any{"gpu"},
				"kubespawner_override": map[string]any{"image": "of-gpu"},
			},
			map[string]any{"slug": "base", "kubespawner_override": map[string]any{"image": "of-all"}},
		},
		"shared": []any{map[string]any{
			"name": "data", "claim": "data", "mount": "/data", "allowedGroups": []any{"gpu"},
		}},
	})
	o, err := b.Build("00", outpost.Hub{Name: "hub"}, outpost.StartRequest{
		Key: outpost.Key{Hub: "hub", StartID: "s1"}, Resumed: true,
		Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "alice"}},
	}, nil)
	if err != nil || o.Pod.Spec.Containers[0].Image != "of-all" || len(o.Pod.Spec.Volumes) > 0 {
		t.Errorf("%v: %+v", err, o)
	}
}

// A wrong value takes nothing with it (KubeSpawner drops the operator's limit with the hub's wrong one), and each layer
// wins over the ones before.
func TestLayersOfOptions(t *testing.T) {
	b := testBuilder(t, "outpost", map[string]any{
		"image":         "general",
		"mem_limit":     "1G",
		"cpu_limit":     1,
		"node_selector": map[string]any{"a": "general", "b": "general"},
	})
	hub := outpost.Hub{
		Name:           "h",
		AllowedOptions: []string{"*"},
		Options:        map[string]any{"image": "hub", "node_selector": map[string]any{"b": "hub"}},
	}
	flavor := flavor.Flavor{"resources": map[string]any{"cpu_limit": 2, "mem_limit": "2Gi", "cpu_guarantee": "250m"}}
	o, err := request(t, b, hub, flavor, map[string]any{"cpu_limit": 3, "node_selector": map[string]any{"c": "misc"}})
	if err != nil {
		t.Fatal(err)
	}
	c := o.Pod.Spec.Containers[0]
	if c.Image != "hub" || c.Resources.Limits.Cpu().Value() != 3 || c.Resources.Limits.Memory().Value() != 2<<30 ||
		c.Resources.Requests.Cpu().MilliValue() != 250 {
		t.Errorf("image %s, resources %+v", c.Image, c.Resources)
	}
	if want := map[string]string{"a": "general", "b": "hub", "c": "misc"}; !maps.Equal(o.Pod.Spec.NodeSelector, want) {
		t.Errorf("node selector %v, want %v", o.Pod.Spec.NodeSelector, want)
	}
	for source, change := range map[string]func(){
		"configuration of hub h": func() { hub.Options = map[string]any{"mem_limit": "x"} },
		"flavor small":           func() { flavor["resources"] = map[string]any{"mem_limit": "x"} },
	} {
		change()
		if _, err := request(
			t,
			b,
			hub,
			flavor,
			nil,
		); err == nil ||
			!strings.Contains(err.Error(), "mem_limit ("+source+"): must be a number of bytes") {
			t.Errorf("%s: %v", source, err)
		}
	}
}

func FuzzMisc(f *testing.F) {
	//nolint:lll // a case a line
	for _, seed := range []string{
		`{"image":"x"}`, `{"volumes":{"a":{"name":"{username}"}}}`, `{"extra_pod_config":{"tolerations":null}}`, `{"pod_overlay":{"spec":{"containers":[{"name":"notebook","image":"y"}]}}}`,
		`{"profile_list":[{"slug":"p","profile_options":{"o":{"choices":{"c":{}}}}}]}`, `{"environment":{"A":{"value_from":{}}}}`, `{"port":1e9}`, `{"pod_name_template":"{{{username:>900}"}`,
		`{"lifecycle_hooks":{"preStop":null}}`, `{"extra_container_config":{"ports":[]},"services_enabled":true}`, `{"extra_pod_config":{"containers":[]}}`, `{"pod_overlay":{"spec":{"containers":[{"$patch":"delete","name":"notebook"}]}}}`,
	} {
		f.Add([]byte(seed))
	}
	b := testBuilder(f, "outpost", nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		var misc map[string]json.RawMessage
		if json.Unmarshal(data, &misc) != nil {
			return
		}
		o, err := b.Build(installation, outpost.Hub{Name: "h", AllowedOptions: []string{"*"}}, outpost.StartRequest{
			Key:  outpost.Key{Hub: "h", StartID: "s"},
			Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "alice"}, Misc: misc},
		}, nil)
		if err != nil {
			return
		}
		if o.Service != nil && !outpost.IsHost(o.names.DNS) {
			t.Errorf("%s: host %q", data, o.names.DNS)
		}
		if _, err := json.Marshal(o.Pod); err != nil {
			t.Errorf("%s: %v", data, err)
		}
	})
}
