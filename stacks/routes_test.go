package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/infra/cluster"
)

// gatewayConfig is a hub and its outpost in one cluster, both by the same Gateway, the outpost for hubs elsewhere.
const gatewayConfig = `
config:
  outposts:cluster: {kubeconfig: /k, context: local}
  outposts:hub:
    url: https://hub.example.org
    exposure: {type: gateway, gateway: {name: public, namespace: gateways, sectionName: https}, host: hub.example.org}
  outposts:outposts: [{name: local}]
  outposts:outpost:
    address: outpost.example.org
    exposure:
      type: gateway
      gateway: {name: public, namespace: gateways}
      sshGateway: {name: public, namespace: gateways, sectionName: ssh}
`

// publicGateway has a listener for each route of gatewayConfig.
func publicGateway() map[cluster.Object]*cluster.Gateway {
	return map[cluster.Object]*cluster.Gateway{{Namespace: "gateways", Name: "public"}: {
		Class: "class",
		Listeners: []cluster.Listener{
			{Name: "http", Protocol: "HTTP", Port: 80},
			{Name: "https", Protocol: "HTTPS", Port: 443},
			{Name: "ssh", Protocol: "TCP", Port: 22},
		},
		Addresses: []string{"192.0.2.1"},
	}}
}

// TestRoutesNeedTheirListener holds what the cluster must have of the Gateway API before anything is written to it, and
// that what is missing is named with the way out.
func TestRoutesNeedTheirListener(t *testing.T) {
	http := cluster.RouteKind{Kind: cluster.HTTPRoute, Version: "v1"}
	tcp, alpha := cluster.RouteKind{Kind: cluster.TCPRoute, Version: "v1"},
		cluster.RouteKind{Kind: cluster.TCPRoute, Version: "v1alpha2"}
	const has = "it has http (HTTP, port 80), https (HTTPS, port 443), ssh (TCP, port 22); nothing was changed"
	const install = "install the CRDs of the Gateway API " +
		"(https://gateway-api.sigs.k8s.io/guides/getting-started/) and a controller of them, or choose another " +
		"type; nothing was changed"
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name    string
		changes map[string]string
		change  func(*fakeCluster)
		want    []string
	}{
		{"all there", nil, func(*fakeCluster) {}, nil},
		{"a Gateway that may not be read", nil, func(f *fakeCluster) {
			clear(f.gateways)
			f.gateways[cluster.Object{Namespace: "gateways", Name: "public"}] = nil
		}, nil},
		{"no CRDs", nil, func(f *fakeCluster) { f.unserved = []cluster.RouteKind{http, tcp, alpha} }, []string{
			"outposts:hub.exposure.gateway: the cluster does not know HTTPRoute gateway.networking.k8s.io/v1; " + install,
			"outposts:outpost.exposure.gateway: the cluster does not know HTTPRoute gateway.networking.k8s.io/v1; " + install,
			"outposts:outpost.exposure.sshGateway: the cluster does not know TCPRoute gateway.networking.k8s.io/v1; " + install,
		}},
		{"older CRDs", nil, func(f *fakeCluster) { f.unserved = []cluster.RouteKind{tcp} }, []string{
			"outposts:outpost.exposure.sshGateway: the cluster does not know TCPRoute gateway.networking.k8s.io/v1, but TCPRoute gateway.networking.k8s.io/v1alpha2; set outposts:outpost.values.tcpRoute.version: v1alpha2; nothing was changed",
		}},
		{"older CRDs, and so said", map[string]string{"outpost.values": "{tcpRoute: {version: v1alpha2}}"}, func(f *fakeCluster) { f.unserved = []cluster.RouteKind{tcp} }, nil},
		{"no Gateway", map[string]string{"hub.exposure.gateway.name": "publik"}, func(*fakeCluster) {}, []string{
			"outposts:hub.exposure.gateway: Gateway gateways/publik does not exist; make it, or name another; namespace gateways has public; nothing was changed",
		}},
		{"no Gateway in the namespace of the route", map[string]string{"hub.exposure.gateway": "{name: public}"}, func(*fakeCluster) {}, []string{
			"outposts:hub.exposure.gateway: Gateway jupyter/public does not exist; make it, or name another; namespace jupyter has none; nothing was changed",
		}},
		{"no listener", map[string]string{"hub.exposure.gateway.sectionName": "tls", "outpost.exposure.sshGateway.sectionName": "sh"}, func(*fakeCluster) {}, []string{
			"outposts:hub.exposure.gateway: Gateway gateways/public has no listener tls; " + has,
			"outposts:outpost.exposure.sshGateway: Gateway gateways/public has no listener sh; " + has,
		}},
		{"a listener with TLS", map[string]string{"outpost.exposure.tls": "false", "outpost.exposure.gateway.sectionName": "https"}, func(*fakeCluster) {}, []string{
			"outposts:outpost.exposure.gateway: listener https of Gateway gateways/public has protocol HTTPS: name one of protocol HTTP, or set tls beside it to what the listener speaks; " + has,
		}},
		{"no listener for SSH", map[string]string{"outpost.exposure.sshGateway": "{name: public, namespace: gateways}"}, func(f *fakeCluster) {
			for _, gateway := range f.gateways {
				gateway.Listeners = gateway.Listeners[:2]
			}
		}, []string{
			"outposts:outpost.exposure.sshGateway: Gateway gateways/public has no listener for it: name one of protocol TCP; it has http (HTTP, port 80), https (HTTPS, port 443); nothing was changed",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			api := fakeCluster{identity: "a", gateways: publicGateway()}
			tt.change(&api)
			_, err := checked(loaded(t, gatewayConfig, tt.changes), api, state{})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if want := strings.Join(tt.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestRoutesBehindSomething warns of a listener that clients reach only if something is in front of the Gateway, which
// ends TLS or maps a port; both are common, and so are both mistakes.
func TestRoutesBehindSomething(t *testing.T) {
	const out = ", unless something in front of the Gateway maps the port"
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name    string
		changes map[string]string
		ssh     int
		want    []string
	}{
		{"as they are", nil, 22, nil},
		{"a listener without TLS", map[string]string{"hub.exposure.gateway.sectionName": "http"}, 22, []string{
			"outposts:hub.exposure.gateway: listener http of Gateway gateways/public has protocol HTTP: TLS must end in front of the Gateway; if it does not, name one of protocol HTTPS, or set the scheme of outposts:hub.url to the listener's; it has http (HTTP, port 80), https (HTTPS, port 443), ssh (TCP, port 22)",
		}},
		{"ports", map[string]string{"hub.url": "https://hub.example.org:8443", "outpost.exposure.apiPort": "8444"}, 2222, []string{
			"outposts:hub.exposure.gateway: listener https of Gateway gateways/public has port 443, not 8443; set the port of outposts:hub.url to 443" + out,
			"outposts:outpost.exposure.gateway: listener https of Gateway gateways/public has port 443, not 8444; set apiPort beside it to 443" + out,
			"outposts:outpost.exposure.sshGateway: listener ssh of Gateway gateways/public has port 2222, not 22; set sshPort beside it to 2222" + out,
		}},
		{"ports as said", map[string]string{"outpost.exposure.sshPort": "2222"}, 2222, nil},
		{"plain HTTP", map[string]string{"outpost.exposure.tls": "false"}, 22, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			api := fakeCluster{identity: "a", gateways: publicGateway()}
			for _, gateway := range api.gateways {
				gateway.Listeners[2].Port = tt.ssh
			}
			got, err := preflightAlone(loaded(t, gatewayConfig, tt.changes), api, state{})
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%v; warnings (-want +got):\n%s", err, diff)
			}
		})
	}
}
