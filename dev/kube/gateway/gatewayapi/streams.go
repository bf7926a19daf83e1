package gatewayapi

import (
	"strings"

	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/outposts-dev/outposts/dev/kube/gateway/proxy"
)

func (t *translation) tlsRoute(object *gw.TLSRoute) {
	r := route{
		Object: object, kind: "TLSRoute", parents: object.Spec.ParentRefs, hostnames: lower(object.Spec.Hostnames),
	}
	var backends []proxy.Backend
	for _, rule := range object.Spec.Rules {
		backends = append(backends, t.streamBackends(&r, rule.BackendRefs)...)
	}
	status := t.attachStreams(r, backends, object.Status.RouteStatus)
	if !same(status, object.Status.RouteStatus) {
		changed := object.DeepCopy()
		changed.Status.RouteStatus = status
		t.result.TLSRoutes = append(t.result.TLSRoutes, changed)
	}
}

func (t *translation) tcpRoute(object *gw.TCPRoute) {
	r := route{Object: object, kind: "TCPRoute", parents: object.Spec.ParentRefs}
	var backends []proxy.Backend
	for _, rule := range object.Spec.Rules {
		backends = append(backends, t.streamBackends(&r, rule.BackendRefs)...)
	}
	status := t.attachStreams(r, backends, object.Status.RouteStatus)
	if !same(status, object.Status.RouteStatus) {
		changed := object.DeepCopy()
		changed.Status.RouteStatus = status
		t.result.TCPRoutes = append(t.result.TCPRoutes, changed)
	}
}

func (t *translation) streamBackends(r *route, refs []gw.BackendRef) []proxy.Backend {
	var backends []proxy.Backend
	for _, ref := range refs {
		b, p := t.backend(r.kind, r.GetNamespace(), ref.BackendObjectReference, ref.Weight)
		if p.is() && !r.unresolved.is() {
			r.unresolved = p
		}
		backends = append(backends, b)
	}
	return backends
}

// attachStreams gives each listener that takes the route its backends. Of two routes for one name the older one has it:
// it came first.
func (t *translation) attachStreams(r route, backends []proxy.Backend, before gw.RouteStatus) gw.RouteStatus {
	attached, status := t.attach(r, before)
	for _, a := range attached {
		for _, hostname := range a.hostnames {
			a.streams = append(a.streams, proxy.Stream{Hostname: hostname, Backends: backends})
		}
	}
	return status
}

func lower(hostnames []gw.Hostname) []string {
	var all []string
	for _, hostname := range hostnames {
		all = append(all, strings.ToLower(string(hostname)))
	}
	return all
}
