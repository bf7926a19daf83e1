package hub

import (
	"fmt"
	"net"

	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apiextensions"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/schema"
)

// Exposure is how users and remote servers reach the hub. The JSON names are those of the stack config.
type Exposure struct {
	// Type is one of the constants of package exposure; empty is exposure.ClusterIP.
	Type string `json:"type,omitempty"`
	// NodePort is the port of NodePort.
	NodePort int `json:"nodePort,omitempty"`
	// LoadBalancerIP asks for an address; not every load balancer honours it.
	LoadBalancerIP string `json:"loadBalancerIP,omitempty"`
	// Annotations are those of the Service (LoadBalancer), the HTTPRoute or the Ingress.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Host is the name in the URL, for Gateway and Ingress.
	Host string `json:"host,omitempty"`
	// Gateway is the parent of the route, for Gateway; the certificate is its listener's.
	Gateway *exposure.GatewayRef `json:"gateway,omitempty"`
	// RequestTimeout is the limit of the Gateway for a request, default exposure.NoTimeout; "" leaves it to the
	// Gateway's controller.
	RequestTimeout *string `json:"requestTimeout,omitempty"`
	// ClassName and TLSSecret are for Ingress. An empty TLSSecret is plain HTTP.
	ClassName string `json:"className,omitempty"`
	TLSSecret string `json:"tlsSecret,omitempty"`
}

// Validate returns the keys that the type needs and that are missing, and those that have no effect with it. Paths
// begin with the JSON name of the key.
func (e Exposure) Validate() []schema.Fault {
	faults := exposure.Check(e.Type,
		exposure.KeyOf("nodePort", e.NodePort != 0, exposure.NodePort),
		exposure.KeyOf("host", e.Host != "", exposure.Gateway, exposure.Ingress),
		exposure.KeyOf("gateway", e.Gateway != nil, exposure.Gateway),
		exposure.KeyOf("requestTimeout", e.RequestTimeout != nil, exposure.Gateway),
		exposure.KeyOf("className", e.ClassName != "", exposure.Ingress),
		exposure.KeyOf("tlsSecret", e.TLSSecret != "", exposure.Ingress),
		exposure.KeyOf("loadBalancerIP", e.LoadBalancerIP != "", exposure.LoadBalancer),
		exposure.KeyOf("annotations", len(e.Annotations) > 0,
			exposure.LoadBalancer, exposure.Gateway, exposure.Ingress),
	)
	switch e.Type {
	case exposure.NodePort:
		if e.NodePort == 0 {
			faults.Add("nodePort", "")
		}
	case exposure.Gateway, exposure.Ingress:
		if e.Type == exposure.Gateway && e.Gateway == nil {
			faults.Add("gateway", "")
		}
		if e.Host == "" {
			faults.Add("host", "")
		} else if net.ParseIP(e.Host) != nil {
			faults.Add("host", "%s needs a DNS name, not %s", exposure.Called(e.Type), e.Host)
		}
	}
	return faults
}

// values are the chart's values for the exposure.
func (e Exposure) values() map[string]any {
	service := map[string]any{"type": "ClusterIP"}
	made := map[string]any{}
	switch e.Type {
	case exposure.NodePort:
		service = map[string]any{"type": "NodePort", "nodePorts": map[string]any{"http": e.NodePort}}
	case exposure.LoadBalancer:
		service = exposure.ServiceValues(e.LoadBalancerIP, e.Annotations)
	case exposure.Ingress:
		made["ingress"] = exposure.IngressValues(e.Host, e.ClassName, e.Annotations, e.TLSSecret != "", e.TLSSecret)
	}
	made["proxy"] = map[string]any{"service": service}
	return made
}

// Names of what the chart, and this package, make to reach the hub.
const (
	Service = "proxy-public" // of the chart
	Ingress = Release        // of the chart
	Route   = Release        // the HTTPRoute, of this package
)

// newRoute makes the HTTPRoute of an exposure by Gateway, and nothing for another. The chart's own, httpRoute, cannot
// lift the Gateway's limit for a request, and names its Gateway differently in each version.
func (a Args) newRoute(ctx *pulumi.Context, name string, parent pulumi.Resource) ([]pulumi.Resource, error) {
	e := a.Exposure
	if e.Type != exposure.Gateway {
		return nil, nil
	}
	rule := map[string]any{
		"matches":     []any{map[string]any{"path": map[string]any{"type": "PathPrefix", "value": "/"}}},
		"backendRefs": []any{map[string]any{"name": Service, "port": 80}},
	}
	timeout := exposure.NoTimeout
	if e.RequestTimeout != nil {
		timeout = *e.RequestTimeout
	}
	if timeout != "" {
		rule["timeouts"] = map[string]any{"request": timeout}
	}
	made, err := apiextensions.NewCustomResource(ctx, name+"-route", &apiextensions.CustomResourceArgs{
		ApiVersion: pulumi.String("gateway.networking.k8s.io/v1"),
		Kind:       pulumi.String("HTTPRoute"),
		Metadata: &metav1.ObjectMetaArgs{
			Name: pulumi.String(Route), Namespace: pulumi.String(a.Namespace),
			Annotations: pulumi.ToStringMap(e.Annotations),
		},
		OtherFields: kubernetes.UntypedArgs{"spec": map[string]any{
			"parentRefs": e.Gateway.ParentRefs(), "hostnames": []any{e.Host}, "rules": []any{rule},
		}},
	}, pulumi.Parent(parent))
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", Route, err)
	}
	return []pulumi.Resource{made}, nil
}
