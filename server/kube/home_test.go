package kube

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

const (
	newHome = "claim-user-example-com---b4c9a289" // as KubeSpawner 7 names it
	oldHome = "claim-user-40example-2ecom"        // as KubeSpawner 6 did
)

// withHome are the options of a server with a home.
var withHome = map[string]any{
	"storage_pvc_ensure": true, "storage_capacity": "1Gi",
	"volumes": []any{
		map[string]any{"name": "home", "persistentVolumeClaim": map[string]any{"claimName": "{pvc_name}"}},
	},
}

// The homes that KubeSpawner has made by any of its schemes are found before a new one is made, if they are the user's.
func TestHomesOfEarlierKubeSpawners(t *testing.T) {
	mine := map[string]string{kubespawner.UsernameKey: "user@example.com"}
	look := []string{"get persistentvolumeclaims/" + newHome, "get persistentvolumeclaims/" + oldHome}
	const createPod = "create pods/jupyter-user-example-com---b4c9a289"
	fresh := append(slices.Clone(look), "create persistentvolumeclaims/"+newHome, createPod)
	use := func(name string) []string {
		return []string{
			"create persistentvolumeclaims/" + name, "get persistentvolumeclaims/" + name, createPod,
		}
	}
	for _, c := range []struct {
		name   string
		hub    outpost.Hub
		there  []*corev1.PersistentVolumeClaim
		err    error // of each look
		mounts string
		calls  []string
	}{
		{name: "none", mounts: newHome, calls: fresh},
		{
			name: "the old one", there: []*corev1.PersistentVolumeClaim{claimOf(oldHome, mine)}, mounts: oldHome,
			calls: append(slices.Clone(look), use(oldHome)...),
		},
		{
			name: "both", there: []*corev1.PersistentVolumeClaim{claimOf(oldHome, mine), claimOf(newHome, mine)},
			mounts: newHome, calls: append(slices.Clone(look[:1]), use(newHome)...),
		},
		{
			name: "one of the user of that name", mounts: newHome, calls: fresh,
			there: []*corev1.PersistentVolumeClaim{
				claimOf(oldHome, map[string]string{kubespawner.UsernameKey: "user-40example-2ecom"}),
			},
		},
		{
			name: "one that says nothing", mounts: newHome, calls: fresh,
			there: []*corev1.PersistentVolumeClaim{claimOf(oldHome, nil)},
		},
		{
			name: "one of another hub, perhaps", hub: outpost.Hub{Several: true}, mounts: newHome, calls: fresh,
			there: []*corev1.PersistentVolumeClaim{claimOf(oldHome, mine)},
		},
		{
			name: "none that the outpost may read", err: errForbidden, mounts: newHome, calls: fresh,
			there: []*corev1.PersistentVolumeClaim{claimOf(oldHome, mine)},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := newCluster()
			for _, claim := range c.there {
				cl.add(claim)
			}
			if c.err != nil {
				cl.errors["get persistentvolumeclaims"] = []error{c.err, c.err}
			}
			s := cl.run(t, Options{Spawner: withHome})
			c.hub.Name = "hub"
			p := planHome(t, s, c.hub)
			started, err := s.Start(t.Context(), p, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.calls, cl.taken()); diff != "" {
				t.Errorf("requests (-want +got)\n%s", diff)
			}
			pod := cl.podOf(t, started)
			for name, got := range map[string]any{
				"pod": pod.Spec.Volumes[0].PersistentVolumeClaim.ClaimName, "state": started.State["pvc_name"],
				"state of the pod": kubespawner.StateOf(pod)["pvc_name"],
			} {
				if got != c.mounts {
					t.Errorf("%s has home %v, want %s", name, got, c.mounts)
				}
			}
		})
	}
}

// A home that cannot be looked for is not replaced by an empty one.
func TestNoNewHomeWhileKubernetesIsAway(t *testing.T) {
	cl := newCluster(claimOf(oldHome, map[string]string{kubespawner.UsernameKey: "user@example.com"}))
	for range 1000 {
		cl.errors["get persistentvolumeclaims"] = append(cl.errors["get persistentvolumeclaims"], errServer)
	}
	s := cl.run(t, Options{Spawner: withHome})
	p := planHome(t, s, outpost.Hub{Name: "hub", Options: map[string]any{"k8s_api_request_retry_timeout": 1}})
	_, err := s.Start(t.Context(), p, nil)
	var e *outpost.Error
	if !errors.As(err, &e) || e.Kind != outpost.KindUnavailable {
		t.Errorf("%v", err)
	}
	if made := writes(cl.taken()); len(made) > 0 {
		t.Errorf("made %s", strings.Join(made, ", "))
	}
}

// Homes belong to names: a user who gets another name at the hub begins with an empty home, whatever their number there
// and also beside a server that still runs. The former home stays as it is, for whoever has that name.
func TestHomeOfAUserWithAnotherName(t *testing.T) {
	cl := newCluster()
	s := cl.run(t, Options{Spawner: map[string]any{"homes": map[string]any{"size": "1Gi"}}})
	homeOf := func(user, id, server string) string {
		t.Helper()
		key := aliceKey
		key.Name = server
		env := map[string]string{"JUPYTERHUB_USER": user, "JUPYTERHUB_USER_ID": id}
		p, err := s.Plan(t.Context(), outpost.Hub{Name: "hub"}, outpost.StartRequest{
			Key: key, Body: outpost.Body{Env: env},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		started, err := s.Start(t.Context(), p, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, volume := range cl.podOf(t, started).Spec.Volumes {
			if volume.PersistentVolumeClaim != nil {
				return volume.PersistentVolumeClaim.ClaimName
			}
		}
		return ""
	}
	got := []string{homeOf("ann", "7", "one"), homeOf("anne", "7", "two"), homeOf("ann", "8", "three")}
	want := []string{"claim-hub--ann", "claim-hub--anne", "claim-hub--ann"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("homes (-want +got):\n%s", diff)
	}
	claims, err := cl.CoreV1().PersistentVolumeClaims("jhub").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owners := map[string]string{}
	for _, claim := range claims.Items {
		owners[claim.Name] = claim.Annotations[kubespawner.UsernameKey]
	}
	if diff := cmp.Diff(map[string]string{"claim-hub--ann": "ann", "claim-hub--anne": "anne"}, owners); diff != "" {
		t.Errorf("whose they are (-want +got):\n%s", diff)
	}
}

// podOf is the pod of a server that was started.
func (c *cluster) podOf(t *testing.T, started outpost.Started) *corev1.Pod {
	t.Helper()
	name, _ := started.State["pod_name"].(string)
	pod, err := c.CoreV1().Pods("jhub").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// planHome plans a start of the user "user@example.com".
func planHome(t *testing.T, s *Spawner, hub outpost.Hub) outpost.Plan {
	t.Helper()
	p, err := s.Plan(t.Context(), hub, outpost.StartRequest{
		Key: aliceKey, Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "user@example.com"}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
