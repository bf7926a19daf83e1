package outpost

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/outposts-dev/outposts/infra/schema"
)

// Ways to reach an outpost from outside its cluster.
const (
	ClusterIP    = "clusterIP"    // not at all: for a hub in the same cluster
	NodePort     = "nodePort"     // a port of every node
	LoadBalancer = "loadBalancer" // an address of its own
	Ingress      = "ingress"      // the API by an Ingress; SSH beside it, by a node port or a load balancer
)

var types = []string{ClusterIP, NodePort, LoadBalancer, Ingress}

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
	if e.Type == "" || e.Type == ClusterIP {
		return false
	}
	return e.TLS == nil || *e.TLS
}

// OwnCertificate reports whether the outpost itself presents the certificate; behind an Ingress the controller does.
func (e Exposure) OwnCertificate() bool { return e.Encrypted() && e.Type != Ingress }

// Validate returns the keys that the type needs and that are missing, and those that have no effect with it, for an
// outpost at an address. Paths begin with the JSON name of the key.
func (e Exposure) Validate(address string) []schema.Fault {
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
		{"tls", e.TLS != nil, []string{NodePort, LoadBalancer, Ingress}},
		{"apiNodePort", e.APINodePort != 0, []string{NodePort}},
		{"sshNodePort", e.SSHNodePort != 0, []string{NodePort, Ingress}},
		{"sshAddress", e.SSHAddress != "", []string{LoadBalancer, Ingress}},
		{"loadBalancerIP", e.LoadBalancerIP != "", []string{LoadBalancer}},
		{"sshLoadBalancerIP", e.SSHLoadBalancerIP != "", []string{LoadBalancer, Ingress}},
		{"annotations", len(e.Annotations) > 0, []string{LoadBalancer, Ingress}},
		{"sshAnnotations", len(e.SSHAnnotations) > 0, []string{LoadBalancer, Ingress}},
		{"className", e.ClassName != "", []string{Ingress}},
		{"tlsSecret", e.TLSSecret != "", []string{Ingress}},
		{"ca", e.CA != "", []string{Ingress}},
	} {
		if key.set && !slices.Contains(key.types, e.Type) {
			add(key.name, "has no effect with exposure type %s", e.Type)
		}
	}
	switch e.Type {
	case NodePort:
		if e.APINodePort == 0 {
			add("apiNodePort", "")
		}
		if e.SSHNodePort == 0 {
			add("sshNodePort", "")
		}
		if e.APINodePort != 0 && e.APINodePort == e.SSHNodePort {
			add("sshNodePort", "is the same as apiNodePort; choose another")
		}
	case Ingress:
		if net.ParseIP(address) != nil {
			add("type", "an Ingress needs a DNS name as address, not %s", address)
		}
		if e.Encrypted() && e.TLSSecret == "" {
			add("tlsSecret", "name the Secret with the certificate, even if cert-manager makes it, or set tls: false")
		}
		if !e.Encrypted() && e.TLSSecret != "" {
			add("tlsSecret", "has no effect with tls: false")
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
	at := Endpoint{SSHHost: address, SSHPort: sshPort}
	if e.SSHAddress != "" {
		at.SSHHost = e.SSHAddress
	}
	switch e.Type {
	case NodePort:
		at.API = scheme + "://" + net.JoinHostPort(address, strconv.Itoa(e.APINodePort))
	case Ingress:
		at.API = scheme + "://" + address
	default:
		at.API = scheme + "://" + net.JoinHostPort(address, strconv.Itoa(apiPort))
	}
	if e.SSHNodePort != 0 {
		at.SSHPort = e.SSHNodePort
	}
	return at
}

// InCluster says where an outpost is reached from the cluster it is in: the published address.
func InCluster(namespace string) Endpoint {
	host := Release + "." + namespace + ".svc"
	return Endpoint{API: "http://" + net.JoinHostPort(host, strconv.Itoa(apiPort)), SSHHost: host, SSHPort: sshPort}
}
