// Package manifest holds the objects that every cluster gets before its users do: DNS, two storage classes of which one
// is the default, and the default IngressClass.
package manifest

import (
	"bytes"
	"embed"
	"fmt"
	"strings"
	"text/template"

	"sigs.k8s.io/yaml"
)

//go:embed objects.yaml
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

// plurals are the resources of the kinds in objects.yaml.
var plurals = map[string]string{
	"ServiceAccount": "serviceaccounts", "ClusterRole": "clusterroles",
	"ClusterRoleBinding": "clusterrolebindings", "ConfigMap": "configmaps",
	"Deployment": "deployments", "Service": "services", "StorageClass": "storageclasses",
	"IngressClass": "ingressclasses",
}

// Objects returns the objects in the order in which they are to be applied.
func Objects(values Values) ([]Object, error) {
	var text bytes.Buffer
	if err := objects.Execute(&text, values); err != nil {
		return nil, err
	}
	var all []Object
	for _, part := range strings.Split(text.String(), "\n---\n") {
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Metadata   struct{ Name, Namespace string }
		}
		if err := yaml.Unmarshal([]byte(part), &head); err != nil {
			return nil, err
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
