package diagnosis

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// in is a requirement of a volume's node affinity.
func in(key string, values ...string) corev1.NodeSelectorRequirement {
	return corev1.NodeSelectorRequirement{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}
}

// bound is a volume that can be used where one of these requirements holds.
func bound(requirements ...corev1.NodeSelectorRequirement) *corev1.PersistentVolume {
	volume, required := &corev1.PersistentVolume{}, &corev1.NodeSelector{}
	for _, r := range requirements {
		term := corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{r}}
		required.NodeSelectorTerms = append(required.NodeSelectorTerms, term)
	}
	volume.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: required}
	return volume
}

func TestPlaceOf(t *testing.T) {
	labelled := func(zone string) *corev1.PersistentVolume {
		volume := &corev1.PersistentVolume{}
		volume.Labels = map[string]string{"topology.kubernetes.io/zone": zone}
		return volume
	}
	onNode := bound()
	onNode.Spec.NodeAffinity.Required.NodeSelectorTerms = []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{
			in("topology.kubernetes.io/zone", "eu-1b"), in("kubernetes.io/hostname", "n1"),
		},
	}}
	exists := in("topology.kubernetes.io/zone")
	exists.Operator = corev1.NodeSelectorOpExists
	for _, c := range []struct {
		name   string
		volume *corev1.PersistentVolume
		want   string
	}{
		{"one that cannot be read", nil, ""},
		{"one that can be used everywhere", &corev1.PersistentVolume{}, ""},
		{"a zone", bound(in("topology.kubernetes.io/zone", "eu-1b")), "in zone eu-1b"},
		{"a zone of old", bound(in("failure-domain.beta.kubernetes.io/zone", "eu-1b")), "in zone eu-1b"},
		{"a zone of a driver", bound(in("topology.ebs.csi.aws.com/zone", "eu-central-1a")), "in zone eu-central-1a"},
		{
			"Azure, which lists nodes without a zone too",
			bound(in("topology.disk.csi.azure.com/zone", "westeurope-1"), in("topology.disk.csi.azure.com/zone", "")),
			"in zone westeurope-1",
		},
		{
			"several zones", bound(in("topology.gke.io/zone", "eu-1c", "eu-1b"), in("topology.gke.io/zone", "eu-1b")),
			"in zones eu-1b, eu-1c",
		},
		{"a zone in a label", labelled("eu-1b"), "in zone eu-1b"},
		{"several zones in a label", labelled("eu-1b__eu-1c"), "in zones eu-1b, eu-1c"},
		{"a disk of a node", bound(in("kubernetes.io/hostname", "n1")), "on node n1"},
		{"a disk of a node, by a driver", bound(in("topology.topolvm.io/node", "n1")), "on node n1"},
		{"a node of a zone", onNode, "on node n1"},
		{"any zone", bound(exists), ""},
		{"something else", bound(in("topology.kubernetes.io/region", "eu")), ""},
	} {
		claim := &corev1.PersistentVolumeClaim{}
		claim.Name, claim.Spec.VolumeName = "home", "pv-1"
		if diff := cmp.Diff(Place{"home", "pv-1", c.want}, PlaceOf(claim, c.volume)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// A pod whose storage is in another zone than the nodes with room fails with where that is. Nobody is asked for it
// before the scheduler speaks of storage.
func TestStorageInAnotherZone(t *testing.T) {
	zone, unknown := Place{"home", "pv-1", "in zone eu-1b"}, Place{"data", "pv-2", ""}
	const (
		now = "0/3 nodes are available: 1 Insufficient memory, " +
			"2 node(s) didn't match PersistentVolume's node affinity."
		before = "0/3 nodes are available: 3 node(s) had volume node affinity conflict."
		label  = "0/3 nodes are available: 3 node(s) had no available volume zone."
		zoned  = " Its storage (claim home) is in zone eu-1b and can be used only there."
		asks   = " Its storage (claim data) may be bound to some zones or nodes; " +
			"`kubectl describe pv pv-2` says to which."
	)
	const cordoned = "0/2 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity, " +
		"1 node(s) were unschedulable."
	for _, c := range []struct {
		name, message string
		places        []Place
		asked         bool
		want          string
	}{
		{"Kubernetes 1.34", now, []Place{zone}, true, now + zoned},
		{"before it", before, []Place{zone}, true, before + zoned},
		{"a zone in a label", label, []Place{zone}, true, label + zoned},
		{"nobody can say", before, []Place{unknown}, true, before + asks},
		{"several claims", before, []Place{zone, unknown}, true, before + zoned + asks},
		{"claims that nobody may read", before, nil, true, before},
		{
			"a node there is cordoned", cordoned,
			[]Place{zone},
			true,
			cordoned + " Nodes that are unschedulable have been cordoned; " +
				"`kubectl uncordon NODE` lets them take servers again." + zoned,
		},
		{
			"room alone", "0/3 nodes are available: 3 Insufficient memory.",
			[]Place{zone},
			false,
			"0/3 nodes are available: 3 Insufficient memory.",
		},
	} {
		asked := false
		d := NewStart(3, 15*time.Second, func(string) time.Duration { return 15 * time.Second }, nil)
		d.Places = func() []Place { asked = true; return c.places }
		began := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
		if v := d.Verdict(unscheduled(c.message, ""), began); v != nil {
			t.Errorf("%s: gave up early: %+v", c.name, *v)
		}
		got := d.Verdict(unscheduled(c.message, ""), began.Add(15*time.Second))
		want := &Verdict{ReasonUnschedulable, NoRoom + ": " + c.want}
		if diff := cmp.Diff(want, got); diff != "" || asked != c.asked {
			t.Errorf("%s: asked %t (-want +got):\n%s", c.name, asked, diff)
		}
	}
}
