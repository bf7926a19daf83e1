package hub

import (
	"net"

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
	faults := exposure.Check(e.Type,
		exposure.KeyOf("nodePort", e.NodePort != 0, exposure.NodePort),
		exposure.KeyOf("host", e.Host != "", exposure.Ingress),
		exposure.KeyOf("className", e.ClassName != "", exposure.Ingress),
		exposure.KeyOf("tlsSecret", e.TLSSecret != "", exposure.Ingress),
		exposure.KeyOf("loadBalancerIP", e.LoadBalancerIP != "", exposure.LoadBalancer),
		exposure.KeyOf("annotations", len(e.Annotations) > 0, exposure.LoadBalancer, exposure.Ingress),
	)
	switch {
	case e.Type == exposure.NodePort && e.NodePort == 0:
		faults.Add("nodePort", "")
	case e.Type == exposure.Ingress && e.Host == "":
		faults.Add("host", "")
	case e.Type == exposure.Ingress && net.ParseIP(e.Host) != nil:
		faults.Add("host", "an Ingress needs a DNS name, not %s", e.Host)
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
