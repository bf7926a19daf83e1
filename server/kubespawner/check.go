package kubespawner

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/kubespawner/podspec"
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

// checkPod notes what of the pod, and of the claim for a home, Kubernetes would refuse, before anything is made.
func (o *Objects) checkPod(p *options.Problems) {
	checkLabels("extra_labels and common_labels", o.Pod.Labels, p)
	if o.Claim != nil {
		checkLabels("storage_extra_labels", o.Claim.Labels, p)
		checkAnnotations("storage_extra_annotations", o.Claim.Annotations, p)
		podspec.CheckHome(o.Claim.Spec, p)
	}
	checkAnnotations("extra_annotations", o.Pod.Annotations, p)
	podspec.Check(&o.Pod.Spec, NotebookContainer, p)
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
