package hub

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/infra/schema"
	"github.com/outposts-dev/outposts/infra/values"
)

// Ways to reach the hub from outside its cluster.
const (
	ClusterIP    = "clusterIP"
	NodePort     = "nodePort"
	LoadBalancer = "loadBalancer"
	Ingress      = "ingress"
)

var types = []string{ClusterIP, NodePort, LoadBalancer, Ingress}

// Exposure is how users and remote servers reach the hub. The JSON names are those of the stack config.
type Exposure struct {
	// Type is one of the constants above; empty is ClusterIP.
	Type string `json:"type,omitempty"`
	// NodePort is the port of NodePort.
	NodePort int `json:"nodePort,omitempty"`
	// LoadBalancerIP asks for an address; not every load balancer honours it.
	LoadBalancerIP string `json:"loadBalancerIP,omitempty"`
	// Annotations are those of the Service (LoadBalancer) or the Ingress.
	Annotations map[string]string `json:"annotations,omitempty"`
	// ClassName, Host and TLSSecret are for Ingress. An empty TLSSecret is plain HTTP.
	ClassName string `json:"className,omitempty"`
	Host      string `json:"host,omitempty"`
	TLSSecret string `json:"tlsSecret,omitempty"`
}

// Validate returns the keys that the type needs and that are missing, and those that have no effect with it. Paths
// begin with the JSON name of the key.
func (e Exposure) Validate() []schema.Fault {
	var faults []schema.Fault
	add := func(key, format string, args ...any) {
		faults = append(faults, schema.Fault{Path: []string{key}, Text: fmt.Sprintf(format, args...)})
	}
	if e.Type != "" && !slices.Contains(types, e.Type) {
		add("type", "want one of %s", strings.Join(types, ", "))
		return faults // what the other keys mean depends on it
	}
	for _, key := range []struct {
		name  string
		set   bool
		types []string
	}{
		{"nodePort", e.NodePort != 0, []string{NodePort}},
		{"host", e.Host != "", []string{Ingress}},
		{"className", e.ClassName != "", []string{Ingress}},
		{"tlsSecret", e.TLSSecret != "", []string{Ingress}},
		{"loadBalancerIP", e.LoadBalancerIP != "", []string{LoadBalancer}},
		{"annotations", len(e.Annotations) > 0, []string{LoadBalancer, Ingress}},
	} {
		if key.set && !slices.Contains(key.types, e.Type) {
			add(key.name, "has no effect with exposure type %s", e.Type)
		}
	}
	switch {
	case e.Type == NodePort && e.NodePort == 0:
		add("nodePort", "")
	case e.Type == Ingress && e.Host == "":
		add("host", "")
	case e.Type == Ingress && net.ParseIP(e.Host) != nil:
		add("host", "an Ingress needs a DNS name, not %s", e.Host)
	}
	return faults
}

// values are the chart's values for the exposure.
func (e Exposure) values() map[string]any {
	service := map[string]any{"type": "ClusterIP"}
	made := map[string]any{"proxy": map[string]any{"service": service}}
	annotations := values.Strings(e.Annotations)
	switch e.Type {
	case NodePort:
		service["type"] = "NodePort"
		service["nodePorts"] = map[string]any{"http": e.NodePort}
	case LoadBalancer:
		service["type"] = "LoadBalancer"
		if e.LoadBalancerIP != "" {
			service["loadBalancerIP"] = e.LoadBalancerIP
		}
		if len(annotations) > 0 {
			service["annotations"] = annotations
		}
	case Ingress:
		ingress := map[string]any{"enabled": true, "hosts": []any{e.Host}}
		if e.ClassName != "" {
			ingress["ingressClassName"] = e.ClassName
		}
		if len(annotations) > 0 {
			ingress["annotations"] = annotations
		}
		if e.TLSSecret != "" {
			ingress["tls"] = []any{map[string]any{"hosts": []any{e.Host}, "secretName": e.TLSSecret}}
		}
		made["ingress"] = ingress
	}
	return made
}
