package source

import (
	"net/netip"
	"testing"
)

func TestOf(t *testing.T) {
	for _, test := range []struct{ address, want string }{
		{"10.0.0.7", "10.0.0.7/32"},
		{"::ffff:10.0.0.7", "10.0.0.7/32"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"2001:db8:1:2::9", "2001:db8:1:2::/64"},
		{"2001:db8:1:3::9", "2001:db8:1:3::/64"},
		{"fe80::1%eth0", "fe80::/64"},
	} {
		if got := Of(netip.MustParseAddr(test.address)); got != netip.MustParsePrefix(test.want) {
			t.Errorf("%s: got %s, want %s", test.address, got, test.want)
		}
	}
	if got := Of(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("no address: got %s, want the zero prefix", got)
	}
}
