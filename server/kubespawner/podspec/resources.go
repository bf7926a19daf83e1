package podspec

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// checkResources notes resources of a container that Kubernetes would refuse: guarantees above their limits, and parts
// of devices.
func checkResources(of containerOptions, c corev1.Container, p *options.Problems) {
	limits, guarantees := c.Resources.Limits, c.Resources.Requests
	both := maps.Clone(guarantees)
	if both == nil {
		both = corev1.ResourceList{}
	}
	maps.Copy(both, limits)
	for _, name := range slices.Sorted(maps.Keys(both)) {
		option := of.otherResources
		switch name {
		case corev1.ResourceCPU:
			option = of.cpu
		case corev1.ResourceMemory:
			option = of.memory
		}
		limit, limited := limits[name]
		guarantee := guarantees[name]
		switch device := strings.Contains(string(name), "/"); {
		case device && !(isWhole(limit) && isWhole(guarantee)):
			p.Addf(option, "%s of container %q must be a whole number", quoted(string(name)), quoted(c.Name))
		case limited && guarantee.Cmp(limit) > 0:
			p.Addf(option, "limits %s of container %q to %s, less than the %s that are guaranteed",
				quoted(string(name)), quoted(c.Name), limit.String(), guarantee.String())
		}
	}
}

// isWhole reports whether a quantity is a whole number.
func isWhole(q resource.Quantity) bool { return q.MilliValue()%1000 == 0 }
