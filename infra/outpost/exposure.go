package outpost

import (
	"cmp"
	"net"
	"strconv"

	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/schema"
)

// Ports of the Services, as the chart has them.
const (
	apiPort = 8080
	sshPort = 22
)

// Exposure is how the API and SSH of an outpost are reached. The zero value is exposure.ClusterIP. An Ingress is for
// the API; SSH is beside it, by a node port or a load balancer. The JSON names are those of the stack config and of
// what one stack tells another.
type Exposure struct {
	// Type is one of the constants of package exposure.
	Type string `json:"type,omitempty"`
	// TLS switches TLS on the API off; default true, except with ClusterIP, which has none.
	TLS *bool `json:"tls,omitempty"`

	// APINodePort and SSHNodePort are for NodePort; SSHNodePort also for Ingress.
	APINodePort int `json:"apiNodePort,omitempty"`
	SSHNodePort int `json:"sshNodePort,omitempty"`

	// SSHAddress is where SSH is reached if not at the outpost's address: with a load balancer of its own.
	SSHAddress string `json:"sshAddress,omitempty"`
	// LoadBalancerIP and SSHLoadBalancerIP ask for an address; not every load balancer honours it.
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
	// CA is the CA of the Ingress's certificate, PEM, if it is not a public one.
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

// Encrypted reports whether the API speaks TLS.
func (e Exposure) Encrypted() bool {
	if e.Type == "" || e.Type == exposure.ClusterIP {
		return false
	}
	return e.TLS == nil || *e.TLS
}

// OwnCertificate reports whether the outpost itself presents the certificate; behind an Ingress the controller does.
func (e Exposure) OwnCertificate() bool { return e.Encrypted() && e.Type != exposure.Ingress }

// twoServices is what is wrong with an exposure whose SSH address nobody can know.
const twoServices = "want the address of the SSH Service, which has one of its own; " +
	"name it even if both Services share one"

// Validate returns the keys that the type needs and that are missing, and those that have no effect with it, for an
// outpost at an address. Paths begin with the JSON name of the key.
func (e Exposure) Validate(address string) []schema.Fault {
	faults := exposure.Check(e.Type,
		exposure.KeyOf("tls", e.TLS != nil, exposure.NodePort, exposure.LoadBalancer, exposure.Ingress),
		exposure.KeyOf("apiNodePort", e.APINodePort != 0, exposure.NodePort),
		exposure.KeyOf("sshNodePort", e.SSHNodePort != 0, exposure.NodePort, exposure.Ingress),
		exposure.KeyOf("sshAddress", e.SSHAddress != "", exposure.LoadBalancer, exposure.Ingress),
		exposure.KeyOf("loadBalancerIP", e.LoadBalancerIP != "", exposure.LoadBalancer),
		exposure.KeyOf("sshLoadBalancerIP", e.SSHLoadBalancerIP != "", exposure.LoadBalancer, exposure.Ingress),
		exposure.KeyOf("annotations", len(e.Annotations) > 0, exposure.LoadBalancer, exposure.Ingress),
		exposure.KeyOf("sshAnnotations", len(e.SSHAnnotations) > 0, exposure.LoadBalancer, exposure.Ingress),
		exposure.KeyOf("className", e.ClassName != "", exposure.Ingress),
		exposure.KeyOf("tlsSecret", e.TLSSecret != "", exposure.Ingress),
		exposure.KeyOf("ca", e.CA != "", exposure.Ingress),
	)
	switch e.Type {
	case exposure.NodePort:
		if e.APINodePort == 0 {
			faults.Add("apiNodePort", "")
		}
		if e.SSHNodePort == 0 {
			faults.Add("sshNodePort", "")
		}
		if e.APINodePort != 0 && e.APINodePort == e.SSHNodePort {
			faults.Add("sshNodePort", "is the same as apiNodePort; choose another")
		}
	case exposure.LoadBalancer:
		if e.SSHAddress == "" {
			faults.Add("sshAddress", twoServices)
		}
	case exposure.Ingress:
		if e.SSHAddress == "" && e.SSHNodePort == 0 {
			faults.Add("sshAddress", twoServices)
		}
		if net.ParseIP(address) != nil {
			faults.Add("type", "an Ingress needs a DNS name as address, not %s", address)
		}
		if e.Encrypted() && e.TLSSecret == "" {
			faults.Add("tlsSecret",
				"name the Secret with the certificate, even if cert-manager makes it, or set tls: false")
		}
		if !e.Encrypted() && e.TLSSecret != "" {
			faults.Add("tlsSecret", "has no effect with tls: false")
		}
	}
	return faults
}

// Endpoint says where an outpost with this exposure is reached at an address.
func (e Exposure) Endpoint(address string) Endpoint {
	scheme := "http"
	if e.Encrypted() {
		scheme = "https"
	}
	at := Endpoint{SSHHost: cmp.Or(e.SSHAddress, address), SSHPort: cmp.Or(e.SSHNodePort, sshPort)}
	switch e.Type {
	case exposure.NodePort:
		at.API = scheme + "://" + net.JoinHostPort(address, strconv.Itoa(e.APINodePort))
	case exposure.Ingress:
		at.API = scheme + "://" + address
	default:
		at.API = scheme + "://" + net.JoinHostPort(address, strconv.Itoa(apiPort))
	}
	return at
}

// InCluster says where an outpost is reached from the cluster it is in: the published address.
func InCluster(namespace string) Endpoint {
	host := Release + "." + namespace + ".svc"
	return Endpoint{API: "http://" + net.JoinHostPort(host, strconv.Itoa(apiPort)), SSHHost: host, SSHPort: sshPort}
}
