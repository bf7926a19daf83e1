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

// Exposure is how the API and SSH of an outpost are reached. The zero value is exposure.ClusterIP. An Ingress or an
// HTTPRoute is for the API; SSH is beside it, by a TCPRoute, a node port or a load balancer. The JSON names are those
// of the stack config and of what one stack tells another.
type Exposure struct {
	// Type is one of the constants of package exposure.
	Type string `json:"type,omitempty"`
	// TLS switches TLS on the API off; default true, except with ClusterIP, which has none.
	TLS *bool `json:"tls,omitempty"`

	// APINodePort and SSHNodePort are for NodePort; SSHNodePort also for Gateway and Ingress.
	APINodePort int `json:"apiNodePort,omitempty"`
	SSHNodePort int `json:"sshNodePort,omitempty"`

	// SSHAddress is where SSH is reached if not at the outpost's address: with a load balancer of its own.
	SSHAddress string `json:"sshAddress,omitempty"`
	// LoadBalancerIP and SSHLoadBalancerIP ask for an address; not every load balancer honours it.
	LoadBalancerIP    string `json:"loadBalancerIP,omitempty"`
	SSHLoadBalancerIP string `json:"sshLoadBalancerIP,omitempty"`
	// Annotations are those of the API's Service (LoadBalancer), HTTPRoute or Ingress; SSHAnnotations those of SSH's
	// Service or TCPRoute.
	Annotations    map[string]string `json:"annotations,omitempty"`
	SSHAnnotations map[string]string `json:"sshAnnotations,omitempty"`

	// Gateway has the API's HTTPRoute and its certificate; it listens on APIPort, by default 443, or 80 without TLS.
	Gateway *exposure.GatewayRef `json:"gateway,omitempty"`
	APIPort int                  `json:"apiPort,omitempty"`
	// SSHGateway has the TCPRoute of SSH; it listens on SSHPort, by default 22. Without it SSH has a Service that is
	// exposed by itself: a server name, by which a TLSRoute goes, is not in SSH.
	SSHGateway *exposure.GatewayRef `json:"sshGateway,omitempty"`
	SSHPort    int                  `json:"sshPort,omitempty"`

	// ClassName is the Ingress's class.
	ClassName string `json:"className,omitempty"`
	// TLSSecret names the Secret with the Ingress's certificate: made by cert-manager, if Annotations ask it to, or
	// beforehand.
	TLSSecret string `json:"tlsSecret,omitempty"`
	// CA is the CA of the certificate of Gateway or Ingress, PEM, if it is not a public one.
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

// Outside reports whether it is a way from outside the cluster.
func (e Exposure) Outside() bool { return e.Type != "" && e.Type != exposure.ClusterIP }

// Encrypted reports whether the API speaks TLS.
func (e Exposure) Encrypted() bool {
	if !e.Outside() {
		return false
	}
	return e.TLS == nil || *e.TLS
}

// OwnCertificate reports whether the outpost itself presents the certificate; behind a Gateway or an Ingress that does.
func (e Exposure) OwnCertificate() bool {
	return e.Encrypted() && e.Type != exposure.Gateway && e.Type != exposure.Ingress
}

// twoServices is what is wrong with an exposure whose SSH address nobody can know.
const twoServices = "want the address of the SSH Service, which has one of its own; " +
	"name it even if both Services share one"

// Validate returns the keys that the type needs and that are missing, and those that have no effect with it, for an
// outpost at an address. Paths begin with the JSON name of the key.
func (e Exposure) Validate(address string) []schema.Fault {
	faults := e.withoutEffect()
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
	case exposure.Gateway, exposure.Ingress:
		if net.ParseIP(address) != nil {
			faults.Add("type", "%s needs a DNS name as address, not %s", exposure.Called(e.Type), address)
		}
		if e.Type == exposure.Gateway {
			e.checkGateway(&faults)
		} else {
			e.checkIngress(&faults)
		}
	}
	return faults
}

