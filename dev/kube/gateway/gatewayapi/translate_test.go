package gatewayapi

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gw "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/dev/kube/gateway/proxy"
)

// read makes an object from YAML, of the namespace a unless it says otherwise. Those that are made later are younger.
func read[O metav1.Object](t *testing.T, object O, text string) O {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(strings.TrimSpace(text)), object); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if object.GetNamespace() == "" {
		object.SetNamespace("a")
	}
	age++
	object.SetCreationTimestamp(metav1.NewTime(time.Unix(age, 0)))
	return object
}

var age int64

var pool = netip.MustParsePrefix("10.0.0.128/29")

// cluster has a class, a Gateway with the listeners, and a Service with an endpoint in the namespaces a and b.
func cluster(t *testing.T, listeners string) Objects {
	t.Helper()
	o := Objects{
		Classes: []*gw.GatewayClass{
			read(t, &gw.GatewayClass{}, "metadata: {name: outposts}\nspec: {controllerName: outposts.dev/gateway}"),
			read(t, &gw.GatewayClass{}, "metadata: {name: other}\nspec: {controllerName: example.test/other}"),
		},
		Gateways: []*gw.Gateway{
			read(t, &gw.Gateway{},
				"metadata: {name: g}\nspec: {gatewayClassName: outposts, listeners: ["+listeners+"]}"),
			read(t, &gw.Gateway{}, "metadata: {name: other}\nspec: {gatewayClassName: other}"),
		},
	}
	for _, namespace := range []string{"a", "b"} {
		o.Namespaces = append(o.Namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: namespace, Labels: map[string]string{"name": namespace},
		}})
		o.Services = append(o.Services, read(t, &corev1.Service{},
			"metadata: {name: web, namespace: "+namespace+"}\nspec: {ports: [{name: http, port: 80}]}"))
		o.Slices = append(o.Slices, read(t, &discoveryv1.EndpointSlice{},
			"metadata: {name: web-1, namespace: "+namespace+", labels: {kubernetes.io/service-name: web}}\n"+
				"addressType: IPv4\nports: [{name: http, port: 8080}]\n"+
				"endpoints: [{addresses: [10.1.0.1]}, {addresses: [10.1.0.2], conditions: {ready: false}}]"))
	}
	return o
}

