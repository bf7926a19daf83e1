package kube

import (
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// mounting are options with a volume of this source.
func mounting(source map[string]any) map[string]any {
	volume := map[string]any{"name": "v"}
	maps.Copy(volume, source)
	return map[string]any{"volumes": []any{volume}}
}

func mountingClaim(name string) map[string]any {
	return mounting(map[string]any{"persistentVolumeClaim": map[string]any{"claimName": name}})
}

func mountingSecret(name string) map[string]any {
	return mounting(map[string]any{"secret": map[string]any{"secretName": name, "optional": true}})
}

// A template of the operator's makes a name of what a hub says. No such name leads a pod to what was made for another
// hub, user or outpost, nor, with several hubs, to what can be another hub's.
func TestNoTemplateLeadsToAnotherOwner(t *testing.T) {
	of := func(hub, user, installation string) map[string]string {
		return map[string]string{
			kubespawner.HubKey: hub, kubespawner.UsernameKey: user, kubespawner.InstallationKey: installation,
		}
	}
	meta := func(name string, annotations map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Namespace: "jhub", UID: "there", Annotations: annotations}
	}
	labelled := claimOf("home-user", nil)
	labelled.Labels = map[string]string{kubespawner.HubKey: "hub-a"}
	home := mountingClaim("home-{username}")
	const volumes = `[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]`
	const annotate = "belongs to a hub that it does not name; annotate it with outposts.dev/hub."
	//nolint:lll // a case a line
	for _, c := range []struct {
		name    string
		there   runtime.Object // nil for nothing
		alone   bool           // this hub is the only one
		options map[string]any
		misc    map[string]string
		refused string // request that is not permitted
		want    string // empty: it starts
	}{
		{name: "a home of another hub", there: claimOf("home-user", of("hub-a", "user", ownInstallation)), options: home, want: "The claim home-user belongs to another hub."},
		{name: "a home of another hub, by the outpost's own name for it", there: claimOf("claim-user", of("hub-a", "user", ownInstallation)), options: mountingClaim("{pvc_name}"), want: "The claim claim-user belongs to another hub."},
		{name: "a home of another hub, by a label", there: labelled, options: home, want: "The claim home-user belongs to another hub."},
		{name: "a home of another user", there: claimOf("home-user", of("hub-b", "else", ownInstallation)), alone: true, options: home, want: "The claim home-user belongs to another user."},
		{name: "a home of another outpost", there: claimOf("home-user", of("hub-b", "user", "ff")), alone: true, options: home, want: "The claim home-user belongs to another outpost."},
		{name: "a home of KubeSpawner, several hubs", there: claimOf("home-user", map[string]string{kubespawner.UsernameKey: "user"}), options: home, want: "The claim home-user " + annotate},
		{name: "a home of KubeSpawner", there: claimOf("home-user", map[string]string{kubespawner.UsernameKey: "user"}), alone: true, options: home},
		{name: "a home made by hand, several hubs", there: claimOf("home-user", nil), options: home, want: "The claim home-user " + annotate},
		{name: "a home made by hand", there: claimOf("home-user", nil), alone: true, options: home},
		{name: "a home made by hand and annotated", there: claimOf("home-user", map[string]string{kubespawner.HubKey: "hub-b"}), options: home},
		{name: "an own home", there: claimOf("home-user", of("hub-b", "user", ownInstallation)), options: home},
		{name: "a home that another hub may make meanwhile", options: home, want: "The claim home-user does not exist."},
		{name: "a home that is not there", alone: true, options: home},
		{name: "a home that nobody may look at, several hubs", there: claimOf("home-user", nil), options: home, refused: "get persistentvolumeclaims", want: "The claim home-user can be of another hub: the outpost is not permitted to read it; let its Role get persistentvolumeclaims."},
		{name: "a home that nobody may look at", there: claimOf("home-user", nil), alone: true, options: home, refused: "get persistentvolumeclaims"},
		{name: "a claim of the operator's", there: claimOf("data", nil), options: mountingClaim("data")},
		{name: "a claim of the operator's, as an older Role has it", there: claimOf("data", nil), options: mountingClaim("data"), refused: "get persistentvolumeclaims"},
		{name: "a claim that the hub sends", there: claimOf("data", nil), misc: map[string]string{"volumes": volumes}},
		{name: "a home that the hub sends", there: claimOf("data", of("hub-a", "user", ownInstallation)), misc: map[string]string{"volumes": volumes}, want: "The claim data belongs to another hub."},
		{name: "a home made by hand that the hub names", there: claimOf("data", nil), options: mountingClaim("{pod_name}"), misc: map[string]string{"pod_name_template": `"data"`}, want: "The claim data " + annotate},
		{name: "a home that the hub names", there: claimOf("home", of("hub-a", "user", ownInstallation)), options: mountingClaim("{pod_name}"), misc: map[string]string{"pod_name_template": `"home"`}, want: "The claim home belongs to another hub."},
		{name: "certificates of another hub", there: &corev1.Secret{ObjectMeta: meta("user", of("hub-a", "user", ownInstallation))}, options: mountingSecret("{username}"), want: "The Secret user belongs to another hub."},
		{name: "certificates that another hub may make meanwhile", options: mountingSecret("{username}"), want: "The Secret user does not exist."},
		{name: "a ConfigMap of another hub", there: &corev1.ConfigMap{ObjectMeta: meta("user", of("hub-a", "", ""))}, options: mounting(map[string]any{"configMap": map[string]any{"name": "{username}"}}), want: "The ConfigMap user belongs to another hub."},
		{name: "devices of another hub", there: &resourcev1.ResourceClaim{ObjectMeta: meta("gpu", of("hub-a", "", ""))}, misc: map[string]string{"extra_pod_config": `{"resourceClaims": [{"name": "gpu", "resourceClaimName": "gpu"}]}`}, want: "The claim for devices gpu belongs to another hub."},
		{name: "an account of another hub", there: &corev1.ServiceAccount{ObjectMeta: meta("user", of("hub-a", "", ""))}, options: map[string]any{"service_account": "{username}"}, want: "The service account user belongs to another hub."},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := newCluster()
			if c.there != nil {
				cl.add(c.there)
			}
			if c.refused != "" {
				cl.errors[c.refused] = []error{errForbidden}
			}
			s := cl.run(t, Options{Spawner: c.options})
			_, err := s.Start(t.Context(), planFor(t, s, !c.alone, nil, c.misc), nil)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if outpost.KindOf(err) != outpost.KindFailed || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			if slices.ContainsFunc(cl.taken(), func(call string) bool { return strings.HasPrefix(call, "create pods/") }) {
				t.Error("a pod was created")
			}
		})
	}
}
