package podspec

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// checkResources notes resources of a container that Kubernetes would refuse: names that it does not know, guarantees
// above their limits, and devices that are shared or guaranteed without a limit.
func checkResources(of containerOptions, c corev1.Container, p *options.Problems) {
	limits, guarantees := c.Resources.Limits, c.Resources.Requests
	both := maps.Clone(guarantees)
	if both == nil {
		both = corev1.ResourceList{}
	}
	maps.Copy(both, limits)
	_, cpu := both[corev1.ResourceCPU]
	_, memory := both[corev1.ResourceMemory]
	for _, name := range slices.Sorted(maps.Keys(both)) {
		option := of.limits
		switch _, limited := limits[name]; {
		case name == corev1.ResourceCPU:
			option = of.cpu
		case name == corev1.ResourceMemory:
			option = of.memory
		case !limited:
			option = of.guarantee
		}
		switch fault := faultOfName(string(name)); {
		case fault != "":
			p.Addf(option, "%q cannot be a resource of container %q: %s", quoted(string(name)), quoted(c.Name), fault)
		case isHugePages(string(name)) && !cpu && !memory:
			p.Addf(option, "%s of container %q needs an amount of cpu or memory, too", name, quoted(c.Name))
		default:
			checkAmounts(option, of.guarantee, string(name), c, p)
		}
	}
}

// checkClaims notes claims for devices that the pod does not have.
func checkClaims(of containerOptions, c corev1.Container, ofPod []corev1.PodResourceClaim, p *options.Problems) {
	for _, claim := range c.Resources.Claims {
		if !slices.ContainsFunc(ofPod, func(one corev1.PodResourceClaim) bool { return one.Name == claim.Name }) {
			p.Addf(of.rest, "container %q uses claim %q, which is not in resourceClaims of the pod",
				quoted(c.Name), quoted(claim.Name))
		}
	}
}

// checkAmounts notes what is wrong with limit and guarantee of one resource; guaranteed is the option of the latter.
func checkAmounts(option, guaranteed, name string, c corev1.Container, p *options.Problems) {
	limit, limited := c.Resources.Limits[corev1.ResourceName(name)]
	guarantee, has := c.Resources.Requests[corev1.ResourceName(name)]
	container := quoted(c.Name)
	switch {
	case limit.Sign() < 0 || guarantee.Sign() < 0:
		p.Addf(option, "%s of container %q must not be negative", name, container)
	case isDevice(name) && !(isWhole(limit) && isWhole(guarantee)):
		p.Addf(option, "%s of container %q must be a whole number", name, container)
	case isHugePages(name) && !(isPages(name, limit) && isPages(name, guarantee)):
		p.Addf(option, "%s of container %q must be a multiple of the size in its name", name, container)
	case limited && guarantee.Cmp(limit) > 0:
		p.Addf(option, "limits %s of container %q to %s, less than the %s that are guaranteed",
			name, container, limit.String(), guarantee.String())
	case isShared(name):
	case !limited:
		p.Addf(option, "guarantees %s of container %q without a limit; limit it to as much", name, container)
	case has && guarantee.Cmp(limit) != 0:
		p.Addf(guaranteed, "guarantees %s of %s to container %q, whose limit is %s; "+
			"they are not shared, so guarantee as many or leave the guarantee out",
			guarantee.String(), name, container, limit.String())
	}
}

// faultOfName says why a container cannot have a resource of this name; empty if it can.
func faultOfName(name string) string {
	if faults := validation.IsQualifiedName(name); len(faults) > 0 {
		return faults[0]
	}
	known := []string{"cpu", "memory", "ephemeral-storage"}
	switch {
	case isHugePages(name) && pageSize(name) == 0:
		return "needs the size of a page, such as hugepages-2Mi"
	case strings.HasPrefix(name, "requests."):
		return "is a word of quotas; leave requests. out"
	case !strings.Contains(name, "/") && !slices.Contains(known, name) && !isHugePages(name):
		return "must be one of " + strings.Join(known, ", ") + ", or have the domain of its device plugin, " +
			"such as nvidia.com/gpu"
	}
	return ""
}

func isHugePages(name string) bool { return strings.HasPrefix(name, corev1.ResourceHugePagesPrefix) }

// pageSize is the size in the name of huge pages, in bytes; 0 if there is none.
func pageSize(name string) int64 {
	size, err := resource.ParseQuantity(strings.TrimPrefix(name, corev1.ResourceHugePagesPrefix))
	if err != nil || size.Sign() <= 0 || !isWhole(size) {
		return 0
	}
	return size.Value()
}

// isPages reports whether an amount is a number of huge pages.
func isPages(name string, q resource.Quantity) bool { return q.Value()%pageSize(name) == 0 }

// isDevice reports whether a resource is counted: it has the domain of a device plugin.
func isDevice(name string) bool {
	return strings.Contains(name, "/") && !strings.Contains(name, corev1.ResourceDefaultNamespacePrefix)
}

// isShared reports whether more of a resource may be limited than is guaranteed.
func isShared(name string) bool { return !isDevice(name) && !isHugePages(name) }

// isWhole reports whether a quantity is a whole number.
func isWhole(q resource.Quantity) bool { return q.MilliValue()%1000 == 0 }