// conditions writes those that are not plainly good as `Type=Reason`.
func conditions(all []metav1.Condition) string {
	var parts []string
	for _, c := range all {
		if c.Status == metav1.ConditionTrue && c.Reason == c.Type || c.Reason == string(gw.ListenerReasonNoConflicts) {
			continue
		}
		parts = append(parts, fmt.Sprintf("%s=%s:%s", c.Type, c.Status, c.Reason))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

func TestListeners(t *testing.T) {
	for name, test := range map[string]struct {
		listeners string
		gateway   string   // what is not good about the Gateway
		want      []string // and about each listener
	}{
		"plain": {"{name: http, port: 80, protocol: HTTP}", "", []string{""}},
		"no Secret": {
			"{name: web, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: lost}]}}",
			"Programmed=False:Invalid ResolvedRefs=False:ListenersNotResolved",
			[]string{"Programmed=False:Invalid ResolvedRefs=False:InvalidCertificateRef"},
		},
		"a Secret of another namespace": {
			"{name: web, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: tls, namespace: b}]}}",
			"Programmed=False:Invalid ResolvedRefs=False:ListenersNotResolved",
			[]string{"Programmed=False:Invalid ResolvedRefs=False:RefNotPermitted"},
		},
		"a protocol that is not supported": {
			"{name: udp, port: 53, protocol: UDP}, {name: http, port: 80, protocol: HTTP}",
			"Accepted=True:ListenersNotValid",
			[]string{"Accepted=False:UnsupportedProtocol Programmed=False:Invalid", ""},
		},
		"two protocols on a port": {
			"{name: http, port: 80, protocol: HTTP}, {name: tcp, port: 80, protocol: TCP}",
			"Accepted=False:ListenersNotValid Programmed=False:Invalid",
			[]string{
				"Accepted=False:ProtocolConflict Conflicted=True:ProtocolConflict Programmed=False:Invalid",
				"Accepted=False:ProtocolConflict Conflicted=True:ProtocolConflict Programmed=False:Invalid",
			},
		},
		"a kind of route that is not the protocol's": {
			"{name: tcp, port: 22, protocol: TCP, allowedRoutes: {kinds: [{kind: HTTPRoute}]}}",
			"Programmed=False:Invalid ResolvedRefs=False:ListenersNotResolved",
			[]string{"Programmed=False:Invalid ResolvedRefs=False:InvalidRouteKinds"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			result := Translate(cluster(t, test.listeners), pool)
			if len(result.Gateways) != 1 || result.Gateways[0].Name != "g" {
				t.Fatalf("statuses of %d Gateways", len(result.Gateways))
			}
			status := result.Gateways[0].Status
			var got []string
			for _, l := range status.Listeners {
				got = append(got, conditions(l.Conditions))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("listeners (-want +got):\n%s", diff)
			}
			if got := conditions(status.Conditions); got != test.gateway {
				t.Errorf("Gateway: %s", got)
			}
		})
	}
}

// TestAttach holds which routes a listener takes, and what the others are told.
func TestAttach(t *testing.T) {
	to := func(backend string) string {
		return "parentRefs: [{name: g}], rules: [{backendRefs: [{" + backend + "}]}]"
	}
	for name, test := range map[string]struct {
		listener, route, want string
		attached              int32
	}{
		"taken": {
			"hostname: '*.example.test'", "parentRefs: [{name: g}], hostnames: [a.example.test]", "", 1,
		},
		"another hostname": {
			"hostname: b.test", "parentRefs: [{name: g}], hostnames: [a.test]",
			"Accepted=False:NoMatchingListenerHostname", 0,
		},
		"no such section": {"", "parentRefs: [{name: g, sectionName: x}]", "Accepted=False:NoMatchingParent", 0},
		"no such port":    {"", "parentRefs: [{name: g, port: 81}]", "Accepted=False:NoMatchingParent", 0},
		"another namespace": {
			"allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {name: b}}}}",
			"parentRefs: [{name: g}]", "Accepted=False:NotAllowedByListeners", 0,
		},
		"no backend":        {"", to("name: lost, port: 80"), "ResolvedRefs=False:BackendNotFound", 1},
		"no port of it":     {"", to("name: web, port: 81"), "ResolvedRefs=False:BackendNotFound", 1},
		"not a Service":     {"", to("kind: X, name: web, port: 80"), "ResolvedRefs=False:InvalidKind", 1},
		"no ReferenceGrant": {"", to("name: web, namespace: b, port: 80"), "ResolvedRefs=False:RefNotPermitted", 1},
		"a filter that is not supported": {
			"", "parentRefs: [{name: g}], rules: [{filters: [{type: CORS, cors: {}}]}]",
			"Accepted=False:UnsupportedValue", 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := cluster(t, "{name: http, port: 80, protocol: HTTP, "+test.listener+"}")
			o.HTTPRoutes = []*gw.HTTPRoute{read(t, &gw.HTTPRoute{}, "metadata: {name: r}\nspec: {"+test.route+"}")}
			result := Translate(o, pool)
			parents := result.HTTPRoutes[0].Status.Parents
			if len(parents) != 1 || parents[0].ControllerName != Controller {
				t.Fatalf("parents: %+v", parents)
			}
			if got := conditions(parents[0].Conditions); got != test.want {
				t.Errorf("route: %s", got)
			}
			if got := result.Gateways[0].Status.Listeners[0].AttachedRoutes; got != test.attached {
				t.Errorf("%d attached routes", got)
			}
		})
	}
}

// TestServed holds what a route becomes, that statuses which are as they have to be are not written again, and that
// those of other controllers stay.
func TestServed(t *testing.T) {
	o := cluster(t, "{name: http, port: 80, protocol: HTTP}, {name: ssh, port: 22, protocol: TCP}")
	o.Grants = []*gw.ReferenceGrant{read(t, &gw.ReferenceGrant{}, `
metadata: {name: grant, namespace: b}
spec: {from: [{group: gateway.networking.k8s.io, kind: TCPRoute, namespace: a}], to: [{group: "", kind: Service}]}`)}
	o.HTTPRoutes = []*gw.HTTPRoute{read(t, &gw.HTTPRoute{}, `
metadata: {name: web}
spec:
  parentRefs: [{name: g}, {name: other}]
  hostnames: [A.example.test]
  rules:
  - matches: [{path: {type: PathPrefix, value: /x}}]
    timeouts: {request: 10s}
    backendRefs: [{name: web, port: 80}]
status:
  parents: [{parentRef: {name: other}, controllerName: example.test/other}]`)}
	o.TCPRoutes = []*gw.TCPRoute{read(t, &gw.TCPRoute{}, `
metadata: {name: ssh}
spec: {parentRefs: [{name: g, sectionName: ssh}], rules: [{backendRefs: [{name: web, namespace: b, port: 80}]}]}`)}
	result := Translate(o, pool)
	web := []proxy.Backend{{Weight: 1, Endpoints: []netip.AddrPort{netip.MustParseAddrPort("10.1.0.1:8080")}}}
	want := proxy.Config{
		netip.MustParseAddrPort("10.0.0.129:80"): {{
			Name: "a/g/http", Routes: []proxy.Route{{
				Hostname: "a.example.test", Match: proxy.Match{Path: proxy.PathMatch{Value: "/x"}},
				Rule: &proxy.Rule{RequestTimeout: 10 * time.Second, Backends: web},
			}},
		}},
		netip.MustParseAddrPort("10.0.0.129:22"): {{
			Name: "a/g/ssh", Protocol: proxy.TCP, Streams: []proxy.Stream{{Backends: web}},
		}},
	}
	addresses := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
	if diff := cmp.Diff(want, result.Config, addresses); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	o.Classes[0], o.Gateways[0] = result.Classes[0], result.Gateways[0]
	o.HTTPRoutes, o.TCPRoutes = result.HTTPRoutes, result.TCPRoutes
	again := Translate(o, pool)
	if n := len(again.Classes) + len(again.Gateways) + len(again.HTTPRoutes) + len(again.TCPRoutes); n != 0 {
		t.Errorf("%d statuses written again", n)
	}
	parents := o.HTTPRoutes[0].Status.Parents
	if len(parents) != 2 || parents[0].ControllerName != "example.test/other" {
		t.Errorf("parents: %+v", parents)
	}
}

// TestAddresses holds which addresses Gateways get: what they ask for, else what they had, else the first free one.
func TestAddresses(t *testing.T) {
	gateway := func(name, spec, status string) *gw.Gateway {
		return read(t, &gw.Gateway{}, "metadata: {name: "+name+"}\nspec: {gatewayClassName: outposts, listeners: "+
			"[{name: http, port: 80, protocol: HTTP}], "+spec+"}\nstatus: {"+status+"}")
	}
	o := cluster(t, "{name: http, port: 80, protocol: HTTP}")
	o.Gateways = []*gw.Gateway{
		gateway("first", "", ""),
		gateway("kept", "", "addresses: [{value: 10.0.0.131}]"),
		gateway("taken", "", "addresses: [{value: 10.0.0.130}]"),
		gateway("asked", "addresses: [{value: 10.0.0.130}]", ""),
		gateway("outside", "addresses: [{value: 10.0.1.1}]", ""),
		gateway("named", "addresses: [{type: Hostname, value: a.test}]", ""),
		gateway("second", "", ""),
		gateway("third", "", ""),
		gateway("late", "", ""),
	}
	got := map[string]string{}
	for _, g := range Translate(o, pool).Gateways {
		text := conditions(g.Status.Conditions)
		for _, address := range g.Status.Addresses {
			text += address.Value
		}
		got[g.Name] = text
	}
	want := map[string]string{
		"first": "10.0.0.129", "kept": "10.0.0.131", "taken": "10.0.0.132", "asked": "10.0.0.130",
		"outside": "Programmed=False:AddressNotUsable",
		"named":   "Accepted=False:UnsupportedAddress Programmed=False:Invalid",
		"second":  "10.0.0.133", "third": "10.0.0.134", "late": "Programmed=False:AddressNotAssigned",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}
