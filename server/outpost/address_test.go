package outpost_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/outpost"
)

func TestParseAddress(t *testing.T) {
	type parts struct {
		Host, Port string
		OK         bool
	}
	for address, want := range map[string]parts{
		"http://lab.outpost.svc:8888": {"lab.outpost.svc", "8888", true},
		"http://10.1.2.3:1":           {"10.1.2.3", "1", true},
		"http://a:65535":              {"a", "65535", true},
		"http://a:65536":              {},
		"http://a:0":                  {},
		"http://a:08":                 {},
		"http://a":                    {},
		"http://a:1/":                 {},
		"http://a:1\n":                {},
		"https://a:1":                 {},
		"a:1":                         {},
		"http://A:1":                  {},
		"http://-a:1":                 {},
		"http://a.:1":                 {},
		"http://[::1]:1":              {},
		"http://u@a:1":                {},
		"http://$(id):1":              {},
		"":                            {},
	} {
		host, port, ok := outpost.ParseAddress(address)
		if diff := cmp.Diff(want, parts{host, port, ok}); diff != "" {
			t.Errorf("%q (-want +got):\n%s", address, diff)
		}
		if ok && !outpost.IsHost(host) {
			t.Errorf("%q: host %q is refused", address, host)
		}
	}
}
