package kube

import (
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// planFor plans a start of the user "user" of hub-b, with options for that hub and what it sends in misc.
func planFor(t testing.TB, s *Spawner, several bool, options map[string]any, misc map[string]string) outpost.Plan {
	t.Helper()
	options = maps.Clone(options)
	if options == nil {
		options = map[string]any{}
	}
	options["internal_ssl"] = true
	body := outpost.Body{
		Env: map[string]string{"JUPYTERHUB_USER": "user"}, Misc: map[string]json.RawMessage{},
	}
	for name, value := range misc {
		body.Misc[name] = json.RawMessage(value)
	}
	p, err := s.Plan(t.Context(), outpost.Hub{Name: "hub-b", Several: several, Options: options}, outpost.StartRequest{
		Key: outpost.Key{Hub: "hub-b", StartID: "b1"}, Body: body,
		Certs: map[string]string{"keyfile": "KEY", "certfile": "CERT", "cafile": "CA"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A pod is created only when everything that it mounts is known to be of its hub, its user and its outpost. Whatever
// name a hub chooses, it never reaches what was made for somebody else, and removes nothing of it.
func TestAStartUsesNothingOfAnotherOwner(t *testing.T) {
	home := map[string]any{"storage_pvc_ensure": true, "storage_capacity": "1Gi"}
	keyOf := func(hub string) outpost.Key { return outpost.Key{Hub: hub, StartID: "old"} }
	of := func(user, installation, hub string) map[string]string {
		return annotated(user, installation, keyOf(hub))
	}
	claim := func(user, installation, hub string) map[string]string {
		return map[string]string{
			kubespawner.UsernameKey: user, kubespawner.HubKey: hub, kubespawner.InstallationKey: installation,
		}
	}
	chartLabels := map[string]string{"app.kubernetes.io/name": "outpost"}
	secret := func(name string, annotations map[string]string) *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "jhub", UID: "secret", Annotations: annotations},
		}
	}
	service := func(name string, annotations map[string]string) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "jhub", UID: "service", Annotations: annotations},
		}
	}
	ended := func(pod *corev1.Pod) *corev1.Pod { pod.Status.Phase = corev1.PodSucceeded; return pod }
	ownClaim := claimOf("claim-user", nil)
	ownClaim.Labels = chartLabels
	removed := claimOf("claim-user", claim("user", ownInstallation, "hub-b"))
	removed.DeletionTimestamp, removed.Finalizers = new(metav1.Now()), []string{"kubernetes.io/pvc-protection"}
	for _, c := range []struct {
		name    string
		there   runtime.Object
		alone   bool // this hub is the only one
		options map[string]any
		misc    map[string]string
		want    string
	}{
		{
			name: "a Secret of the outpost", there: secret("outpost-users", nil),
			misc: map[string]string{"pod_name_template": `"outpost-users"`}, want: "A Secret of this server's name",
		},
		{
			name: "a Secret of the outpost, one hub", there: secret("outpost-users", nil), alone: true,
			misc: map[string]string{"pod_name_template": `"outpost-users"`}, want: "A Secret of this server's name",
		},
		{
			name: "a Secret of another hub", there: secret("jupyter-user", of("user", ownInstallation, "hub-a")),
			want: "A Secret of this server's name",
		},
		{
			name: "a Secret of another user", there: secret("jupyter-user", of("else", ownInstallation, "hub-b")),
			want: "A Secret of this server's name",
		},
		{
			name: "a Secret of another outpost", there: secret("jupyter-user", of("user", "ff", "hub-b")),
			want: "A Secret of this server's name",
		},
		{
			name: "a Secret that names no hub", want: "A Secret of this server's name",
			there: secret("jupyter-user", map[string]string{kubespawner.UsernameKey: "user"}),
		},
		{
			name: "a home of another hub", there: claimOf("claim-user", claim("user", ownInstallation, "hub-a")),
			options: home, want: "The home claim-user belongs to another hub; change pvc_name_template.",
		},
		{
			name: "a home of another user", there: claimOf("claim-user", claim("else", ownInstallation, "hub-b")),
			options: home, want: "The home claim-user belongs to another user; change pvc_name_template.",
		},
		{
			name: "a home of another outpost", there: claimOf("claim-user", claim("user", "ff", "hub-b")),
			options: home, want: "The home claim-user belongs to another outpost; change pvc_name_template.",
		},
		{
			name: "a home that is being removed", there: removed, options: home,
			want: "The home claim-user is being removed; start again when it is gone.",
		},
		{
			name: "a home that names no hub, several hubs", options: home,
			there: claimOf("claim-user", map[string]string{kubespawner.UsernameKey: "user"}),
			want:  "The home claim-user belongs to a hub that it does not name; change pvc_name_template.",
		},
		{
			name: "the outpost's own volume", there: ownClaim, options: home, alone: true,
			want: "The home claim-user belongs to the outpost itself; change pvc_name_template.",
		},
		{
			name: "names of the client's scheme that meet", alone: true,
			there: claimOf("claim-user", claim("USER", ownInstallation, "hub-b")),
			options: map[string]any{
				"storage_pvc_ensure": true, "storage_capacity": "1Gi", "slug_scheme": "client",
			},
			want: "The home claim-user belongs to another user; change pvc_name_template.",
		},
		{
			name:  "a running pod of another hub",
			there: podOf("jupyter-user", "pod", of("user", ownInstallation, "hub-a")),
			want:  "The pod jupyter-user belongs to another hub; change pod_name_template.",
		},
		{
			name:  "an ended pod of another hub",
			there: ended(podOf("jupyter-user", "pod", of("user", ownInstallation, "hub-a"))),
			want:  "The pod jupyter-user belongs to another hub; change pod_name_template.",
		},
		{
			name:  "a pod of the Python outpost, several hubs",
			there: podOf("jupyter-user", "pod", map[string]string{kubespawner.UsernameKey: "user"}),
			want:  "The pod jupyter-user belongs to a hub that it does not name; change pod_name_template.",
		},
		{
			name: "a Service of another hub", there: service("jupyter-user", of("user", ownInstallation, "hub-a")),
			want: "A Service of this server's name",
		},
		{
			name: "a Service that names no hub", want: "A Service of this server's name",
			there: service("jupyter-user", map[string]string{kubespawner.UsernameKey: "user"}),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := newCluster()
			cl.add(c.there)
			s := cl.run(t, Options{})
			p := planFor(t, s, !c.alone, c.options, c.misc)
			_, err := s.Start(t.Context(), p, nil)
			if outpost.KindOf(err) != outpost.KindFailed || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			calls := cl.taken()
			_, mounted := c.there.(*corev1.Service)
			if !mounted && cl.left(t) != "" && slices.ContainsFunc(calls, func(call string) bool {
				return strings.HasPrefix(call, "create pods/") && !strings.Contains(c.want, "pod")
			}) {
				t.Errorf("a pod was created: %q", calls)
			}
			if slices.ContainsFunc(calls, func(call string) bool { return strings.HasPrefix(call, "delete ") }) {
				t.Errorf("something was deleted: %q", calls)
			}
		})
	}
}

