package kube

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/outposts-dev/outposts/server/outpost"
)

// spawnerVector is one case of the peer's spawner inside a hub.
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

// outpostVector is one case of the peer driven by a hub's client.
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

// ownInstallation is the id of the database in all tests.
const ownInstallation = "00112233445566778899aabbccddeeff"

// testSpawner makes a Spawner that plans and is never run.
func testSpawner(t testing.TB, namespace string, o Options) *Spawner {
	t.Helper()
	if o.LookupEnv == nil {
		o.LookupEnv = func(name string) (string, bool) {
			value, ok := map[string]string{"LANGUAGE_KEPT": "de"}[name]
			return value, ok
		}
	}
	s, err := New(fake.NewClientset(), namespace, o)
	if err != nil {
		t.Fatal(err)
	}
	s.installation = ownInstallation
	close(s.running)
	return s
}

// check compares what was built with a vector. edit brings the peer's pod to what we want where we differ.
func (w wantObjects) check(t *testing.T, o *objects, edit func(*corev1.Pod)) {
	t.Helper()
	wantNames := names{Namespace: w.Names.Namespace, Pod: w.Names.Pod, DNS: w.Names.DNS, Secret: w.Names.Secret, PVC: w.Names.PVC}
	if diff := cmp.Diff(wantNames, o.names); diff != "" {
		t.Errorf("names (-want +got)\n%s", diff)
	}
	if len(w.Pod) == 0 {
		return
	}
	want := decode[corev1.Pod](t, w.Pod)
	want.Namespace = w.Names.Namespace
	want.Labels, want.Annotations = likePeer(want.Labels), likePeer(want.Annotations)
	edit(want)
	got := withPeersMode(o.pod.DeepCopy())
	got.Labels, got.Annotations = likePeer(got.Labels), likePeer(got.Annotations)
	if diff := cmp.Diff(want, got, sameObject); diff != "" {
		t.Errorf("pod (-want +got)\n%s", diff)
	}
	if want := decode[corev1.PersistentVolumeClaim](t, w.PVC); want != nil || o.claim != nil {
		want.Namespace, want.Labels, want.Annotations = w.Names.Namespace, likePeer(want.Labels), likePeer(want.Annotations)
		got := o.claim.DeepCopy()
		got.Labels, got.Annotations = likePeer(got.Labels), likePeer(got.Annotations)
		if diff := cmp.Diff(want, got, sameObject); diff != "" {
			t.Errorf("claim (-want +got)\n%s", diff)
		}
	}
	if want := decode[corev1.Service](t, w.Service); want != nil || o.service != nil {
		want.Namespace, want.Labels, want.Annotations = w.Names.Namespace, likePeer(want.Labels), likePeer(want.Annotations)
		want.Spec.Selector = likePeer(want.Spec.Selector)
		want.OwnerReferences = nil // set when the pod has a uid
		got := o.service.DeepCopy()
		got.Labels, got.Annotations, got.APIVersion = likePeer(got.Labels), likePeer(got.Annotations), ""
		got.Spec.Selector = likePeer(got.Spec.Selector)
		if diff := cmp.Diff(want, got, sameObject); diff != "" {
			t.Errorf("service (-want +got)\n%s", diff)
		}
	}
	if want := decode[corev1.Secret](t, w.Secret); want != nil || o.secret != nil {
		want.Namespace, want.Labels, want.Annotations = w.Names.Namespace, likePeer(want.Labels), likePeer(want.Annotations)
		want.OwnerReferences = nil
		got := o.secret.DeepCopy()
		got.Labels, got.Annotations = likePeer(got.Labels), likePeer(got.Annotations)
		if diff := cmp.Diff(want, got, sameObject); diff != "" {
			t.Errorf("secret (-want +got)\n%s", diff)
		}
	}
	if want := decode[corev1.Namespace](t, w.Namespace); want != nil || o.namespace != nil {
		if diff := cmp.Diff(want, o.namespace, sameObject); diff != "" {
			t.Errorf("namespace (-want +got)\n%s", diff)
		}
	}
	port, err := portOf(got)
	if err != nil {
		t.Fatal(err)
	}
	if url, err := o.rawURL("10.0.0.9", port); err != nil || url != w.Returns {
		t.Errorf("start returns %s, %v; want %s", url, err, w.Returns)
	}
	for key, value := range w.State {
		if got := o.state()[key]; key != stateVersion && got != value {
			t.Errorf("state %s = %v, want %v", key, got, value)
		}
	}
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

func TestSpawnerObjectsAreThePeers(t *testing.T) {
	var v podVectors
	loadVectors(t, "pod-vectors", &v)
	if len(v.Spawner) < 16 {
		t.Fatalf("only %d vectors", len(v.Spawner))
	}
	// Kubernetes would refuse this label; we say so before anything is made.
	problemsOf := map[string]string{"labels-annotations-templates": `extra_labels and common_labels: label {username}=`}
	// Variables that a hub does not send; the server sets them from its options.
	computed := []string{
		"JUPYTER_IMAGE", "JUPYTER_IMAGE_SPEC", "JUPYTERHUB_SERVICE_URL", "JUPYTERHUB_DEBUG", "JUPYTERHUB_DEFAULT_URL",
		"JUPYTERHUB_DISABLE_USER_CONFIG", "JUPYTERHUB_ROOT_DIR", "LANGUAGE_KEPT",
		"MEM_LIMIT", "MEM_GUARANTEE", "CPU_LIMIT", "CPU_GUARANTEE",
	}
	for _, c := range v.Spawner {
		t.Run(c.ID, func(t *testing.T) {
			s := testSpawner(t, c.Input.HubNamespace, Options{Spawner: c.Input.Options})
			env := map[string]string{"JUPYTERHUB_USER_ID": strconv.Itoa(c.Input.UserID)}
			own, _ := c.Input.Options["environment"].(map[string]any)
			for _, v := range decode[corev1.Pod](t, c.Pod).Spec.Containers[0].Env {
				if _, set := own[v.Name]; !set && !slices.Contains(computed, v.Name) {
					env[v.Name] = v.Value
				}
			}
			r := outpost.StartRequest{Key: outpost.Key{Hub: "hub", Name: c.Input.Servername, StartID: "1"}, Body: outpost.Body{Env: env}}
			var p problems
			o := s.builder.buildObjects(ownInstallation, outpost.Hub{Name: "hub"}, r, nil, &p)
			if text := p.String(); text != "" && (problemsOf[c.ID] == "" || !strings.HasPrefix(text, problemsOf[c.ID])) {
				t.Fatal(text)
			}
			c.check(t, o, func(pod *corev1.Pod) {
				editEnv(pod, map[string]string{"JUPYTERHUB_USER_ID": strconv.Itoa(c.Input.UserID)})
			})
		})
	}
}

func TestOutpostObjectsAreThePeers(t *testing.T) {
	var v podVectors
	loadVectors(t, "pod-vectors", &v)
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
		// where the peer leaves an empty one.
		"outpost-profile-environment": func(pod *corev1.Pod, _ map[string]string) {
			editEnv(pod, map[string]string{"EXTRA": "x-alice"}, "JUPYTERHUB_PUBLIC_URL")
		},
		// A hub that sends no port names it in its URL.
		"outpost-misc-disabled": func(pod *corev1.Pod, _ map[string]string) {
			pod.Spec.Containers[0].Ports[0].ContainerPort = 45126
		},
	}
	returns := map[string]string{"outpost-misc-disabled": "http://10.0.0.9:45126"}
	problemsOf := map[string]string{
		// The peer drops wrong values in silence, and the operator's with them.
		"outpost-bad-misc-ignored": `cpu_limit (misc): must be a number of cores such as 1.5 or "500m"; image (misc): must be a text, not a whole number; ` +
			`no_such_option (misc): no such option; tolerations (misc): must be a list or a map of objects, not a text; uid (misc): must be a whole number, not a text`,
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
			s := testSpawner(t, c.Input.Namespace, Options{Spawner: c.Input.Operator})
			r := outpost.StartRequest{
				Key:   outpost.Key{Hub: "hub", Name: in.Name, StartID: "0123456789abcdef0123456789abcdef"},
				Body:  outpost.Body{Env: in.Env, Misc: in.Misc, UserOptions: in.UserOptions},
				Certs: in.Certs, TrustBundles: in.TrustBundles,
			}
			var p problems
			o := s.builder.buildObjects(ownInstallation, outpost.Hub{Name: "hub", AllowedOptions: []string{"*"}}, r, nil, &p)
			if want := problemsOf[c.ID]; want != "" {
				if !strings.HasPrefix(p.String(), want) {
					t.Errorf("problems\n%s\nwant\n%s", p.String(), want)
				}
				if c.ID == "outpost-bad-misc-ignored" {
					return
				}
			} else if text := p.String(); (text != "") != (c.Error != "" && !fine[c.ID]) {
				t.Fatalf("problems %q, the peer's error is %q", text, c.Error)
			}
			if c.ID == "outpost-long-name" {
				c.wantObjects = c.renamed(t, names)
			}
			if url, ok := returns[c.ID]; ok {
				c.Returns = url
			}
			c.check(t, o, func(pod *corev1.Pod) {
				editEnv(pod, nil, "JPY_API_TOKEN") // the peer's old name, always empty
				if o.service != nil {
					pod.Spec.EnableServiceLinks = new(false) // the peer tells every server of all others
				}
				if edit := edits[c.ID]; edit != nil {
					edit(pod, in.Env)
				}
			})
		})
	}
}

// The Services of other servers are no variables of a pod, unless the operator wants that.
func TestServiceLinks(t *testing.T) {
	yes, no := new(true), new(false)
	for name, tc := range map[string]struct {
		options map[string]any
		want    *bool
	}{
		"a Service":            {map[string]any{"services_enabled": true}, no},
		"no Service":           {map[string]any{}, nil},
		"the operator's":       {map[string]any{"services_enabled": true, "extra_pod_config": map[string]any{"enableServiceLinks": true}}, yes},
		"an overlay's":         {map[string]any{"services_enabled": true, "pod_overlay": map[string]any{"spec": map[string]any{"enableServiceLinks": true}}}, yes},
		"no Service, no links": {map[string]any{"extra_pod_config": map[string]any{"enableServiceLinks": false}}, no},
	} {
		t.Run(name, func(t *testing.T) {
			s := testSpawner(t, "jhub", Options{Spawner: tc.options})
			o, _ := planOf(t, s, aliceKey, nil).Objects.(*objects)
			if diff := cmp.Diff(tc.want, o.pod.Spec.EnableServiceLinks); diff != "" {
				t.Errorf("enableServiceLinks (-want +got)\n%s", diff)
			}
		})
	}
}