// withoutEffect returns the keys that are set and have no effect with the type.
func (e Exposure) withoutEffect() schema.Faults {
	const nodePort, balancer, gateway, ingress = exposure.NodePort, exposure.LoadBalancer, exposure.Gateway,
		exposure.Ingress
	return exposure.Check(e.Type,
		exposure.KeyOf("tls", e.TLS != nil, nodePort, balancer, gateway, ingress),
		exposure.KeyOf("apiNodePort", e.APINodePort != 0, nodePort),
		exposure.KeyOf("sshNodePort", e.SSHNodePort != 0, nodePort, gateway, ingress),
		exposure.KeyOf("sshAddress", e.SSHAddress != "", balancer, gateway, ingress),
		exposure.KeyOf("loadBalancerIP", e.LoadBalancerIP != "", balancer),
		exposure.KeyOf("sshLoadBalancerIP", e.SSHLoadBalancerIP != "", balancer, gateway, ingress),
		exposure.KeyOf("annotations", len(e.Annotations) > 0, balancer, gateway, ingress),
		exposure.KeyOf("sshAnnotations", len(e.SSHAnnotations) > 0, balancer, gateway, ingress),
		exposure.KeyOf("gateway", e.Gateway != nil, gateway),
		exposure.KeyOf("apiPort", e.APIPort != 0, gateway),
		exposure.KeyOf("sshGateway", e.SSHGateway != nil, gateway),
		exposure.KeyOf("sshPort", e.SSHPort != 0, gateway),
		exposure.KeyOf("className", e.ClassName != "", ingress),
		exposure.KeyOf("tlsSecret", e.TLSSecret != "", ingress),
		exposure.KeyOf("ca", e.CA != "", gateway, ingress),
	)
}

// checkIngress finds what an Ingress lacks.
func (e Exposure) checkIngress(faults *schema.Faults) {
	if e.SSHAddress == "" && e.SSHNodePort == 0 {
		faults.Add("sshAddress", twoServices)
	}
	if e.Encrypted() && e.TLSSecret == "" {
		faults.Add("tlsSecret",
			"name the Secret with the certificate, even if cert-manager makes it, or set tls: false")
	}
	if !e.Encrypted() && e.TLSSecret != "" {
		faults.Add("tlsSecret", "has no effect with tls: false")
	}
}

// checkGateway finds what an exposure by Gateway lacks, and keys for another way of SSH than the one there is.
func (e Exposure) checkGateway(faults *schema.Faults) {
	if e.Gateway == nil {
		faults.Add("gateway", "")
	}
	if e.SSHGateway == nil {
		if e.SSHAddress == "" && e.SSHNodePort == 0 {
			faults.Add("sshAddress", twoServices+", or name a listener for SSH as sshGateway")
		}
		if e.SSHPort != 0 {
			faults.Add("sshPort", "has no effect without sshGateway")
		}
		return
	}
	if e.Gateway != nil && *e.Gateway == *e.SSHGateway && e.SSHGateway.SectionName != "" {
		faults.Add("sshGateway", "%s is the listener of the API; want one of protocol TCP", e.SSHGateway.SectionName)
	}
	if e.SSHNodePort != 0 {
		faults.Add("sshNodePort", "has no effect with sshGateway")
	}
	if e.SSHLoadBalancerIP != "" {
		faults.Add("sshLoadBalancerIP", "has no effect with sshGateway")
	}
	if g := e.Gateway; g != nil && (g.Name != e.SSHGateway.Name || g.Namespace != e.SSHGateway.Namespace) &&
		e.SSHAddress == "" {
		faults.Add("sshAddress", "want the address of Gateway %s, which is another than that of the API",
			e.SSHGateway.Name)
	}
}

// Endpoint says where an outpost with this exposure is reached at an address.
func (e Exposure) Endpoint(address string) Endpoint {
	scheme := "http"
	if e.Encrypted() {
		scheme = "https"
	}
	at := Endpoint{SSHHost: cmp.Or(e.SSHAddress, address), SSHPort: cmp.Or(e.SSHNodePort, e.SSHPort, sshPort)}
	switch e.Type {
	case exposure.NodePort:
		at.API = scheme + "://" + net.JoinHostPort(address, strconv.Itoa(e.APINodePort))
	case exposure.Gateway, exposure.Ingress:
		at.API = scheme + "://" + address
		if e.APIPort != 0 && e.APIPort != map[string]int{"http": 80, "https": 443}[scheme] {
			at.API += ":" + strconv.Itoa(e.APIPort)
		}
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
