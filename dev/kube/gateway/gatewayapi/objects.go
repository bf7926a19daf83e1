// Package gatewayapi turns the objects of the Gateway API into what the data plane serves, and into the status that
// each of them gets. It is a function of what it is given: it asks and writes nothing.
package gatewayapi

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/outposts-dev/outposts/dev/kube/gateway/proxy"
)

// Controller is the controllerName of the GatewayClasses that are served.
const Controller gw.GatewayController = "outposts.dev/gateway"

// Objects are all objects of a cluster that matter. They are not changed.
type Objects struct {
	Classes    []*gw.GatewayClass
	Gateways   []*gw.Gateway
	HTTPRoutes []*gw.HTTPRoute
	TLSRoutes  []*gw.TLSRoute
	TCPRoutes  []*gw.TCPRoute
	Grants     []*gw.ReferenceGrant
	Namespaces []*corev1.Namespace
	Services   []*corev1.Service
	Slices     []*discoveryv1.EndpointSlice
	Secrets    []*corev1.Secret
}

// Result is what is to be served, and copies of the objects whose status has to be written.
type Result struct {
	Config     proxy.Config
	Classes    []*gw.GatewayClass
	Gateways   []*gw.Gateway
	HTTPRoutes []*gw.HTTPRoute
	TLSRoutes  []*gw.TLSRoute
	TCPRoutes  []*gw.TCPRoute
}

// Translate returns the result for the objects of a cluster. Gateways get addresses of the pool, whose first and last
// stay unused.
func Translate(objects Objects, pool netip.Prefix) Result {
	t := translation{index: newIndex(objects)}
	t.result.Config = proxy.Config{}
	ours := map[gw.ObjectName]bool{}
	for _, class := range objects.Classes {
		if class.Spec.ControllerName == Controller {
			t.class(class)
			ours[gw.ObjectName(class.Name)] = true
		}
	}
	for _, gateway := range byAge(objects.Gateways) {
		if ours[gateway.Spec.GatewayClassName] {
			t.gateways = append(t.gateways, t.newGateway(gateway))
		}
	}
	assign(t.gateways, pool)
	for _, route := range byAge(objects.HTTPRoutes) {
		t.httpRoute(route)
	}
	for _, route := range byAge(objects.TLSRoutes) {
		t.tlsRoute(route)
	}
	for _, route := range byAge(objects.TCPRoutes) {
		t.tcpRoute(route)
	}
	for _, g := range t.gateways {
		g.serve(t.result.Config)
		if status := g.status(); !same(status, g.Status) {
			changed := g.DeepCopy()
			changed.Status = status
			t.result.Gateways = append(t.result.Gateways, changed)
		}
	}
	return t.result
}

// translation is one run of Translate.
type translation struct {
	index
	gateways []*gateway
	result   Result
}

// index finds objects by what refers to them.
type index struct {
	grants     []*gw.ReferenceGrant
	namespaces map[string]*corev1.Namespace
	services   map[types.NamespacedName]*corev1.Service
	slices     map[types.NamespacedName][]*discoveryv1.EndpointSlice // by Service
	secrets    map[types.NamespacedName]*corev1.Secret
}

func newIndex(objects Objects) index {
	i := index{
		grants:     objects.Grants,
		namespaces: map[string]*corev1.Namespace{},
		services:   map[types.NamespacedName]*corev1.Service{},
		slices:     map[types.NamespacedName][]*discoveryv1.EndpointSlice{},
		secrets:    map[types.NamespacedName]*corev1.Secret{},
	}
	for _, namespace := range objects.Namespaces {
		i.namespaces[namespace.Name] = namespace
	}
	for _, service := range objects.Services {
		i.services[nameOf(service)] = service
	}
	for _, slice := range objects.Slices {
		service := types.NamespacedName{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
		i.slices[service] = append(i.slices[service], slice)
	}
	for _, secret := range objects.Secrets {
		i.secrets[nameOf(secret)] = secret
	}
	return i
}

func nameOf(object metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
}

// byAge returns objects with the oldest first, which is the one that wins where two want the same.
func byAge[O metav1.Object](objects []O) []O {
	objects = slices.Clone(objects)
	slices.SortFunc(objects, func(a, b O) int {
		return cmp.Or(
			time.Time.Compare(a.GetCreationTimestamp().Time, b.GetCreationTimestamp().Time),
			cmp.Compare(a.GetNamespace(), b.GetNamespace()),
			cmp.Compare(a.GetName(), b.GetName()),
		)
	})
	return objects
}
