package outpost

import "net"

// Ways to reach an outpost from outside its cluster.
const (
	ClusterIP    = "clusterIP"    // not at all: for a hub in the same cluster
	NodePort     = "nodePort"     // a port of every node
	LoadBalancer = "loadBalancer" // an address of its own
	Ingress      = "ingress"      // the API by an Ingress; SSH beside it, by a node port or a load balancer
)

// Ports of the Services, as the chart has them.
const (
	apiPort = 8080
	sshPort = 22
)

// Exposure is how the API and SSH of an outpost are reached. The zero value is ClusterIP. The JSON names are those of
// the stack config and of what one stack tells another.
type Exposure struct {
	// Type is one of the constants above.
	Type string `json:"type,omitempty"`
	// TLS switches TLS on the API off; default true, except with ClusterIP, which has none.
	TLS *bool `json:"tls,omitempty"`

	// APINodePort and SSHNodePort are for NodePort; SSHNodePort also for Ingress.
	APINodePort int `json:"apiNodePort,omitempty"`
	SSHNodePort int `json:"sshNodePort,omitempty"`

	// SSHAddress is where SSH is reached if not at the outpost's address: with a load balancer of its own.
	SSHAddress string `json:"sshAddress,omitempty"`
	// LoadBalancerIP and SSHLoadBalancerIP ask for an address; not every load balancer listens.
	LoadBalancerIP    string `json:"loadBalancerIP,omitempty"`
	SSHLoadBalancerIP string `json:"sshLoadBalancerIP,omitempty"`
	// Annotations are those of the API's Service (LoadBalancer) or Ingress; SSHAnnotations those of SSH's Service.
	Annotations    map[string]string `json:"annotations,omitempty"`
	SSHAnnotations map[string]string `json:"sshAnnotations,omitempty"`

	// ClassName is the Ingress's class.
	ClassName string `json:"className,omitempty"`
	// TLSSecret names the Secret with the Ingress's certificate: made by cert-manager, if Annotations ask it to, or
	// beforehand.
	TLSSecret string `json:"tlsSecret,omitempty"`
	// CA is the PEM of the CA of the Ingress's certificate, where it is none that everybody trusts.
	CA string `json:"ca,omitempty"`
}

// Endpoint is where a hub reaches an outpost.
type Endpoint struct {
	// API is a URL without path: "https://10.77.0.3:30080".
	API string
	// SSHHost and SSHPort are where SSH listens.
	SSHHost string
	SSHPort int
}

// Encrypted tells whether the API speaks TLS.
func (e Exposure) Encrypted() bool {
	if e.Type == "" || e.Type == ClusterIP {
		return false
	}
	return e.TLS == nil || *e.TLS
}

// OwnCertificate tells whether the outpost itself shows the certificate; behind an Ingress it is the controller.
func (e Exposure) OwnCertificate() bool { return e.Encrypted() && e.Type != Ingress }

// Endpoint says where an outpost with this exposure is reached at an address.
func (e Exposure) Endpoint(address string) Endpoint {
	scheme := "http"
	if e.Encrypted() {
		scheme = "https"
	}
	at := Endpoint{SSHHost: address, SSHPort: sshPort}
	if e.SSHAddress != "" {
		at.SSHHost = e.SSHAddress
	}
	switch e.Type {
	case NodePort:
		at.API = scheme + "://" + net.JoinHostPort(address, itoa(e.APINodePort))
	case Ingress:
		at.API = scheme + "://" + hostOf(address)
	default:
		at.API = scheme + "://" + net.JoinHostPort(address, itoa(apiPort))
	}
	if e.SSHNodePort != 0 {
		at.SSHPort = e.SSHNodePort
	}
	return at
}

// InCluster says where an outpost is reached from the cluster it is in: the published address.
func InCluster(namespace string) Endpoint {
	host := Release + "." + namespace + ".svc"
	return Endpoint{API: "http://" + net.JoinHostPort(host, itoa(apiPort)), SSHHost: host, SSHPort: sshPort}
}

// hostOf puts brackets around an IPv6 address.
func hostOf(address string) string {
	if ip := net.ParseIP(address); ip != nil && ip.To4() == nil {
		return "[" + address + "]"
	}
	return address
}
