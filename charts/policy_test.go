package charts

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// reached lists the addresses that a policy lets its pods reach at a port of no ready-made rule.
func reached(t *testing.T, change, policy string, addresses []string) []string {
	t.Helper()
	object, ok := objects(t, with(t, change))["NetworkPolicy "+policy]
	if !ok {
		t.Fatalf("no NetworkPolicy %s", policy)
	}
	var blocks []*networkingv1.IPBlock
	for _, rule := range decode[networkingv1.NetworkPolicy](t, object.text).Spec.Egress {
		for _, peer := range rule.To {
			if peer.IPBlock != nil && len(rule.Ports) == 0 {
				blocks = append(blocks, peer.IPBlock)
			}
		}
	}
	contains := func(cidr, address string) bool {
		return netip.MustParsePrefix(cidr).Contains(netip.MustParseAddr(address))
	}
	return slices.DeleteFunc(slices.Clone(addresses), func(address string) bool {
		return !slices.ContainsFunc(blocks, func(b *networkingv1.IPBlock) bool {
			return contains(b.CIDR, address) &&
				!slices.ContainsFunc(b.Except, func(cidr string) bool { return contains(cidr, address) })
		})
	})
}

// TestWhatIsInternet holds which addresses servers, and the outpost itself, reach by the ready-made rules.
func TestWhatIsInternet(t *testing.T) {
	public := []string{
		"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.0.0.1", "128.0.0.1",
		"169.253.0.1", "172.32.0.1", "192.0.1.1", "192.167.0.1", "198.17.0.1", "198.20.0.1", "223.255.255.255",
		"2001:200::1", "2606:4700::1", "2a00:1450::1", "3fff:ffff::1",
	}
	private := []string{
		"10.0.0.1", "100.64.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
		"192.0.2.1", "198.51.100.1", "203.0.113.1", // documentation, and inside of networks all the same
		"198.18.0.1", "198.19.255.255", "240.0.0.1", "255.255.255.254",
		"fc00::1", "fd00::1",
	}
	metadata := []string{"168.63.129.16", "169.254.169.254", "192.0.0.192", "fd00:ec2::254"}
	never := []string{
		"0.0.0.1", "127.0.0.1", "169.254.0.1", "192.0.0.1", "224.0.0.1", "239.255.255.255",
		"::", "::1", "::10.0.0.1", "::ffff:10.0.0.1", // unspecified, loopback, IPv4 in IPv6
		"64:ff9b::a00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:a00:1::1", "2001::1", // translated, tunnelled
		"100::1", "5f00::1", "4000::1", "fe80::1", "fec0::1", "ff02::1",
	}
	all := slices.Concat(public, private, metadata, never)
	const singleuser, outpost = "outpost-singleuser", "outpost"
	for _, c := range []struct {
		name, policy, change string
		want                 []string
	}{
		{"servers", singleuser, "{}", public},
		{
			"servers with private addresses", singleuser,
			"singleuser: {networkPolicy: {egressAllowRules: {privateIPs: true}}}",
			slices.Concat(public, private),
		},
		{
			"servers with metadata", singleuser,
			"singleuser: {networkPolicy: {egressAllowRules: {cloudMetadataServer: true}}}",
			slices.Concat(public, metadata),
		},
		{
			"servers beside global addresses of their cluster", singleuser,
			"singleuser: {networkPolicy: {clusterCIDRs: [1.1.0.0/16, 10.0.0.0/8, 'fd00:10::/56', '2A00:1450::/56']}}",
			slices.DeleteFunc(slices.Clone(public), func(address string) bool {
				return address == "1.1.1.1" || address == "2a00:1450::1"
			}),
		},
		{"outpost", outpost, "{}", slices.Concat(public, private)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, reached(t, c.change, c.policy, all)); diff != "" {
				t.Errorf("reached (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPoliciesAreValid holds of every address range what the Kubernetes API demands: it parses, and what is excepted is
// a strict subset. That rules out IPv4-mapped ranges (::ffff:0:0/96), which count as IPv4.
func TestPoliciesAreValid(t *testing.T) {
	check := func(block *networkingv1.IPBlock) {
		if block == nil {
			return
		}
		_, cidr, err := net.ParseCIDR(block.CIDR)
		if err != nil {
			t.Error(err)
			return
		}
		for i, except := range block.Except {
			_, inner, err := net.ParseCIDR(except)
			if err != nil {
				t.Error(err)
				continue
			}
			outer, _ := cidr.Mask.Size()
			if size, _ := inner.Mask.Size(); !cidr.Contains(inner.IP) || size <= outer {
				t.Errorf("%s is not a strict subset of %s", except, block.CIDR)
			}
			if slices.Contains(block.Except[:i], except) {
				t.Errorf("%s is excepted twice", except)
			}
		}
	}
	const cluster = "singleuser: {networkPolicy: {clusterCIDRs: " +
		"['::ffff:10.0.0.0/104', 'fd00:10::/56', '2001:db8::/56', 10.0.0.0/8]}}"
	for _, change := range []string{"{}", cluster} {
		for _, policy := range []string{"outpost", "outpost-singleuser"} {
			object := objects(t, with(t, change))["NetworkPolicy "+policy]
			for _, rule := range decode[networkingv1.NetworkPolicy](t, object.text).Spec.Egress {
				for _, peer := range rule.To {
					check(peer.IPBlock)
				}
			}
		}
	}
}

// TestDNSIsReached holds that servers reach the DNS of every kind of cluster: a policy is applied to the pod's own
// port, not to that of the Service.
func TestDNSIsReached(t *testing.T) {
	reaches := func(t *testing.T, change, namespace string, labels map[string]string, port int32) bool {
		t.Helper()
		policy := decode[networkingv1.NetworkPolicy](
			t, objects(t, with(t, change))["NetworkPolicy outpost-singleuser"].text)
		protocols := map[corev1.Protocol]bool{}
		for _, rule := range policy.Spec.Egress {
			if !slices.ContainsFunc(rule.To, func(peer networkingv1.NetworkPolicyPeer) bool {
				return peer.NamespaceSelector != nil && selects(t, peer.NamespaceSelector, map[string]string{
					"kubernetes.io/metadata.name": namespace,
				}) && (peer.PodSelector == nil || selects(t, peer.PodSelector, labels))
			}) {
				continue
			}
			for _, p := range rule.Ports {
				if p.Port.IntVal == port {
					protocols[*p.Protocol] = true
				}
			}
		}
		return protocols[corev1.ProtocolUDP] && protocols[corev1.ProtocolTCP]
	}
	kubeDNS := map[string]string{"k8s-app": "kube-dns"}
	openShift := map[string]string{"dns.operator.openshift.io/daemonset-dns": "default"}
	for _, c := range []struct {
		name, namespace string
		labels          map[string]string
		port            int32
		want            bool
	}{
		{"CoreDNS", "kube-system", kubeDNS, 53, true},
		{"OpenShift", "openshift-dns", openShift, 5353, true},
		{"Gardener", "kube-system", kubeDNS, 8053, true},
		{"another pod of kube-system", "kube-system", nil, 8053, false},
		{"another port of OpenShift's DNS", "openshift-dns", openShift, 9154, false},
		{"another namespace", "other", kubeDNS, 5353, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := reaches(t, "{}", c.namespace, c.labels, c.port); got != c.want {
				t.Errorf("reached is %t, want %t", got, c.want)
			}
			const closed = "singleuser: {networkPolicy: {egressAllowRules: {dns: false}}}"
			if reaches(t, closed, c.namespace, c.labels, c.port) {
				t.Error("reached with dns: false")
			}
		})
	}
}

func selects(t *testing.T, selector *metav1.LabelSelector, of map[string]string) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(labels.Set(of))
}
