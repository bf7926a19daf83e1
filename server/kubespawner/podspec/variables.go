package podspec

import (
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// checkVariables notes variables of a container whose name or value there cannot be, or whose value comes from nowhere,
// from several places, or from what cannot be there.
func checkVariables(of containerOptions, c corev1.Container, p *options.Problems) {
	if p.Noted(of.env) && of.env != of.rest { // what is missing may be what could not be read
		return
	}
	for _, v := range c.Env {
		if len(validation.IsRelaxedEnvVarName(v.Name)) > 0 {
			p.Addf(of.env, "%q is not a name of a variable", quoted(v.Name))
		}
		if strings.ContainsRune(v.Value, 0) { // a program cannot have it
			p.Addf(of.env, "the value of %q has a zero byte", quoted(v.Name))
		}
		if v.ValueFrom == nil {
			continue
		}
		sources := fieldsSet(*v.ValueFrom)
		fault := ""
		switch {
		case len(sources) == 0:
			fault = "needs a source, such as secretKeyRef"
		case len(sources) > 1:
			fault = "has both " + strings.Join(sources, " and ") + "; leave one of them out"
		case v.Value != "":
			fault = "has a value, too; leave one of them out"
		default:
			fault = faultOfSource(*v.ValueFrom)
		}
		if fault != "" {
			p.Addf(of.env, "valueFrom of variable %q of container %q %s", quoted(v.Name), quoted(c.Name), fault)
		}
	}
	for i, from := range c.EnvFrom {
		name := ""
		switch {
		case (from.ConfigMapRef == nil) == (from.SecretRef == nil):
			p.Addf(of.rest, "envFrom[%d] of container %q needs either configMapRef or secretRef", i, quoted(c.Name))
			continue
		case from.ConfigMapRef != nil:
			name = from.ConfigMapRef.Name
		default:
			name = from.SecretRef.Name
		}
		if faults := validation.IsDNS1123Subdomain(name); len(faults) > 0 {
			p.Addf(of.rest, "envFrom[%d] of container %q: %q cannot be a name: %s",
				i, quoted(c.Name), quoted(name), faults[0])
		}
	}
}

// podFields are the fields of a pod that a variable may have.
var podFields = []string{
	"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
	"status.hostIPs", "status.podIP", "status.podIPs",
}

// resourceFields are the amounts that a variable may have, beside those of huge pages.
var resourceFields = []string{
	"limits.cpu", "limits.memory", "limits.ephemeral-storage",
	"requests.cpu", "requests.memory", "requests.ephemeral-storage",
}

// faultOfSource says what is wrong with where the value of a variable comes from; empty if nothing is.
func faultOfSource(from corev1.EnvVarSource) string {
	key := func(kind, name, key string) string {
		faults := append(validation.IsDNS1123Subdomain(name), validation.IsConfigMapKey(key)...)
		switch {
		case name == "" || key == "":
			return "needs name and key in " + kind
		case len(faults) > 0:
			return "has a " + kind + " that cannot be one: " + faults[0]
		}
		return ""
	}
	switch {
	case from.SecretKeyRef != nil:
		return key("secretKeyRef", from.SecretKeyRef.Name, from.SecretKeyRef.Key)
	case from.ConfigMapKeyRef != nil:
		return key("configMapKeyRef", from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Key)
	case from.FieldRef != nil:
		path := from.FieldRef.FieldPath
		label := strings.HasSuffix(path, "']") &&
			(strings.HasPrefix(path, "metadata.labels['") || strings.HasPrefix(path, "metadata.annotations['"))
		const node = "spec.host" // the old name of spec.nodeName
		if !label && path != node && !slices.Contains(podFields, path) {
			return "has a fieldPath that is not one of " + strings.Join(podFields, ", ") +
				", metadata.labels['KEY'], metadata.annotations['KEY']"
		}
	case from.ResourceFieldRef != nil:
		name := from.ResourceFieldRef.Resource
		huge := strings.HasPrefix(name, "limits."+corev1.ResourceHugePagesPrefix) ||
			strings.HasPrefix(name, "requests."+corev1.ResourceHugePagesPrefix)
		if !huge && !slices.Contains(resourceFields, name) {
			return "has a resource that is not one of " + strings.Join(resourceFields, ", ")
		}
	}
	return ""
}

// fieldsSet returns the JSON names of the pointers in a struct that are set.
func fieldsSet(of any) []string {
	var names []string
	for fields, i := reflect.ValueOf(of), 0; i < fields.NumField(); i++ {
		if !fields.Field(i).IsNil() {
			name, _, _ := strings.Cut(fields.Type().Field(i).Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	return names
}
