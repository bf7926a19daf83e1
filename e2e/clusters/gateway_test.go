//go:build e2e

package clusters

import (
	"fmt"
	"strings"
	"testing"
)

// testGateway holds that a Gateway gets an address of its own, on which it serves HTTPS with the certificate of a
// Secret, WebSockets and plain TCP, that a route which no listener takes is told why, and that the definitions of the
// Gateway API cannot be replaced by older ones.
func (tb *testbed) testGateway(t *testing.T) {
	const ns, host = "gateway", "web.example.test"
	c := tb.t1
	pair := tb.web(t, ns, host)
	c.kubectl(t, fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: outposts
  listeners:
  - {name: https, port: 443, protocol: HTTPS, hostname: %[1]s, tls: {certificateRefs: [{name: web-tls}]}}
  - {name: ssh, port: 22, protocol: TCP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: other}
spec:
  gatewayClassName: outposts
  listeners: [{name: https, port: 443, protocol: TLS, tls: {mode: Passthrough}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: web, sectionName: https}]
  hostnames: [%[1]s]
  rules: [{backendRefs: [{name: web, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: ssh}
spec:
  parentRefs: [{name: web, sectionName: ssh}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: stray}
spec:
  parentRefs: [{name: web, sectionName: https}]
  hostnames: [elsewhere.example.test]
  rules: [{backendRefs: [{name: web, port: 80}]}]
`, host), "-n", ns, "apply", "-f", "-")

	c.kubectl(t, "", "-n", ns, "wait", "gateway", "--all", "--for=condition=Programmed", "--timeout=60s")
	address := func(gateway string) string {
		return c.kubectl(t, "", "-n", ns, "get", "gateway", gateway, "-o", "jsonpath={.status.addresses[0].value}")
	}
	web := address("web")
	if other := address("other"); web == "" || web == other {
		t.Errorf("the Gateways have the addresses %q and %q", web, other)
	}
	eventually(t, "TLS with the Secret's certificate", func() error {
		got, err := get(t.Context(), clientFor(web, pair.pool), "https://"+host+"/a/b")
		return want(err, got, "for "+host+"/a/b proto https")
	})
	webSocket(t, web, host, pair.pool)
	eventually(t, "TCP", func() error {
		got, err := get(t.Context(), clientFor(web, nil), "http://"+host+":22/")
		return want(err, got, "hello from asker on t1")
	})
	tb.fromOther(t, ns, web+":443")
	eventually(t, "why the stray route is not served", func() error {
		got := c.kubectl(t, "", "-n", ns, "get", "httproute", "stray", "-o",
			`jsonpath={.status.parents[0].conditions[?(@.type=="Accepted")].reason}`)
		return want(nil, got, "NoMatchingListenerHostname")
	})
	out, err := c.tryKubectl(t, "", "annotate", "--overwrite", "crd", "gateways.gateway.networking.k8s.io",
		"gateway.networking.k8s.io/bundle-version=v1.2.0")
	if err == nil || !strings.Contains(out, "safe-upgrades") {
		t.Errorf("the definition of an older release: %v %s", err, out)
	}
}