// What was made for this very user is used again, also by an outpost from before objects named their installation, and
// by KubeSpawner where there is one hub that it can be of.
func TestAStartUsesWhatIsItsUsers(t *testing.T) {
	home := map[string]any{"storage_pvc_ensure": true, "storage_capacity": "1Gi"}
	labelled := podOf("jupyter-user", "pod",
		annotated("user", ownInstallation, outpost.Key{Hub: "hub-b", StartID: "earlier"}))
	labelled.Labels = map[string]string{"app.kubernetes.io/name": "outpost"}
	for _, c := range []struct {
		name    string
		there   runtime.Object
		several bool
		options map[string]any
	}{
		{
			"a home of KubeSpawner", claimOf("claim-user", map[string]string{kubespawner.UsernameKey: "user"}),
			false, home,
		},
		{"a home made by hand", claimOf("claim-user", nil), false, home},
		{
			"a home from before", claimOf("claim-user", map[string]string{
				kubespawner.UsernameKey: "user", kubespawner.HubKey: "hub-b",
			}), true, home,
		},
		{
			"a claim that is meant for all users", claimOf("shared", map[string]string{
				kubespawner.UsernameKey: "else", kubespawner.HubKey: "hub-b",
			}), true, map[string]any{
				"storage_pvc_ensure": true, "storage_capacity": "1Gi", "pvc_name_template": "shared",
			},
		},
		{"a pod of an earlier start to which the hub gave the outpost's label", labelled, true, nil},
		{
			"a Secret of an earlier start", &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
				Name: "jupyter-user", Namespace: "jhub", UID: "secret",
				Annotations: annotated("user", ownInstallation, outpost.Key{Hub: "hub-b", StartID: "earlier"}),
			}}, true, nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := newCluster()
			cl.add(c.there)
			s := cl.run(t, Options{})
			if _, err := s.Start(t.Context(), planFor(t, s, c.several, c.options, nil), nil); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// The Secret is there before the pod that mounts it, goes with it, and does not need a right that earlier releases of
// the chart did not give.
func TestTheSecretIsThereBeforeThePod(t *testing.T) {
	for _, c := range []struct {
		name   string
		refuse error
		owners int
	}{{"permitted to patch", nil, 1}, {"not permitted to patch", errForbidden, 0}} {
		t.Run(c.name, func(t *testing.T) {
			cl := newCluster()
			if c.refuse != nil {
				cl.errors["patch secrets"] = []error{c.refuse}
			}
			s := cl.run(t, Options{})
			if _, err := s.Start(t.Context(), planWithCerts(t, s), nil); err != nil {
				t.Fatal(err)
			}
			calls := writes(cl.taken())
			if slices.Index(calls, "create secrets/jupyter-user") > slices.Index(calls, "create pods/jupyter-user") {
				t.Errorf("requests %q", calls)
			}
			secret, err := cl.CoreV1().Secrets("jhub").Get(t.Context(), "jupyter-user", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			owners := secret.OwnerReferences
			if len(owners) != c.owners || c.owners == 1 && owners[0].Name != "jupyter-user" {
				t.Errorf("owners %+v", owners)
			}
		})
	}
}

// The login that a user brings along is in a Secret of the pod alone, which is there before it and goes with it.
// Neither the state nor the log has it.
func TestLoginsToRegistriesAreInASecret(t *testing.T) {
	const planted = "plan7ed-password"
	var log strings.Builder
	cl := newCluster()
	s := cl.run(t, Options{Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	p, err := s.Plan(t.Context(), outpost.Hub{Name: "hub", AllowedOptions: []string{"image"}}, outpost.StartRequest{
		Key: aliceKey,
		Body: outpost.Body{
			Env:  map[string]string{"JUPYTERHUB_USER": "user"},
			Misc: map[string]json.RawMessage{"image": json.RawMessage(`"r.example.org/ann/lab"`)},
		},
		Login: &outpost.Login{Username: "ann", Password: planted},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Start(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
	calls := writes(cl.taken())
	if slices.Index(calls, "create secrets/jupyter-user-registry") > slices.Index(calls, "create pods/jupyter-user") {
		t.Errorf("requests %q", calls)
	}
	secret, err := cl.CoreV1().Secrets("jhub").Get(t.Context(), "jupyter-user-registry", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{"r.example.org":{` +
		`"auth":"YW5uOnBsYW43ZWQtcGFzc3dvcmQ=","password":"plan7ed-password","username":"ann"}}}`)}
	if diff := cmp.Diff(want, secret.Data); diff != "" || secret.Type != corev1.SecretTypeDockerConfigJson {
		t.Errorf("a Secret of type %s (-want +got):\n%s", secret.Type, diff)
	}
	if owners := secret.OwnerReferences; len(owners) != 1 || owners[0].Name != "jupyter-user" {
		t.Errorf("owners %+v", owners)
	}
	pod, err := cl.CoreV1().Pods("jhub").Get(t.Context(), "jupyter-user", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pulls := []corev1.LocalObjectReference{{Name: "jupyter-user-registry"}}
	if diff := cmp.Diff(pulls, pod.Spec.ImagePullSecrets); diff != "" {
		t.Errorf("Secrets to pull with (-want +got):\n%s", diff)
	}
	row, err := json.Marshal(p.State)
	if err != nil {
		t.Fatal(err)
	}
	podText, err := json.Marshal(pod)
	if text := log.String() + string(row) + string(podText); err != nil || strings.Contains(text, planted) {
		t.Errorf("%v: the password is in %s", err, text)
	}
	if err := s.Stop(t.Context(), aliceKey, p.State); err != nil {
		t.Fatal(err)
	}
	if left := cl.left(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// A user's namespace is that of a user of one hub: of the same name at another hub is another user.
func TestNamespacesOfUsersBelongToOneHub(t *testing.T) {
	namespace := func(annotations map[string]string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "jhub-user", Annotations: annotations}}
	}
	of := func(hub, installation string) map[string]string {
		return map[string]string{kubespawner.HubKey: hub, kubespawner.InstallationKey: installation}
	}
	for _, c := range []struct {
		name    string
		there   *corev1.Namespace
		alone   bool
		refused bool // to read it
		want    string
	}{
		{name: "none"},
		{name: "of another hub", there: namespace(of("hub-a", ownInstallation)), want: "another hub"},
		{name: "of another outpost", there: namespace(of("hub-b", "ff")), want: "another outpost"},
		{name: "of this hub", there: namespace(of("hub-b", ownInstallation))},
		{name: "from before", there: namespace(nil)},
		{name: "that nobody may read", there: namespace(of("hub-a", ownInstallation)), refused: true},
		{name: "that nobody asks about", there: namespace(of("hub-a", ownInstallation)), alone: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := newCluster()
			if c.there != nil {
				cl.add(c.there)
			}
			if c.refused {
				cl.errors["get namespaces"] = []error{errForbidden}
			}
			s := cl.run(t, Options{Spawner: map[string]any{"enable_user_namespaces": true}})
			_, err := s.Start(t.Context(), planFor(t, s, !c.alone, nil, nil), nil)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				made, err := cl.CoreV1().Namespaces().Get(t.Context(), "jhub-user", metav1.GetOptions{})
				if err != nil || c.there == nil && kubespawner.OwnerOf(made).Hub != "hub-b" {
					t.Errorf("namespace %v, %v", made, err)
				}
				return
			}
			want := "The namespace jhub-user belongs to " + c.want + "; change user_namespace_template."
			if err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
			if made := writes(cl.taken()); len(made) != 1 {
				t.Errorf("made %q", made)
			}
		})
	}
}
