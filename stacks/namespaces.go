package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/outposts-dev/outposts/infra/cluster"
)

// namespaceOptions are what config says of a namespace beside its name, which is all that most of the program needs.
type namespaceOptions struct {
	// Create is false for a namespace that somebody else has made, and keeps: the stack makes nothing of it.
	Create      *bool             `json:"create"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func (o namespaceOptions) isMade() bool { return o.Create == nil || *o.Create }

// Keys of the namespaces of a stack.
const (
	hubNamespace     = "hub.namespace"
	outpostNamespace = "outpost.namespace"
	serverNamespace  = "outpost.serverNamespace"
)

var namespaceKeys = []string{hubNamespace, outpostNamespace, serverNamespace}

// takeNamespaces returns the options of namespaces in a document, by key, and leaves their names in the document.
func takeNamespaces(document map[string]any) map[string]namespaceOptions {
	taken := map[string]namespaceOptions{}
	for _, key := range namespaceKeys {
		part, name, _ := strings.Cut(key, ".")
		of, _ := document[part].(map[string]any)
		value, isMap := of[name].(map[string]any)
		if !isMap {
			continue
		}
		var options namespaceOptions
		text, err := json.Marshal(value)
		if err != nil || json.Unmarshal(text, &options) != nil {
			continue // the schema has said so
		}
		taken[key] = options
		of[name] = value["name"]
	}
	return taken
}

// options are those of the namespace at a key. The default namespace of servers is made if that of the outpost is.
func (c Config) options(key string) namespaceOptions {
	options, own := c.namespaceOptions[key]
	if key == serverNamespace && !own {
		options.Create = c.namespaceOptions[outpostNamespace].Create
	}
	return options
}

// made are the namespaces that a stack with this config makes.
func (c Config) made() []cluster.Namespace {
	var all []cluster.Namespace
	for _, p := range c.places() {
		if options := c.options(p.key); options.isMade() {
			all = append(all, cluster.Namespace{
				Name: p.namespace, Keep: !c.mayLoseAll(p.namespace),
				Labels: options.Labels, Annotations: options.Annotations,
			})
		}
	}
	return all
}

// found are the namespaces that a stack with this config uses and somebody else has made.
func (c Config) found() []string {
	var all []string
	for _, p := range c.places() {
		if !c.options(p.key).isMade() {
			all = append(all, p.namespace)
		}
	}
	return all
}

// createKeys are the keys that say whether the stack makes its namespaces.
func (c Config) createKeys() []string {
	var all []string
	for _, p := range c.places() {
		all = append(all, project+":"+p.key+".create")
	}
	return all
}

// systemNamespaces are those of Kubernetes itself.
var systemNamespaces = []string{"kube-system", "kube-public", "kube-node-lease"}

// validateNamespaces finds namespaces that are not for a stack to make, and options that have no effect or that the API
// server refuses.
func (c Config) validateNamespaces(f *faults) {
	for _, key := range namespaceKeys {
		options := c.namespaceOptions[key]
		const unmade = "the stack does not make the namespace"
		f.addNoEffect(key+".labels", len(options.Labels) > 0 && !options.isMade(), unmade)
		f.addNoEffect(key+".annotations", len(options.Annotations) > 0 && !options.isMade(), unmade)
		options.validate(f, key)
		_, taken := options.Annotations[cluster.OwnerAnnotation]
		f.addNoEffect(key+".annotations", taken, "the program sets %s", cluster.OwnerAnnotation)
	}
	for _, p := range c.places() {
		if c.options(p.key).isMade() && slices.Contains(systemNamespaces, p.namespace) {
			f.add("%s: %q is a namespace of Kubernetes itself, which this stack would mark and protect; choose "+
				"another, or write {name: %s, create: false}", p.key, p.namespace, p.namespace)
		}
	}
	_, own := c.namespaceOptions[serverNamespace]
	f.addNoEffect(serverNamespace, own && c.Outpost != nil && c.Outpost.Servers == c.Outpost.Namespace,
		"it is also %s:%s; say there what it is like", project, outpostNamespace)
}

// validate finds labels and annotations that the API server refuses, or sets itself.
func (o namespaceOptions) validate(f *faults, at string) {
	const want = "want a name of at most 63 letters, digits, '-', '_' and '.', a letter or a digit at both ends"
	for _, key := range slices.Sorted(maps.Keys(o.Labels)) {
		if validation.IsQualifiedName(key) != nil {
			f.add("%s.labels: key %q: %s, or PREFIX/NAME", at, key, want)
		}
		if value := o.Labels[key]; validation.IsValidLabelValue(value) != nil {
			f.add("%s.labels.%s: %q: %s, or nothing", at, key, value, want)
		}
	}
	_, taken := o.Labels[corev1.LabelMetadataName]
	f.addNoEffect(at+".labels", taken, "the API server sets %s", corev1.LabelMetadataName)
	for _, key := range slices.Sorted(maps.Keys(o.Annotations)) {
		if validation.IsQualifiedName(strings.ToLower(key)) != nil { // as the API server asks
			f.add("%s.annotations: key %q: %s, or PREFIX/NAME", at, key, want)
		}
	}
}

// textsOf are the texts in a map of a resource's outputs; none of what is not a map.
func textsOf(output any) map[string]string {
	texts := map[string]string{}
	of, _ := output.(map[string]any)
	for name, value := range of {
		if text, isText := value.(string); isText {
			texts[name] = text
		}
	}
	return texts
}

// hasNamespace reports whether the stack has made a namespace, or has used one that it did not make.
func (s state) hasNamespace(name string) bool {
	_, made := s.namespaces[name]
	_, found := s.uids[name]
	return made || found
}

// sameNamespace reports whether a namespace with this uid is one that the stack was in.
func (s state) sameNamespace(name, uid string) bool {
	return uid != "" && s.cluster() != "" && (s.uids[name] == uid || s.cluster() == uid)
}
