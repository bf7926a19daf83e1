package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustNetwork(t *testing.T, s string) Network {
	t.Helper()
	n, err := ParseNetwork(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestParseNetworkRefuses(t *testing.T) {
	for _, s := range []string{
		"", "10.77.0.0", "10.77.0.0/24", "10.77.1.0/16", "172.16.0.0/16", "fd00::/16", "10.95.0.0/16", "10.100.0.0/16",
		"10.127.0.0/16", "10.255.0.0/16",
	} {
		if _, err := ParseNetwork(s); err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("ParseNetwork(%q): %v", s, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	describe := func(c Cluster) map[string]string {
		return map[string]string{
			"node": c.Node().String(), "server": c.Server(), "pods": c.Pods().String(),
			"services": c.Services().String(), "api": c.APIService().String(),
			"dns": c.DNS().String(), "loadbalancers": c.LoadBalancers().String(),
			"service pool": c.ServicePool().String(), "gateway pool": c.GatewayPool().String(),
			"mac": c.MAC(), "link": c.Link(),
			"bridge": c.Network.Bridge().String(), "machine": c.Network.Machine().String(),
			"registry": c.Network.Registry(),
		}
	}
	for _, test := range []struct {
		cluster Cluster
		want    map[string]string
	}{
		{Cluster{"local", 2, mustNetwork(t, DefaultNetwork)}, map[string]string{
			"node": "10.77.0.2", "server": "https://10.77.0.2:6443", "pods": "10.78.16.0/21",
			"services": "10.96.0.0/16", "api": "10.96.0.1",
			"dns": "10.96.0.10", "loadbalancers": "10.77.2.0/24",
			"service pool": "10.77.2.0/25", "gateway pool": "10.77.2.128/25",
			"mac": "02:77:0a:4d:00:02", "link": "n-local",
			"bridge": "10.77.0.1", "machine": "10.77.0.254", "registry": "10.77.0.1:5000",
		}},
		{Cluster{"last", LastIndex, mustNetwork(t, "10.9.0.0/16")}, map[string]string{
			"node": "10.9.0.31", "server": "https://10.9.0.31:6443", "pods": "10.10.248.0/21",
			"services": "10.125.0.0/16", "api": "10.125.0.1",
			"dns": "10.125.0.10", "loadbalancers": "10.9.31.0/24",
			"service pool": "10.9.31.0/25", "gateway pool": "10.9.31.128/25",
			"mac": "02:77:0a:09:00:1f", "link": "n-last",
			"bridge": "10.9.0.1", "machine": "10.9.0.254", "registry": "10.9.0.1:5000",
		}},
	} {
		if diff := cmp.Diff(test.want, describe(test.cluster)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.cluster.Name, diff)
		}
	}
}

// TestNothingOverlaps holds that no two clusters share an address, nor one with the network between them.
func TestNothingOverlaps(t *testing.T) {
	for _, network := range []string{DefaultNetwork, "10.0.0.0/16", "10.94.0.0/16", "10.128.0.0/16", "10.254.0.0/16"} {
		n := mustNetwork(t, network)
		for i := FirstIndex; i <= LastIndex; i++ {
			a := Cluster{"a", i, n}
			if a.Pods().Overlaps(n.Prefix()) || a.Services().Overlaps(n.Prefix()) || a.Services().Overlaps(a.Pods()) {
				t.Errorf("%s, index %d: pods %s and services %s", network, i, a.Pods(), a.Services())
			}
			for j := i + 1; j <= LastIndex; j++ {
				b := Cluster{"b", j, n}
				if a.Node() == b.Node() || a.Pods().Overlaps(b.Pods()) || a.Services().Overlaps(b.Services()) ||
					a.LoadBalancers().Overlaps(b.LoadBalancers()) {
					t.Errorf("%s: indexes %d and %d overlap", network, i, j)
				}
			}
		}
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"local": true, "t1": true, "a-b": true, "x": true, "elevenchars": true,
		"": false, "twelve-chars": false, "Upper": false, "1st": false, "end-": false,
		"a_b": false, "../up": false, "a b": false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("CheckName(%q): %v", name, err)
		}
	}
}
