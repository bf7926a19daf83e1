// Package manifest holds the objects that every cluster gets before its users do: DNS, two storage classes of which one
// is the default, the default IngressClass, and the Gateway API with its GatewayClass.
package manifest

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"strings"
	"text/template"

	"sigs.k8s.io/yaml"
)

//go:embed objects.yaml gatewayclass.yaml
var files embed.FS

var objects = template.Must(template.ParseFS(files, "objects.yaml"))

// Values are what differs between clusters.
type Values struct {
	DNS      string // address of the cluster's DNS
	DNSImage string
	// BindsLate makes that storage class the default whose claims are bound when a pod uses them, as most clouds have
	// it; otherwise it is the one that binds at once.
	BindsLate bool
}

// Object is one object as YAML, and its path in the API.
type Object struct {
	Path string
	YAML []byte
}

// plurals are the resources of the kinds of objects.
var plurals = map[string]string{
	"ServiceAccount": "serviceaccounts", "ClusterRole": "clusterroles",
	"ClusterRoleBinding": "clusterrolebindings", "ConfigMap": "configmaps",
	"Deployment": "deployments", "Service": "services", "StorageClass": "storageclasses",
	"IngressClass": "ingressclasses", "GatewayClass": "gatewayclasses",
	"CustomResourceDefinition":         "customresourcedefinitions",
	"ValidatingAdmissionPolicy":        "validatingadmissionpolicies",
	"ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}

// Objects returns the objects in the order in which they are to be applied.
func Objects(values Values) ([]Object, error) {
	var text bytes.Buffer
	if err := objects.Execute(&text, values); err != nil {
		return nil, err
	}
	return parse(text.String())
}

// Definitions returns the objects in the YAML files of a folder, such as those of a release of the Gateway API.
func Definitions(folder fs.FS) ([]Object, error) {
	names, err := fs.Glob(folder, "*.yaml")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no definitions: %w", fs.ErrNotExist)
	}
	var all []Object
	for _, name := range names {
		text, err := fs.ReadFile(folder, name)
		if err != nil {
			return nil, err
		}
		objects, err := parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, objects...)
	}
	return all, nil
}

// GatewayClass returns the GatewayClass that the node serves. It can be applied once its definition is served.
func GatewayClass() (Object, error) {
	text, err := files.ReadFile("gatewayclass.yaml")
	if err != nil {
		return Object{}, err
	}
	objects, err := parse(string(text))
	if err != nil {
		return Object{}, err
	}
	return objects[0], nil
}

// parse returns the objects of a YAML file of several documents; those that hold comments only are left out.
func parse(text string) ([]Object, error) {
	var all []Object
	for _, part := range strings.Split("\n"+text, "\n---\n") {
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Metadata   struct{ Name, Namespace string }
		}
		if err := yaml.Unmarshal([]byte(part), &head); err != nil {
			return nil, err
		}
		if head.Kind == "" {
			continue
		}
		plural, ok := plurals[head.Kind]
		if !ok {
			return nil, fmt.Errorf("kind %q has no plural here", head.Kind)
		}
		path := "/apis/" + head.APIVersion
		if head.APIVersion == "v1" {
			path = "/api/v1"
		}
		if head.Metadata.Namespace != "" {
			path += "/namespaces/" + head.Metadata.Namespace
		}
		all = append(all, Object{Path: path + "/" + plural + "/" + head.Metadata.Name, YAML: []byte(part)})
	}
	return all, nil
}
