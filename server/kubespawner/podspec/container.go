package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// checkContainer notes ports and rights of a container that Kubernetes would refuse.
func checkContainer(of containerOptions, c corev1.Container, p *options.Problems) {
	name := quoted(c.Name)
	ports := map[string]bool{}
	for _, port := range c.Ports {
		faults := validation.IsValidPortNum(int(port.ContainerPort))
		if port.HostPort != 0 {
			faults = append(faults, validation.IsValidPortNum(int(port.HostPort))...)
		}
		if port.Name != "" {
			faults = append(faults, validation.IsValidPortName(port.Name)...)
		}
		if len(faults) > 0 {
			p.Addf(of.rest, "port %q of container %q: %s", quoted(port.Name), name, faults[0])
		}
		if ports[port.Name] {
			p.Addf(of.rest, "port %q of container %q is listed twice", quoted(port.Name), name)
		}
		ports[port.Name] = port.Name != ""
		checkWord(of.rest, port.Protocol, p, "", corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)
	}
	s := c.SecurityContext
	if s == nil {
		return
	}
	checkSeccomp(of.security, s.SeccompProfile, p)
	checkID(of.user, "runAsUser", s.RunAsUser, validation.IsValidUserID, p)
	checkID(of.group, "runAsGroup", s.RunAsGroup, validation.IsValidGroupID, p)
	if s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation && isPrivileged(c) {
		p.Addf(of.escalation, "must be true for container %q, which is privileged", name)
	}
}

// isPrivileged reports whether a container has all rights on its node.
func isPrivileged(c corev1.Container) bool {
	return c.SecurityContext != nil && value(c.SecurityContext.Privileged)
}
