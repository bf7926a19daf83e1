package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// checkContainer notes ports, hooks, probes and rights of a container that Kubernetes would refuse.
func checkContainer(of containerOptions, c corev1.Container, p *options.Problems) {
	name := quoted(c.Name)
	ports := map[string]bool{}
	for _, port := range c.Ports {
		faults := validation.IsValidPortNum(int(port.ContainerPort))
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
	if hooks := c.Lifecycle; hooks != nil && !p.Noted(of.hooks) {
		for _, hook := range []struct {
			name string
			does *corev1.LifecycleHandler
		}{{"postStart", hooks.PostStart}, {"preStop", hooks.PreStop}} {
			if h := hook.does; h != nil {
				checkHandler(of.hooks, hook.name, c, p,
					h.Exec != nil, h.HTTPGet != nil, h.TCPSocket != nil, h.Sleep != nil)
			}
		}
	}
	for _, probe := range []struct {
		name string
		does *corev1.Probe
	}{{"livenessProbe", c.LivenessProbe}, {"readinessProbe", c.ReadinessProbe}, {"startupProbe", c.StartupProbe}} {
		if h := probe.does; h != nil {
			checkHandler(of.rest, probe.name, c, p,
				h.Exec != nil, h.HTTPGet != nil, h.TCPSocket != nil, h.GRPC != nil)
		}
	}
	s := c.SecurityContext
	if s == nil {
		return
	}
	checkID(of.user, "runAsUser", s.RunAsUser, validation.IsValidUserID, p)
	checkID(of.group, "runAsGroup", s.RunAsGroup, validation.IsValidGroupID, p)
	if s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation && value(s.Privileged) {
		p.Addf(of.escalation, "must be true for container %q, which is privileged", name)
	}
}

// checkHandler notes a hook or probe that has no handler, or several; set has an entry for each kind of handler.
func checkHandler(option, what string, c corev1.Container, p *options.Problems, set ...bool) {
	n := 0
	for _, one := range set {
		if one {
			n++
		}
	}
	if n != 1 {
		p.Addf(option, "%s of container %q must have one handler, such as exec, and has %d", what, quoted(c.Name), n)
	}
}
