package kube

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/server/kube/diagnosis"
	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// A server whose home is in a zone without room says which that is, where the outpost may read volumes, and else how to
// find out.
func TestStorageInAnotherZone(t *testing.T) {
	const said = "0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity."
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"which may be read": {nil, " Its storage (claim home) is in zone eu-1b and can be used only there."},
		"which may not": {errForbidden, " Its storage (claim home) may be bound to some zones or nodes; " +
			"`kubectl describe pv pv-1` says to which."},
	} {
		t.Run(name, func(t *testing.T) {
			claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "jhub", Name: "home"}}
			claim.Spec.VolumeName = "pv-1"
			volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{
				Name: "pv-1", Labels: map[string]string{"topology.kubernetes.io/zone": "eu-1b"},
			}}
			cl := newCluster(node(func(n *corev1.Node) { n.Name = "n1" }), claim, volume)
			cl.errors["get persistentvolumes"] = []error{c.err}
			cl.status = func(pod *corev1.Pod) { pod.Status = unscheduled(said).Status }
			s := cl.run(t, Options{Grace: time.Nanosecond})
			p := planOf(t, s, aliceKey, nil)
			objects, _ := p.Objects.(*kubespawner.Objects)
			home := corev1.Volume{Name: "home"}
			home.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "home"}
			objects.Pod.Spec.Volumes = append(objects.Pod.Spec.Volumes, home)
			_, err := s.Start(t.Context(), p, nil)
			e, ok := errors.AsType[*outpost.Error](err)
			if want := diagnosis.NoRoom + ": " + said + c.want; !ok || e.Message != want ||
				e.Reason != diagnosis.ReasonUnschedulable {
				t.Errorf("got %v\nwant %s", err, want)
			}
			asked := 0
			for _, call := range cl.taken() {
				if call == "get persistentvolumes/pv-1" {
					asked++
				}
			}
			if asked != 1 {
				t.Errorf("asked %d times, want once", asked)
			}
		})
	}
}
