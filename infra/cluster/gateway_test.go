package cluster

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	routesPath  = "/apis/gateway.networking.k8s.io/v1/namespaces/jupyter/httproutes"
	gatewayPath = "/apis/gateway.networking.k8s.io/v1/namespaces/gateways/gateways"
)

var httpRoute = RouteKind{Kind: HTTPRoute, Version: "v1"}

// TestRouteStatus holds how the status of a route is read, as controllers write it.
func TestRouteStatus(t *testing.T) {
	condition := func(kind, reason string) string {
		return `{"type":"` + kind + `","status":"True","reason":"` + reason + `","message":"","observedGeneration":2}`
	}
	accepted, resolved := condition("Accepted", "Accepted"), condition("ResolvedRefs", "ResolvedRefs")
	parent := func(ref string, conditions ...string) string {
		return `{"parentRef":` + ref + `,"controllerName":"example.org/c","conditions":[` +
			strings.Join(conditions, ",") + `]}`
	}
	//nolint:lll // as in a status
	const public = `{"group":"gateway.networking.k8s.io","kind":"Gateway","name":"public","namespace":"gateways","sectionName":"https"}`
	const own = `{"name":"own"}`
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name            string
		wants, statuses []string // parents in spec and in status
		want            RouteStatus
	}{
		{"accepted", []string{public}, []string{parent(public, accepted, resolved)}, RouteStatus{Verdict: Accepted}},
		{"accepted by the Gateway beside it, whose namespace is said once", []string{own}, []string{parent(`{"name":"own","namespace":"jupyter"}`, accepted, resolved)}, RouteStatus{Verdict: Accepted}},
		{"no status", []string{public}, nil, RouteStatus{Text: "no answer of Gateway gateways/public, listener https"}},
		{"status of another parent", []string{own}, []string{parent(public, accepted, resolved)}, RouteStatus{Text: "no answer of Gateway jupyter/own"}},
		{"status of the route before", []string{own}, []string{parent(own, strings.ReplaceAll(accepted, ":2}", ":1}"), resolved)}, RouteStatus{Text: "no answer of Gateway jupyter/own"}},
		{"half a status", []string{own}, []string{parent(own, accepted)}, RouteStatus{Text: "no answer of Gateway jupyter/own"}},
		{"unknown", []string{own}, []string{parent(own, strings.ReplaceAll(accepted, "True", "Unknown"), resolved)}, RouteStatus{Text: "no answer of Gateway jupyter/own"}},
		{"no listener has the name", []string{public}, []string{parent(public, `{"type":"Accepted","status":"False","reason":"NoMatchingListenerHostname","message":"hub.example.org is none of *.example.com","observedGeneration":2}`, resolved)}, RouteStatus{
			Refused, "not accepted by Gateway gateways/public, listener https: NoMatchingListenerHostname: hub.example.org is none of *.example.com",
		}},
		{"no Service", []string{public}, []string{parent(public, accepted, `{"type":"ResolvedRefs","status":"False","reason":"BackendNotFound","message":"no Service proxy-public","observedGeneration":2}`)}, RouteStatus{
			Refused, "references not resolved by Gateway gateways/public, listener https: BackendNotFound: no Service proxy-public",
		}},
		{"two parents, one says no", []string{own, public}, []string{parent(own, accepted, resolved), parent(public, `{"type":"Accepted","status":"False","reason":"NotAllowedByListeners","message":"no","observedGeneration":2}`)}, RouteStatus{
			Refused, "not accepted by Gateway gateways/public, listener https: NotAllowedByListeners: no",
		}},
		{"two parents, one is silent", []string{public, own}, []string{parent(own, accepted, resolved)}, RouteStatus{Text: "no answer of Gateway gateways/public, listener https"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			api := newAPI(t, map[string]string{routesPath + "/jupyterhub": `{"kind":"HTTPRoute",
				"apiVersion":"gateway.networking.k8s.io/v1",
				"metadata":{"name":"jupyterhub","namespace":"jupyter","generation":2},
				"spec":{"parentRefs":[` + strings.Join(tt.wants, ",") + `]},
				"status":{"parents":[` + strings.Join(tt.statuses, ",") + `]}}`})
			got, err := api.Route(t.Context(), httpRoute, Object{"jupyter", "jupyterhub"})
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("error %v, status (-want +got):\n%s", err, diff)
			}
		})
	}
	got, err := newAPI(t, map[string]string{routesPath + "/jupyterhub": notFound}).
		Route(t.Context(), httpRoute, Object{"jupyter", "jupyterhub"})
	if err != nil || got != (RouteStatus{}) {
		t.Errorf("a route that is not there: %v, %v", got, err)
	}
}

