// Package plan derives every address of a cluster from its place in the network, so that nothing has to be
// negotiated and two runs agree.
package plan

import (
	"fmt"
	"net/netip"
	"regexp"
)

// DefaultNetwork is the network of the clusters unless another one is given.
const DefaultNetwork = "10.77.0.0/16"

// Fixed places in the network: the bridge's own address, which is also the registry's, and the
// machine's on the same bridge.
const (
	bridgeHost  = 1
	machineHost = 254
	// FirstIndex is the place of the first cluster.
	FirstIndex = 2
	// LastIndex is the last place: 30 clusters are more than one machine carries.
	LastIndex = 31
)

// RegistryPort is where the local registry listens on the bridge's address.
const RegistryPort = 5000

// Network is a /16 of 10.0.0.0/8 that holds the bridge, the nodes and their LoadBalancer addresses: N.0.0/24 is the
// bridge, N.I.0/24 belongs to the LoadBalancer Services and the Gateways of the cluster with index I.
type Network struct{ prefix netip.Prefix }

// ParseNetwork reads a network such as 10.77.0.0/16.
func ParseNetwork(s string) (Network, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return Network{}, fmt.Errorf("network %q: not a CIDR such as %s", s, DefaultNetwork)
	}
	a := p.Addr()
	if !a.Is4() || p.Bits() != 16 || a.As4()[0] != 10 || p.Masked() != p {
		return Network{}, fmt.Errorf("network %q: must be a /16 of 10.0.0.0/8, such as %s", s, DefaultNetwork)
	}
	if x := a.As4()[1]; x >= 95 && x <= 127 || x == 255 {
		return Network{}, fmt.Errorf(
			"network %q: 10.95 to 10.127 are for Services inside the clusters, and 10.255 has no room above it; "+
				"choose another", s)
	}
	return Network{prefix: p}, nil
}

// Prefix returns the whole /16: the only route that the machine gets.
func (n Network) Prefix() netip.Prefix { return n.prefix }

// Bridge returns the bridge's address, where the registry listens and the nodes send what is not theirs.
func (n Network) Bridge() netip.Addr { return n.host(0, bridgeHost) }

// Machine returns the address of the machine itself on the bridge.
func (n Network) Machine() netip.Addr { return n.host(0, machineHost) }

// Registry returns host and port of the local registry.
func (n Network) Registry() string { return netip.AddrPortFrom(n.Bridge(), RegistryPort).String() }

// String returns the network as a CIDR such as 10.77.0.0/16.
func (n Network) String() string { return n.prefix.String() }

func (n Network) host(third, fourth byte) netip.Addr {
	a := n.prefix.Addr().As4()
	return netip.AddrFrom4([4]byte{a[0], a[1], third, fourth})
}

// LoadBalancers returns the LoadBalancer addresses of the cluster with the given index.
func (n Network) LoadBalancers(index int) netip.Prefix {
	return netip.PrefixFrom(n.host(byte(index), 0), 24)
}

// Node returns the node address of the cluster with the given index.
func (n Network) Node(index int) netip.Addr { return n.host(0, byte(index)) }

// Cluster is the place of one cluster.
type Cluster struct {
	Name    string
	Index   int // FirstIndex to LastIndex
	Network Network
}

var validName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,9}[a-z0-9])?$`)

// CheckName returns what is wrong with a cluster's name. It becomes part of interface names, which have 15 characters.
func CheckName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf(
			"cluster name %q: 1 to 11 characters a-z, 0-9 and -, beginning with a letter and not ending with -", name)
	}
	return nil
}

// Node returns the address of the node and of its API server.
func (c Cluster) Node() netip.Addr { return c.Network.Node(c.Index) }

// Server returns the URL of the API server.
func (c Cluster) Server() string { return fmt.Sprintf("https://%s:6443", c.Node()) }

// LoadBalancers returns the addresses for Services of type LoadBalancer and for Gateways.
func (c Cluster) LoadBalancers() netip.Prefix { return c.Network.LoadBalancers(c.Index) }

// ServicePool returns the lower half of LoadBalancers, for Services: what is sent there reaches their pods.
func (c Cluster) ServicePool() netip.Prefix { return netip.PrefixFrom(c.LoadBalancers().Addr(), 25) }

// GatewayPool returns the upper half of LoadBalancers, for Gateways: these are addresses of the node itself.
func (c Cluster) GatewayPool() netip.Prefix {
	a := c.LoadBalancers().Addr().As4()
	a[3] = 128
	return netip.PrefixFrom(netip.AddrFrom4(a), 25)
}

// Pods returns the addresses of pods, known only inside the node: what leaves it has the node's address. There are
// 2,046, since an address that was given back rests for a while: more than the kubelet's maxPods.
func (c Cluster) Pods() netip.Prefix {
	a := c.Network.prefix.Addr().As4()
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{a[0], a[1] + 1, byte(8 * c.Index), 0}), 21)
}

// Services returns the addresses of Services, known only inside the node.
func (c Cluster) Services() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(96 + c.Index - FirstIndex), 0, 0}), 16)
}

// APIService returns the address of the Service `kubernetes`.
func (c Cluster) APIService() netip.Addr { return c.Services().Addr().Next() }

// DNS returns the address of the cluster's DNS.
func (c Cluster) DNS() netip.Addr {
	a := c.Services().Addr().As4()
	a[3] = 10
	return netip.AddrFrom4(a)
}

// MAC returns the node's hardware address. A new one after a restart would leave stale neighbour
// entries for up to 30 s.
func (c Cluster) MAC() string { return MAC(c.Node()) }

// MAC derives a locally administered hardware address from an IPv4 address.
func MAC(address netip.Addr) string {
	a := address.As4()
	return fmt.Sprintf("02:77:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3])
}

// Link returns the name of the cluster's port on the bridge.
func (c Cluster) Link() string { return "n-" + c.Name }
