package cluster

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GatewayAPI is the group of the Gateway API (gateway.networking.k8s.io, v1.6).
const GatewayAPI = "gateway.networking.k8s.io"

var gateways = schema.GroupVersionResource{Group: GatewayAPI, Version: "v1", Resource: "gateways"}

// RouteKind is a kind of routes of the Gateway API in one of its versions.
type RouteKind struct {
	Kind    string // HTTPRoute or TCPRoute
	Version string // v1
}

// Kinds of routes.
const (
	HTTPRoute = "HTTPRoute"
	TCPRoute  = "TCPRoute"
)

func (k RouteKind) resource() schema.GroupVersionResource {
	return schema.GroupVersionResource{
		Group: GatewayAPI, Version: k.Version,
		Resource: map[string]string{HTTPRoute: "httproutes", TCPRoute: "tcproutes"}[k.Kind],
	}
}

// String returns the kind and its apiVersion: "HTTPRoute gateway.networking.k8s.io/v1".
func (k RouteKind) String() string { return k.Kind + " " + GatewayAPI + "/" + k.Version }

// Gateway is a Gateway and what its controller says of it.
type Gateway struct {
	Class     string
	Listeners []Listener
	// Addresses are those at which it listens: IP addresses and host names.
	Addresses []string
}

// Listener is a listener of a Gateway.
type Listener struct {
	Name     string `json:"name"`
	Protocol string `json:"protocol"` // HTTP, HTTPS, TLS, TCP, UDP or one of the controller's own
	Port     int    `json:"port"`
}

// ServesRoutes reports whether the cluster knows a kind of routes. Whoever may not list the routes of a namespace is
// told that it does: the API server will refuse the route.
func (a *API) ServesRoutes(ctx context.Context, kind RouteKind, namespace string) (bool, error) {
	_, err := a.client.Resource(kind.resource()).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: 1})
	switch {
	case apierrors.IsNotFound(err): // a namespace that is not there has an empty list
		return false, nil
	case apierrors.IsForbidden(err):
		return true, nil
	case err != nil:
		return false, a.failed(err)
	}
	return true, nil
}

