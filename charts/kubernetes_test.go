package charts

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// kubernetesTypes are what values of a chart become as they are.
var kubernetesTypes = map[string][]any{"outpost": ofOutpost, "outposts-hub": ofHub}

var ofHub = []any{
	corev1.Affinity{},
	corev1.EnvVar{},
	corev1.HostAlias{},
	corev1.LocalObjectReference{},
	corev1.PodSecurityContext{},
	corev1.ResourceRequirements{},
	corev1.SecurityContext{},
	corev1.Toleration{},
	corev1.TopologySpreadConstraint{},
	networkingv1.NetworkPolicyEgressRule{},
	networkingv1.NetworkPolicyIngressRule{},
	networkingv1.NetworkPolicyPeer{},
}

var ofOutpost = []any{
	corev1.Affinity{},
	corev1.Container{},
	corev1.EnvVar{},
	corev1.HostAlias{},
	corev1.LocalObjectReference{},
	corev1.PodSecurityContext{},
	corev1.ResourceRequirements{},
	corev1.SecurityContext{},
	corev1.ServicePort{},
	corev1.Toleration{},
	corev1.TopologySpreadConstraint{},
	corev1.Volume{},
	corev1.VolumeMount{},
	networkingv1.NetworkPolicyEgressRule{},
	networkingv1.NetworkPolicyIngressRule{},
	networkingv1.NetworkPolicyPeer{},
}

// scalars are types that are not written as objects.
var scalars = []reflect.Type{
	reflect.TypeFor[resource.Quantity](), reflect.TypeFor[intstr.IntOrString](), reflect.TypeFor[metav1.Time](),
}

// kubernetesDefinitions has, by the name of a type, the schema of the keys that Kubernetes knows of it: not what they
// may be, which the API server says.
type kubernetesDefinitions map[string]any

// of returns the schema of a type, and adds the definitions that it refers to.
func (d kubernetesDefinitions) of(t reflect.Type) map[string]any {
	switch {
	case slices.Contains(scalars, t):
		return map[string]any{}
	case t.Kind() == reflect.Pointer:
		return d.of(t.Elem())
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		return map[string]any{"type": "array", "items": d.of(t.Elem())}
	case t.Kind() == reflect.Map:
		return map[string]any{"type": "object"}
	case t.Kind() != reflect.Struct:
		return map[string]any{}
	}
	name := "kubernetes." + t.Name()
	if _, defined := d[name]; !defined {
		properties := map[string]any{}
		d[name] = map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
		d.addFields(t, properties)
	}
	return map[string]any{"$ref": "#/definitions/" + name}
}

func (d kubernetesDefinitions) addFields(t reflect.Type, properties map[string]any) {
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if strings.Contains(options, "inline") {
			d.addFields(field.Type, properties)
		} else {
			properties[name] = d.of(field.Type)
		}
	}
}

// TestSchemaKnowsKubernetes holds that the schema accepts, in what becomes a part of an object of Kubernetes, the keys
// that Kubernetes knows and no others. With -update it writes them into the schema, a type a line.
func TestSchemaKnowsKubernetes(t *testing.T) {
	for folder, types := range kubernetesTypes {
		t.Run(folder, func(t *testing.T) { schemaKnows(t, folder, types) })
	}
}

func schemaKnows(t *testing.T, folder string, types []any) {
	t.Helper()
	definitions := kubernetesDefinitions{}
	for _, one := range types {
		definitions.of(reflect.TypeOf(one))
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(definitions)) {
		text, err := json.Marshal(definitions[name])
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("    %q: %s", name, text))
	}
	const begin, end = "    \"kubernetes.", "\n  }\n}\n"
	before, _, found := strings.Cut(schemas[folder], begin)
	if !found {
		t.Fatal("the schema has no definitions of Kubernetes")
	}
	want := before + strings.Join(lines, ",\n") + end
	if *update {
		if err := os.WriteFile(filepath.Join(folder, "values.schema.json"), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, schemas[folder]); diff != "" {
		t.Errorf("schema (-want +got; -update rewrites it):\n%s", diff)
	}
}
