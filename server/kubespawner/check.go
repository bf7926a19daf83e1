package kubespawner

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

// maxName bounds the names of users and servers in bytes; JupyterHub's have 255 characters at most.
const maxName = 1024

// checkName notes a name of a user or server that is too long to make names of.
func checkName(option, name string, p *options.Problems) {
	if len(name) > maxName {
		p.Addf(option, "has %d bytes; at most %d are allowed", len(name), maxName)
	}
}

// quoted is what a problem says of a name or value.
func quoted(text string) string { return excerpt.Of(text, excerpt.Name) }

// checkHost notes a dns_name_template of the hub's that leads elsewhere than the operator's: the hub's SSH key opens
// the address that a start is answered with. The client sends its default with every start, so the default is nobody's
// wish.
func (b *Builder) checkHost(
	hub outpost.Hub, misc map[string]json.RawMessage, t nameTemplates, n names, p *options.Problems,
) {
	const option = "dns_name_template"
	if json.Unmarshal(misc[option], &t.DNS) != nil || t.DNS == b.defaults[option] || hub.Lists(option) {
		return
	}
	if host := t.dns(n, p); host != "" && host != n.DNS {
		p.Addf(option, "yields %q, but hub %s may only use %q; leave the option out at the hub, "+
			"or list dns_name_template in hubs.%s.allowedOptions of the outpost",
			quoted(host), hub.Name, quoted(n.DNS), hub.Name)
	}
}

// checkNames notes names that Kubernetes would refuse, before anything is made.
func (o *Objects) checkNames(p *options.Problems) {
	n := o.names
	name := func(option, value string, check func(string) []string) {
		if faults := check(value); len(faults) > 0 {
			p.Addf(option, "yields the name %q: %s", quoted(value), faults[0])
		}
	}
	subdomain := validation.IsDNS1123Subdomain
	name("namespace", n.Namespace, validation.IsDNS1123Label)
	name("pod_name_template", n.Pod, subdomain)
	if o.Service != nil {
		name("pod_name_template", n.Pod, validation.IsDNS1035Label)
		if !outpost.IsHost(n.DNS) {
			p.Addf("dns_name_template", "yields %q, which is not a host name", quoted(n.DNS))
		}
	}
	if o.Secret != nil {
		name("secret_name_template", n.Secret, subdomain)
	}
	if o.Claim != nil {
		name("pvc_name_template", n.PVC, subdomain)
	}
	if o.Settings.PodConnectIP == "" {
		return
	}
	if url, err := o.url("", 1); err == nil && !isAddress(url) { // an error is of the template
		p.Addf("pod_connect_ip", "yields the address %q; a hub accepts a host name or an IPv4 address", quoted(url))
	}
}

// checkPod notes labels, annotations and variables that Kubernetes would refuse, before anything is made.
func (o *Objects) checkPod(p *options.Problems) {
	checkLabels("extra_labels and common_labels", o.Pod.Labels, p)
	if o.Claim != nil {
		checkLabels("storage_extra_labels", o.Claim.Labels, p)
	}
	checkAnnotations("extra_annotations", o.Pod.Annotations, p)
	checkContainers(&o.Pod.Spec, p)
	notebook := notebookOf(o.Pod)
	if notebook == nil {
		return // a pod_overlay that takes it away has been noted
	}
	for _, v := range notebook.Env {
		if v.Name == "" || strings.ContainsFunc(v.Name, func(r rune) bool { return r <= ' ' || r > '~' || r == '=' }) {
			p.Addf("env", "%q is not a name of a variable", quoted(v.Name))
		}
		if strings.ContainsRune(v.Value, 0) {
			p.Addf("env", "the value of %q has a zero byte", quoted(v.Name))
		}
	}
}

// checkContainers notes names of volumes and containers that Kubernetes would refuse, and mounts of nothing.
func checkContainers(spec *corev1.PodSpec, p *options.Problems) {
	volumes := map[string]bool{}
	for _, v := range spec.Volumes {
		checkPart("volumes", "volume", v.Name, volumes, p)
	}
	names := map[string]bool{}
	for _, list := range []struct {
		option     string
		containers []corev1.Container
	}{{"extra_containers", spec.Containers}, {"init_containers", spec.InitContainers}} {
		for _, c := range list.containers {
			checkPart(list.option, "container", c.Name, names, p)
			option := list.option
			if c.Name == NotebookContainer {
				option = "volume_mounts"
			}
			checkMounts(option, c, volumes, p)
		}
	}
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
		}
		paths[m.MountPath] = true
	}
}

// maxMetadata bounds the labels, and the annotations, of an object: far more than anybody has, and few enough to look
// at.
const maxMetadata = 1000

// tooMany notes labels or annotations beyond maxMetadata, and reports whether there are.
func tooMany(option string, metadata map[string]string, p *options.Problems) bool {
	if len(metadata) <= maxMetadata {
		return false
	}
	p.Addf(option, "has %d entries; at most %d are possible", len(metadata), maxMetadata)
	return true
}

func checkAnnotations(option string, annotations map[string]string, p *options.Problems) {
	if tooMany(option, annotations, p) {
		return
	}
	for key := range annotations {
		if faults := validation.IsQualifiedName(strings.ToLower(key)); len(faults) > 0 {
			p.Addf(option, "key %q: %s", quoted(key), faults[0])
		}
	}
}

func checkLabels(option string, labels map[string]string, p *options.Problems) {
	if tooMany(option, labels, p) {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		faults := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(labels[key])...)
		if len(faults) > 0 {
			p.Addf(option, "label %s=%q: %s", quoted(key), quoted(labels[key]), faults[0])
		}
	}
}
