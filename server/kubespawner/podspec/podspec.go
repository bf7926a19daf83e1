// Package podspec finds what Kubernetes would refuse of the pod of a server, by the options that it comes from: before
// anything is made for it. Names, labels and selectors are checked by Kubernetes' own code. That of whole pods is part
// of the API server (k8s.io/kubernetes), which is not a library: the rules here are those that options can break.
package podspec

import (
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// quoted is what a problem says of a name or value.
func quoted(text string) string { return excerpt.Of(text, excerpt.Name) }

// containerOptions are the options that parts of a container come from.
type containerOptions struct {
	mounts, image, pullPolicy      string
	cpu, memory, limits, guarantee string
	user, group, escalation        string
	security, env                  string
	hooks, rest                    string
}

var notebookOptions = containerOptions{
	mounts: "volume_mounts", image: "image", pullPolicy: "image_pull_policy",
	cpu: "cpu_limit", memory: "mem_limit", limits: "extra_resource_limits", guarantee: "extra_resource_guarantees",
	user: "uid", group: "gid", escalation: "allow_privilege_escalation",
	security: "container_security_context", env: "environment",
	hooks: "lifecycle_hooks", rest: "extra_container_config",
}

// optionsOf are the options of a container in a list, which has all of it.
func optionsOf(list string) containerOptions {
	return containerOptions{
		list, list, list, list, list, list, list, list, list, list, list, list, list, list,
	}
}

// Check notes what Kubernetes would refuse of a pod: names, volumes and their mounts, containers, resources, and where
// it may run. notebook is the container that has options of its own for these; of the others, the list that they are
// in is named.
func Check(spec *corev1.PodSpec, notebook string, p *options.Problems) {
	volumes, unread := map[string]bool{}, p.Noted(volumesOption)
	for _, v := range spec.Volumes {
		checkPart(volumesOption, "volume", v.Name, volumes, p)
		if !unread { // else what is missing may be what could not be read
			checkSource(v, p)
		}
	}
	grace := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if seconds := spec.TerminationGracePeriodSeconds; seconds != nil {
		grace = *seconds
	}
	names := map[string]bool{}
	for _, list := range []struct {
		option     string
		containers []corev1.Container
	}{{"extra_containers", spec.Containers}, {"init_containers", spec.InitContainers}} {
		unread := p.Noted(list.option) // as above
		for _, c := range list.containers {
			checkPart(list.option, "container", c.Name, names, p)
			of := optionsOf(list.option)
			if c.Name == notebook {
				of = notebookOptions
			}
			checkMounts(of.mounts, c, volumes, p)
			checkImage(of, c, p)
			checkResources(of, c, p)
			checkContainer(of, c, p)
			checkClaims(of, c, spec.ResourceClaims, p)
			if !unread {
				checkVariables(of, c, p)
				checkActions(of, c, list.option == "init_containers", grace, p)
			}
		}
	}
	checkSettings(spec, p)
	checkScheduling(spec, p)
}

// checkSettings notes names of what the pod refers to that cannot be names, and words that Kubernetes does not know.
func checkSettings(spec *corev1.PodSpec, p *options.Problems) {
	name := func(option, value string, check func(string) []string) {
		if faults := check(value); value != "" && len(faults) > 0 {
			p.Addf(option, "%q cannot be a name: %s", quoted(value), faults[0])
		}
	}
	const rest = "extra_pod_config"
	subdomain, label := validation.IsDNS1123Subdomain, validation.IsDNS1123Label
	name("service_account", spec.ServiceAccountName, subdomain)
	name("priority_class_name", spec.PriorityClassName, subdomain)
	name(rest, value(spec.RuntimeClassName), subdomain)
	name(rest, spec.NodeName, subdomain)
	name(rest, spec.Hostname, label)
	name(rest, spec.Subdomain, label)
	checkWord(rest, spec.RestartPolicy, p,
		"", corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)
	checkWord(rest, spec.DNSPolicy, p, "",
		corev1.DNSClusterFirst, corev1.DNSClusterFirstWithHostNet, corev1.DNSDefault, corev1.DNSNone)
	checkAddresses(rest, spec, p)
	if seconds := spec.ActiveDeadlineSeconds; seconds != nil && (*seconds < 1 || *seconds > math.MaxInt32) {
		p.Addf(rest, "activeDeadlineSeconds must be from 1 to %d", math.MaxInt32)
	}
	if s := spec.SecurityContext; s != nil {
		checkID("pod_security_context", "runAsUser", s.RunAsUser, validation.IsValidUserID, p)
		checkID("pod_security_context", "runAsGroup", s.RunAsGroup, validation.IsValidGroupID, p)
		checkID("fs_gid", "fsGroup", s.FSGroup, validation.IsValidGroupID, p)
		for _, group := range s.SupplementalGroups {
			checkID("supplemental_gids", "supplementalGroups", &group, validation.IsValidGroupID, p)
		}
		checkSeccomp("pod_security_context", s.SeccompProfile, p)
		if s.FSGroupChangePolicy != nil {
			checkWord("pod_security_context", *s.FSGroupChangePolicy, p,
				corev1.FSGroupChangeOnRootMismatch, corev1.FSGroupChangeAlways)
		}
	}
}

// checkAddresses notes texts that are not IP addresses or host names, and a pod without any server to resolve names.
func checkAddresses(option string, spec *corev1.PodSpec, p *options.Problems) {
	address := func(at, text string) {
		if len(validation.IsValidIPForLegacyField(nil, text, false, nil)) > 0 {
			p.Addf(option, "%s %q is not an IP address", at, quoted(text))
		}
	}
	var servers []string
	if spec.DNSConfig != nil {
		servers = spec.DNSConfig.Nameservers
	}
	if spec.DNSPolicy == corev1.DNSNone && len(servers) == 0 {
		p.Addf(option, "dnsPolicy None needs dnsConfig.nameservers")
	}
	if len(servers) > maxNameservers {
		p.Addf(option, "dnsConfig.nameservers has %d entries; at most %d are possible", len(servers), maxNameservers)
	}
	for _, server := range servers {
		address("dnsConfig.nameservers:", server)
	}
	for _, alias := range spec.HostAliases {
		address("hostAliases: ip", alias.IP)
		for _, host := range alias.Hostnames {
			if faults := validation.IsDNS1123Subdomain(host); len(faults) > 0 {
				p.Addf(option, "hostAliases: %q is not a host name: %s", quoted(host), faults[0])
			}
		}
	}
}

// maxNameservers is how many the resolver of a container reads.
const maxNameservers = 3

// checkSeccomp notes a filter of system calls that is not known, or whose file is missing or not of this type.
func checkSeccomp(option string, profile *corev1.SeccompProfile, p *options.Problems) {
	if profile == nil || p.Noted(option) { // what is missing may be what could not be read
		return
	}
	checkWord(option, profile.Type, p, corev1.SeccompProfileTypeLocalhost, corev1.SeccompProfileTypeRuntimeDefault,
		corev1.SeccompProfileTypeUnconfined)
	file, local := profile.LocalhostProfile, profile.Type == corev1.SeccompProfileTypeLocalhost
	switch {
	case local && file == nil:
		p.Addf(option, "seccompProfile of type Localhost needs localhostProfile")
	case !local && file != nil:
		p.Addf(option, "seccompProfile has a localhostProfile, which needs type Localhost")
	case local && leavesVolume(*file):
		p.Addf(option, "localhostProfile %q must be a relative path without ..", quoted(*file))
	}
}

// checkID notes a number of a user or group that Kubernetes refuses.
func checkID(option, name string, id *int64, check func(int64) []string, p *options.Problems) {
	if id == nil {
		return
	}
	if faults := check(*id); len(faults) > 0 {
		p.Addf(option, "%s %s", name, faults[0])
	}
}

// value is what a pointer points to.
func value[T any](v *T) (made T) {
	if v != nil {
		made = *v
	}
	return made
}

// checkPart notes a name of a part of the pod that is not one or is taken.
func checkPart(option, kind, name string, taken map[string]bool, p *options.Problems) {
	if name == "" && kind == "container" {
		return // noted by requireNames
	}
	if faults := validation.IsDNS1123Label(name); len(faults) > 0 {
		p.Addf(option, "%q cannot be the name of a %s: %s", quoted(name), kind, faults[0])
	} else if taken[name] {
		p.Addf(option, "%s %q is listed twice", kind, quoted(name))
	}
	taken[name] = true
}

// checkMounts notes mounts of volumes that the pod does not have, and several in one place.
func checkMounts(option string, c corev1.Container, volumes map[string]bool, p *options.Problems) {
	paths := map[string]bool{}
	for _, m := range c.VolumeMounts {
		switch {
		case !volumes[m.Name]:
			p.Addf(option, "container %q mounts volume %q, which is not in volumes", quoted(c.Name), quoted(m.Name))
		case m.MountPath == "":
			p.Addf(option, "container %q mounts volume %q without a mountPath", quoted(c.Name), quoted(m.Name))
		case paths[m.MountPath]:
			p.Addf(option, "container %q mounts two volumes at %q", quoted(c.Name), quoted(m.MountPath))
		case m.SubPath != "" && m.SubPathExpr != "":
			p.Addf(option, "container %q mounts volume %q with both subPath and subPathExpr; leave one of them out",
				quoted(c.Name), quoted(m.Name))
		case leavesVolume(m.SubPath) || leavesVolume(m.SubPathExpr):
			p.Addf(option, "container %q mounts %q, which leads out of volume %q",
				quoted(c.Name), quoted(m.SubPath+m.SubPathExpr), quoted(m.Name))
		case value(m.MountPropagation) == corev1.MountPropagationBidirectional && !isPrivileged(c):
			p.Addf(option, "container %q mounts volume %q with mountPropagation Bidirectional, which needs privileged",
				quoted(c.Name), quoted(m.Name))
		}
		if m.MountPropagation != nil {
			checkWord(option, *m.MountPropagation, p, corev1.MountPropagationNone,
				corev1.MountPropagationHostToContainer, corev1.MountPropagationBidirectional)
		}
		paths[m.MountPath] = true
	}
}

// checkImage notes a missing image, and a word for when it is pulled that Kubernetes does not know.
func checkImage(of containerOptions, c corev1.Container, p *options.Problems) {
	if c.Image == "" || strings.TrimSpace(c.Image) != c.Image {
		p.Addf(of.image, "container %q has the image %q, which is not a name", quoted(c.Name), quoted(c.Image))
	}
	checkWord(of.pullPolicy, c.ImagePullPolicy, p, "", corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)
}

// checkWord notes a word that is not a known one; an empty one among those is Kubernetes' default.
func checkWord[T ~string](option string, word T, p *options.Problems, known ...T) {
	if slices.Contains(known, word) {
		return
	}
	var names []string
	for _, name := range known {
		if name != "" {
			names = append(names, string(name))
		}
	}
	p.Addf(option, "must be one of %s, not %q", strings.Join(names, ", "), quoted(string(word)))
}
