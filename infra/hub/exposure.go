package hub

// Ways to reach the hub from outside its cluster.
const (
	ClusterIP    = "clusterIP"
	NodePort     = "nodePort"
	LoadBalancer = "loadBalancer"
	Ingress      = "ingress"
)

// Exposure is how users and remote servers reach the hub. The JSON names are those of the stack config.
type Exposure struct {
	// Type is one of the constants above; empty is ClusterIP.
	Type string `json:"type,omitempty"`
	// NodePort is the port of NodePort.
	NodePort int `json:"nodePort,omitempty"`
	// LoadBalancerIP asks for an address; not every load balancer listens.
	LoadBalancerIP string `json:"loadBalancerIP,omitempty"`
	// Annotations are those of the Service (LoadBalancer) or the Ingress.
	Annotations map[string]string `json:"annotations,omitempty"`
	// ClassName, Host and TLSSecret are for Ingress. An empty TLSSecret is plain HTTP.
	ClassName string `json:"className,omitempty"`
	Host      string `json:"host,omitempty"`
	TLSSecret string `json:"tlsSecret,omitempty"`
}

// values are the chart's values for the exposure.
func (e Exposure) values() map[string]any {
	service := map[string]any{"type": "ClusterIP"}
	made := map[string]any{"proxy": map[string]any{"service": service}}
	annotations := map[string]any{}
	for key, value := range e.Annotations {
		annotations[key] = value
	}
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