// Gateway returns a Gateway; nil if there is none. If the user may not read it, known is false.
func (a *API) Gateway(ctx context.Context, name Object) (found *Gateway, known bool, err error) {
	made, err := a.get(ctx, gateways, name)
	switch {
	case apierrors.IsForbidden(err):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	case made == nil:
		return nil, true, nil
	}
	var read struct {
		Spec struct {
			GatewayClassName string     `json:"gatewayClassName"`
			Listeners        []Listener `json:"listeners"`
		} `json:"spec"`
		Status struct {
			Addresses []struct {
				Value string `json:"value"`
			} `json:"addresses"`
		} `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(made.Object, &read); err != nil {
		return nil, false, fmt.Errorf("%s: Gateway %s: %w", a.host, name, err)
	}
	found = &Gateway{Class: read.Spec.GatewayClassName, Listeners: read.Spec.Listeners}
	for _, address := range read.Status.Addresses {
		found.Addresses = append(found.Addresses, address.Value)
	}
	return found, true, nil
}

// Gateways returns the names of the Gateways in a namespace, as far as the user may list them.
func (a *API) Gateways(ctx context.Context, namespace string) ([]string, error) {
	all, err := a.list(ctx, gateways, namespace, "")
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, gateway := range all {
		names = append(names, gateway.GetName())
	}
	return names, nil
}

// RouteVerdict is what the controller of a Gateway says of a route.
type RouteVerdict int

// Verdicts on a route.
const (
	Unanswered RouteVerdict = iota // no controller has said anything of the route as it is
	Accepted
	Refused
)

// RouteStatus is what the controllers of all parents say of a route; the worst counts.
type RouteStatus struct {
	Verdict RouteVerdict
	// Text says of a refused route what it lacks, which parent says so, and with what reason and message; of one
	// without an answer, which parent is silent.
	Text string
}

// routeConditions are those that a route needs from each of its parents, with what it lacks without them.
var routeConditions = [][2]string{{"Accepted", "not accepted"}, {"ResolvedRefs", "references not resolved"}}

// Route returns what the controllers say of a route; one that is not there is unanswered.
func (a *API) Route(ctx context.Context, kind RouteKind, name Object) (RouteStatus, error) {
	made, err := a.get(ctx, kind.resource(), name)
	if made == nil {
		return RouteStatus{}, err
	}
	status, err := statusOf(made)
	if err != nil {
		return RouteStatus{}, fmt.Errorf("%s: %s %s: %w", a.host, kind.Kind, name, err)
	}
	return status, nil
}

// parentRef names a parent of a route.
type parentRef struct {
	Name        string `json:"name"`
	Namespace   string `json:"namespace"`
	SectionName string `json:"sectionName"`
}

// String returns "Gateway namespace/name, listener x".
func (p parentRef) String() string {
	text := "Gateway " + Object{p.Namespace, p.Name}.String()
	if p.SectionName != "" {
		text += ", listener " + p.SectionName
	}
	return text
}

// statusOf judges a route by what its status says for each parent in its spec. A condition of an older generation says
// nothing of the route as it is.
func statusOf(route *unstructured.Unstructured) (RouteStatus, error) {
	var read struct {
		Spec struct {
			ParentRefs []parentRef `json:"parentRefs"`
		} `json:"spec"`
		Status struct {
			Parents []struct {
				ParentRef  parentRef          `json:"parentRef"`
				Conditions []metav1.Condition `json:"conditions"`
			} `json:"parents"`
		} `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(route.Object, &read); err != nil {
		return RouteStatus{}, err
	}
	within := func(p parentRef) parentRef {
		if p.Namespace == "" {
			p.Namespace = route.GetNamespace()
		}
		return p
	}
	worst := RouteStatus{Verdict: Accepted}
	for _, ref := range read.Spec.ParentRefs {
		status := RouteStatus{Text: "no answer of " + within(ref).String()}
		for _, parent := range read.Status.Parents {
			if within(parent.ParentRef) != within(ref) {
				continue
			}
			status = judged(within(ref), parent.Conditions, route.GetGeneration())
			if status.Verdict == Refused {
				return status, nil
			}
		}
		if status.Verdict == Unanswered {
			worst = status
		}
	}
	return worst, nil
}

// judged is the verdict of one parent.
func judged(parent parentRef, conditions []metav1.Condition, generation int64) RouteStatus {
	for _, needed := range routeConditions {
		i := slices.IndexFunc(conditions, func(c metav1.Condition) bool {
			return c.Type == needed[0] && c.ObservedGeneration >= generation && c.Status != metav1.ConditionUnknown
		})
		if i < 0 {
			return RouteStatus{Text: "no answer of " + parent.String()}
		}
		if c := conditions[i]; c.Status != metav1.ConditionTrue {
			return RouteStatus{Refused, fmt.Sprintf("%s by %s: %s: %s", needed[1], parent, c.Reason, c.Message)}
		}
	}
	return RouteStatus{Verdict: Accepted}
}

// Balanced names a kind of objects that a load balancer or a controller gives addresses.
type Balanced string

// Kinds of objects with addresses.
const (
	Service Balanced = "Service"
	Ingress Balanced = "Ingress"
)

var balanced = map[Balanced]schema.GroupVersionResource{
	Service: services,
	Ingress: {Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"},
}

// Addresses returns the addresses, IP addresses and host names, that an object has been given in
// status.loadBalancer; none for one that is not there or has none yet.
func (a *API) Addresses(ctx context.Context, kind Balanced, name Object) ([]string, error) {
	made, err := a.get(ctx, balanced[kind], name)
	if made == nil {
		return nil, err
	}
	given, _, err := unstructured.NestedSlice(made.Object, "status", "loadBalancer", "ingress")
	if err != nil {
		return nil, fmt.Errorf("%s: %s %s: %w", a.host, kind, name, err)
	}
	var all []string
	for _, one := range given {
		one, _ := one.(map[string]any)
		for _, field := range []string{"ip", "hostname"} {
			if address, _ := one[field].(string); address != "" {
				all = append(all, address)
			}
		}
	}
	return all, nil
}
