package bridge

import (
	"strings"
	"testing"

	"github.com/outposts-dev/outposts/dev/clusters/plan"
)

func TestConflict(t *testing.T) {
	network, err := plan.ParseNetwork(plan.DefaultNetwork)
	if err != nil {
		t.Fatal(err)
	}
	const quiet = `{"dst":"default","gateway":"192.0.2.1","dev":"eth0"},{"dst":"192.0.2.0/24","dev":"eth0"},` +
		`{"type":"local","dst":"127.0.0.0/8","dev":"lo","table":"local"},`
	const ours = `{"dst":"10.77.0.0/16","gateway":"10.77.0.1","dev":"outposts77"},` +
		`{"type":"local","dst":"10.77.0.254","dev":"outposts77","table":"local"}`
	for _, test := range []struct {
		name, routes, want string
	}{
		{"none", quiet + `{"dst":"10.78.0.0/16","dev":"docker0"}`, ""},
		{"our own", quiet + ours, ""},
		{
			"inside ours", quiet + `{"dst":"10.77.3.0/24","gateway":"192.0.2.7","dev":"eth0"}`,
			"10.77.3.0/24 via 192.0.2.7 dev eth0",
		},
		{"around ours", quiet + `{"dst":"10.0.0.0/8","dev":"tun0"}`, "10.0.0.0/8 dev tun0"},
		{
			"one address", quiet + `{"type":"local","dst":"10.77.9.9","dev":"eth1","table":"local"}`,
			"10.77.9.9 dev eth1 table local",
		},
		{
			"in another table", quiet + `{"dst":"10.77.0.0/16","dev":"wg0","table":"51820"}`,
			"10.77.0.0/16 dev wg0 table 51820",
		},
		{"everything, as a route", quiet + `{"dst":"0.0.0.0/0","dev":"tun0"}`, ""},
		{"the halves of a VPN", quiet + `{"dst":"0.0.0.0/1","dev":"tun0"}`, "0.0.0.0/1 dev tun0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := conflict(network, []byte("["+test.routes+"]"))
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" &&
				(err == nil || !strings.Contains(err.Error(), "collides with a route of this machine: "+test.want+";")):
				t.Errorf("%v, want %q in it", err, test.want)
			}
		})
	}
}
