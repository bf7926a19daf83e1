package kubespawner

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/server/outpost"
)

// planHome plans a start with a home that the pod mounts in two ways.
func planHome(t *testing.T, hub outpost.Hub, user, server string, values map[string]any) *Objects {
	t.Helper()
	all := map[string]any{
		"storage_pvc_ensure": true, "storage_capacity": "1Gi",
		"environment": map[string]any{"HOME_CLAIM": "{pvc_name}"},
		"volumes": []any{
			map[string]any{"name": "home", "persistentVolumeClaim": map[string]any{"claimName": "{pvc_name}"}},
			map[string]any{
				"name": "again", "persistentVolumeClaim": map[string]any{"claimName": "claim-{user_server}"},
			},
			map[string]any{"name": "other", "persistentVolumeClaim": map[string]any{"claimName": "shared"}},
		},
		"volume_mounts": []any{map[string]any{"name": "home", "mountPath": "/home/jovyan"}},
	}
	for name, value := range values {
		all[name] = value
	}
	b, err := NewBuilder("jhub", nil, all, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	o, err := b.Build("00", hub, outpost.StartRequest{
		Key: outpost.Key{Hub: hub.Name, Name: server, StartID: "s1"}, StartDate: time.Unix(1, 0).UTC(),
		Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": user, "JUPYTERHUB_USER_ID": "7"}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// The names are those that escape_slug and safe_slug of KubeSpawner 7.1 and KubeSpawner 6.2 yield.
func TestEarlierHomes(t *testing.T) {
	pvc := func(template string) map[string]any { return map[string]any{"pvc_name_template": template} }
	scheme := func(name string) map[string]any { return map[string]any{"slug_scheme": name} }
	const hashed = "claim-user-example-com---b4c9a289"
	//nolint:lll // a case a line
	for _, c := range []struct {
		name, user, server string
		values             map[string]any
		home               string
		want               []string
	}{
		{"a plain name", "alice", "", nil, "claim-alice", nil},
		{"a mail address", "user@example.com", "", nil, hashed, []string{"claim-user-40example-2ecom"}},
		{"a mail address, by KubeSpawner 6", "user@example.com", "", scheme("escape"), "claim-user-40example-2ecom", []string{hashed}},
		{"a mail address, as the client names it", "user@example.com", "", scheme("client"), "claim-user-40example-2ecom", []string{hashed}},
		{"a hyphen", "a-b", "", nil, "claim-a-b", []string{"claim-a-2db"}},
		{"a named server", "alice", "lab", nil, "claim-alice--lab", []string{"claim-alicelab", "claim-alice-lab"}},
		{"a named server of a mail address", "u@x", "lab", nil, "claim-u-x---4ab253d1--lab", []string{"claim-u-40x--lab", "claim-u-40xlab", "claim-u-40x-lab"}},
		{"a template of the operator's", "u@x", "lab", pvc("home-{username}"), "home-u-x---4ab253d1", []string{"home-u-40x"}},
		{"a template of one scheme", "u@x", "lab", pvc("home-{escaped_username}"), "home-u-40x", nil},
		{"a template with the user's number", "u@x", "", pvc("home-{userid}"), "home-7", nil},
		{"a claim of all users", "u@x", "lab", pvc("home-{servername}"), "home-lab", nil},
		{"no claim", "u@x", "", map[string]any{"storage_pvc_ensure": false}, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := planHome(t, outpost.Hub{Name: "hub"}, c.user, c.server, c.values)
			got := ""
			if o.Claim != nil {
				got = o.Claim.Name
			}
			if got != c.home {
				t.Errorf("home %q, want %q", got, c.home)
			}
			if diff := cmp.Diff(c.want, o.EarlierHomes()); diff != "" {
				t.Errorf("earlier homes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestIsHome(t *testing.T) {
	deleted := &metav1.Time{Time: time.Unix(1, 0)}
	//nolint:lll // a case a line
	for _, c := range []struct {
		name        string
		hub         outpost.Hub
		server      string
		annotations map[string]string
		labels      map[string]string
		deleted     *metav1.Time
		want        bool
	}{
		{name: "of KubeSpawner", annotations: map[string]string{UsernameKey: "u@x"}, want: true},
		{name: "of this outpost", annotations: map[string]string{UsernameKey: "u@x", HubKey: "hub", InstallationKey: "00"}, want: true},
		{name: "that says nothing", annotations: nil},
		{name: "of the user of that name", annotations: map[string]string{UsernameKey: "u-40x"}},
		{name: "of another hub", annotations: map[string]string{UsernameKey: "u@x", HubKey: "other"}},
		{name: "of another outpost", annotations: map[string]string{UsernameKey: "u@x", HubKey: "hub", InstallationKey: "ff"}},
		{name: "that names no hub, several hubs", hub: outpost.Hub{Several: true}, annotations: map[string]string{UsernameKey: "u@x"}},
		{name: "that names its hub, several hubs", hub: outpost.Hub{Several: true}, annotations: map[string]string{UsernameKey: "u@x", HubKey: "hub"}, want: true},
		{name: "of the outpost itself", annotations: map[string]string{UsernameKey: "u@x"}, labels: map[string]string{"app.kubernetes.io/name": "outpost"}},
		{name: "that is being deleted", annotations: map[string]string{UsernameKey: "u@x"}, deleted: deleted},
		{name: "of this server", server: "lab", annotations: map[string]string{UsernameKey: "u@x", ServernameKey: "lab"}, want: true},
		{name: "of another server", server: "lab", annotations: map[string]string{UsernameKey: "u@x", ServernameKey: "other"}},
		{name: "of the default server", server: "lab", annotations: map[string]string{UsernameKey: "u@x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.hub.Name = "hub"
			o := planHome(t, c.hub, "u@x", c.server, nil)
			claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
				Annotations: c.annotations, Labels: c.labels, DeletionTimestamp: c.deleted,
			}}
			if got := o.IsHome(claim); got != c.want {
				t.Errorf("%t, want %t", got, c.want)
			}
		})
	}
	t.Run("of any server of a user", func(t *testing.T) {
		o := planHome(t, outpost.Hub{Name: "hub"}, "u@x", "lab", map[string]any{"pvc_name_template": "home-{username}"})
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
			Annotations: map[string]string{UsernameKey: "u@x", ServernameKey: "other"},
		}}
		if !o.IsHome(claim) {
			t.Error("it is not taken for the user's home")
		}
	})
}

// With the home of an earlier name everything else stays as it is.
func TestWithHome(t *testing.T) {
	o := planHome(t, outpost.Hub{Name: "hub"}, "user@example.com", "", nil)
	const name = "claim-user-40example-2ecom"
	got, err := o.WithHome(name)
	if err != nil {
		t.Fatal(err)
	}
	want := planHome(t, outpost.Hub{Name: "hub"}, "user@example.com", "", nil)
	want.Claim.Name = name
	for i, volume := range want.Pod.Spec.Volumes {
		if volume.Name != "other" {
			want.Pod.Spec.Volumes[i].PersistentVolumeClaim.ClaimName = name
		}
	}
	env := want.Pod.Spec.Containers[0].Env
	for i := range env {
		if env[i].Name == "HOME_CLAIM" {
			env[i].Value = name
		}
	}
	want.Pod.Annotations[StateKey] = got.Pod.Annotations[StateKey]
	for _, objects := range [][2]any{{want.Pod, got.Pod}, {want.Claim, got.Claim}, {want.Service, got.Service}} {
		if diff := cmp.Diff(objects[0], objects[1]); diff != "" {
			t.Errorf("objects (-want +got):\n%s", diff)
		}
	}
	if got.State()[statePVC] != name || StateOf(got.Pod)[statePVC] != name {
		t.Errorf("states %v, %v", got.State(), StateOf(got.Pod))
	}
	if got.SharedClaim || len(got.EarlierHomes()) > 0 {
		t.Errorf("shared %t, earlier homes %q", got.SharedClaim, got.EarlierHomes())
	}
}

// A template that trims or cuts names means a claim of each user, not one of all.
func TestAClaimOfEveryUserHasNothingOfANameInIt(t *testing.T) {
	for _, c := range []struct {
		template, user string
		shared         bool
	}{
		{"claim-{legacy_escape_username}", "alice", false},
		{"claim-{username:.3}", "alice", false},
		{"claim-{username:.1}", "queen", false},
		{"claim-{userid}", "alice", false},
		{"claim-{hub}", "alice", true},
		{"claim-{servername}", "alice", true},
	} {
		o := planHome(t, outpost.Hub{Name: "hub"}, c.user, "lab", map[string]any{
			"pvc_name_template": c.template, "slug_scheme": "client",
		})
		if o.SharedClaim != c.shared {
			t.Errorf("%s of %s is of all users: %t", c.template, c.user, o.SharedClaim)
		}
	}
}

// Homes hold the hub in their names, take over those of KubeSpawner, and lead servers that share one to one node.
func TestHomes(t *testing.T) {
	beside := func(user, hub string) []corev1.PodAffinityTerm {
		return []corev1.PodAffinityTerm{{
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{UsernameKey: user, HubKey: hub}},
			TopologyKey:   "kubernetes.io/hostname",
		}}
	}
	const hashed = "u-x---4ab253d1"
	//nolint:lll // a case a line
	for _, c := range []struct {
		name, hub, user, server string
		homes                   map[string]any
		claim                   string
		earlier                 []string
		affinity                []corev1.PodAffinityTerm
	}{
		{"of a user", "hub", "alice", "", map[string]any{}, "claim-hub--alice", []string{"claim-hub-alice", "claim-alice"}, beside("alice", "hub")},
		{"of a user's named server", "hub", "alice", "lab", map[string]any{}, "claim-hub--alice", []string{"claim-hub-alice", "claim-alice"}, beside("alice", "hub")},
		{"of the same name at another hub", "b", "alice", "", map[string]any{}, "claim-b--alice", []string{"claim-b-alice", "claim-alice"}, beside("alice", "b")},
		{"of a mail address", "hub", "u@x", "lab", map[string]any{}, "claim-hub--" + hashed, []string{"claim-hub--u-40x", "claim-hub-" + hashed, "claim-hub-u-40x", "claim-" + hashed, "claim-u-40x"}, beside("u-x---4ab253d1", "hub")},
		{"with the user's hyphen", "a", "b-c", "", map[string]any{}, "claim-a--b-c", []string{"claim-a--b-2dc", "claim-a-b-c", "claim-a-b-2dc", "claim-b-c", "claim-b-2dc"}, beside("b-c", "a")},
		{"with the hub's hyphen", "a-b", "c", "", map[string]any{}, "claim-a-b--c", []string{"claim-a-b-c", "claim-c"}, beside("c", "a-b")},
		{"of a server", "hub", "alice", "lab", map[string]any{"per": "server"}, "claim-hub--alice--lab", []string{"claim-hub-alice--lab", "claim-alice--lab", "claim-alicelab", "claim-alice-lab"}, nil},
		{"on several nodes", "hub", "alice", "lab", map[string]any{"accessMode": "ReadWriteMany"}, "claim-hub--alice", []string{"claim-hub-alice", "claim-alice"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := testBuilder(t, "jhub", map[string]any{"homes": c.homes}).Build("00", outpost.Hub{Name: c.hub},
				outpost.StartRequest{
					Key:  outpost.Key{Hub: c.hub, Name: c.server, StartID: "s1"},
					Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": c.user, "JUPYTERHUB_USER_ID": "7"}},
				}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if o.Claim.Name != c.claim || o.Claim.Annotations[HubKey] != c.hub || o.Claim.Annotations[UsernameKey] != c.user {
				t.Errorf("claim %s with %v", o.Claim.Name, o.Claim.Annotations)
			}
			if diff := cmp.Diff(c.earlier, o.EarlierHomes()); diff != "" {
				t.Errorf("earlier homes (-want +got):\n%s", diff)
			}
			volumes, mounts := o.Pod.Spec.Volumes, o.Pod.Spec.Containers[0].VolumeMounts
			if len(volumes) != 1 || volumes[0].PersistentVolumeClaim == nil ||
				volumes[0].PersistentVolumeClaim.ClaimName != c.claim ||
				len(mounts) != 1 || mounts[0].MountPath != "/home/jovyan" {
				t.Errorf("volumes %+v, mounts %+v", volumes, mounts)
			}
			var got []corev1.PodAffinityTerm
			if a := o.Pod.Spec.Affinity; a != nil && a.PodAffinity != nil {
				got = a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
			}
			if diff := cmp.Diff(c.affinity, got); diff != "" {
				t.Errorf("affinity (-want +got):\n%s", diff)
			}
			for key, value := range map[string]string{UsernameKey: labelSlug(c.user), HubKey: labelSlug(c.hub)} {
				if o.Pod.Labels[key] != value {
					t.Errorf("label %s is %q", key, o.Pod.Labels[key])
				}
			}
		})
	}
}