func TestServesRoutes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers map[string]string
		want    bool
	}{
		{"served", map[string]string{routesPath: `{"kind":"HTTPRouteList","apiVersion":"v1","items":[]}`}, true},
		{"no CRD", map[string]string{routesPath: notFound}, false},
		{"closed", nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := newAPI(t, tt.answers).ServesRoutes(t.Context(), httpRoute, "jupyter")
			if err != nil || got != tt.want {
				t.Errorf("%v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestGateway(t *testing.T) {
	const made = `{"kind":"Gateway","apiVersion":"gateway.networking.k8s.io/v1","metadata":{"name":"public"},
		"spec":{"gatewayClassName":"standard",
			"listeners":[{"name":"https","protocol":"HTTPS","port":443,"hostname":"*.a"}]},
		"status":{"addresses":[{"type":"IPAddress","value":"192.0.2.1"},{"type":"Hostname","value":"lb.example.org"}]}}`
	for _, tt := range []struct {
		name    string
		answers map[string]string
		want    *Gateway
		known   bool
	}{
		{"there", map[string]string{gatewayPath + "/public": made}, &Gateway{
			Class: "standard", Listeners: []Listener{{"https", "HTTPS", 443}},
			Addresses: []string{"192.0.2.1", "lb.example.org"},
		}, true},
		{"none", map[string]string{gatewayPath + "/public": notFound}, nil, true},
		{"closed", nil, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, known, err := newAPI(t, tt.answers).Gateway(t.Context(), Object{"gateways", "public"})
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" || known != tt.known {
				t.Errorf("known %v, error %v (-want +got):\n%s", known, err, diff)
			}
		})
	}
	list := map[string]string{gatewayPath: `{"kind":"GatewayList","apiVersion":"v1","items":[` + made + `]}`}
	for _, tt := range []struct {
		answers map[string]string
		want    []string
	}{{list, []string{"public"}}, {nil, nil}, {map[string]string{gatewayPath: notFound}, nil}} {
		got, err := newAPI(t, tt.answers).Gateways(t.Context(), "gateways")
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("names: error %v (-want +got):\n%s", err, diff)
		}
	}
}

// TestAddresses holds what is read of a load balancer: some clouds give addresses, some names.
func TestAddresses(t *testing.T) {
	service := func(status string) map[string]string {
		return map[string]string{"/api/v1/namespaces/n/services/s": `{"kind":"Service","apiVersion":"v1",
			"metadata":{"name":"s"},"status":{"loadBalancer":` + status + `}}`}
	}
	for _, tt := range []struct {
		name    string
		answers map[string]string
		want    []string
	}{
		{
			"an address and a name", service(`{"ingress":[{"ip":"192.0.2.1"},{"hostname":"a.elb.example.com"}]}`),
			[]string{"192.0.2.1", "a.elb.example.com"},
		},
		{"none yet", service(`{}`), nil},
		{"no Service", map[string]string{"/api/v1/namespaces/n/services/s": notFound}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := newAPI(t, tt.answers).Addresses(t.Context(), Service, Object{"n", "s"})
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
		})
	}
	if _, err := newAPI(t, nil).Addresses(t.Context(), Ingress, Object{"n", "i"}); err == nil {
		t.Error("a closed Ingress has addresses")
	}
}
