// Package exposure has what the ways to a hub and to an outpost have in common: their types, which keys belong to which
// type, and the values of a Service or an Ingress.
package exposure

import (
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/infra/schema"
	"github.com/outposts-dev/outposts/infra/values"
)

// Types of an exposure: ways to reach something from outside its cluster.
const (
	ClusterIP    = "clusterIP"    // not at all: for clients in the same cluster
	NodePort     = "nodePort"     // a port of every node
	LoadBalancer = "loadBalancer" // an address of its own
	Gateway      = "gateway"      // HTTP by a route of the Gateway API
	Ingress      = "ingress"      // HTTP by an Ingress
)

var types = []string{ClusterIP, NodePort, LoadBalancer, Gateway, Ingress}

// Called returns what HTTP goes by with Gateway and Ingress, which know what is behind them by its name.
func Called(kind string) string {
	return map[string]string{Gateway: "a Gateway", Ingress: "an Ingress"}[kind]
}

// Key is a key of an exposure. Make it with [KeyOf].
type Key struct {
	name  string
	set   bool
	types []string
}

// KeyOf returns the key of a name in JSON: whether it is set, and the types that it has an effect with.
func KeyOf(name string, set bool, types ...string) Key { return Key{name, set, types} }

// Check returns what is wrong with a type, else the keys that are set and have no effect with it.
func Check(kind string, keys ...Key) schema.Faults {
	var faults schema.Faults
	if kind != "" && !slices.Contains(types, kind) {
		faults.Add("type", "want one of %s", strings.Join(types, ", "))
		return faults // what the other keys mean depends on it
	}
	for _, key := range keys {
		if key.set && !slices.Contains(key.types, kind) {
			faults.Add(key.name, "has no effect with exposure type %s", kind)
		}
	}
	return faults
}

// ServiceValues returns the values of a Service with a load balancer. An empty IP address asks for none.
func ServiceValues(ip string, annotations map[string]string) map[string]any {
	return values.Given(map[string]any{
		"type": "LoadBalancer", "loadBalancerIP": ip, "annotations": values.Strings(annotations),
	})
}

// IngressValues returns the values of an Ingress, which is plain HTTP unless it is encrypted with the certificate of a
// Secret.
func IngressValues(
	host, className string, annotations map[string]string, encrypted bool, tlsSecret string,
) map[string]any {
	made := values.Given(map[string]any{
		"enabled": true, "hosts": []any{host}, "ingressClassName": className,
		"annotations": values.Strings(annotations),
	})
	if encrypted {
		made["tls"] = []any{map[string]any{"hosts": []any{host}, "secretName": tlsSecret}}
	}
	return made
}
