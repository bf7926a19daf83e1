package diagnosis

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Place is where a volume that a pod mounts can be used.
type Place struct {
	Claim, Volume string // names
	Where         string // "in zone eu-1b", "on node n1"; empty if nobody can say
}

// boundTexts are what the scheduler says of nodes on which a volume of the pod cannot be used: Kubernetes 1.34, earlier
// ones, and of a volume that has its zone in a label.
var boundTexts = []string{
	"didn't match PersistentVolume's node affinity", "had volume node affinity conflict",
	"had no available volume zone",
}

// PlaceOf says where the volume of a claim is; nil is one that cannot be read. Drivers have keys of their own for zones
// and nodes, beside those of Kubernetes: topology.ebs.csi.aws.com/zone, topology.topolvm.io/node.
func PlaceOf(claim *corev1.PersistentVolumeClaim, volume *corev1.PersistentVolume) Place {
	p := Place{Claim: claim.Name, Volume: claim.Spec.VolumeName}
	if volume == nil {
		return p
	}
	var zones, nodes []string
	if affinity := volume.Spec.NodeAffinity; affinity != nil && affinity.Required != nil {
		for _, term := range affinity.Required.NodeSelectorTerms {
			for _, e := range term.MatchExpressions {
				switch {
				case e.Operator != corev1.NodeSelectorOpIn:
				case strings.HasSuffix(e.Key, "/zone"):
					zones = append(zones, e.Values...)
				case e.Key == corev1.LabelHostname || strings.HasSuffix(e.Key, "/node"):
					nodes = append(nodes, e.Values...)
				}
			}
		}
	}
	if len(zones) == 0 {
		zones = strings.Split(volume.Labels[corev1.LabelTopologyZone], "__") // of a volume that is in several
	}
	if p.Where = listed("on node", nodes); p.Where == "" {
		p.Where = listed("in zone", zones)
	}
	return p
}

// listed is "in zone a" or "in zones a, b", each once; empty without any.
func listed(what string, names []string) string {
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "" })
	slices.Sort(names)
	switch names = slices.Compact(names); len(names) {
	case 0:
		return ""
	case 1:
		return what + " " + names[0]
	}
	return what + "s " + strings.Join(names, ", ")
}

// sentence tells a user where storage is, and an operator how to find out where nobody could say.
func (p Place) sentence() string {
	if p.Where == "" {
		return fmt.Sprintf(" Its storage (claim %s) may be bound to some zones or nodes; "+
			"`kubectl describe pv %s` says to which.", p.Claim, p.Volume)
	}
	return fmt.Sprintf(" Its storage (claim %s) is %s and can be used only there.", p.Claim, p.Where)
}
