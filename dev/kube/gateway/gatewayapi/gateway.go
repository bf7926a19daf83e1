package gatewayapi

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/outposts-dev/outposts/dev/kube/gateway/proxy"
)

func cmpString[S ~string](a, b S) int { return cmp.Compare(a, b) }

// gateway is a Gateway with what is found out about it.
type gateway struct {
	*gw.Gateway
	listeners []*listener
	wantsAny  bool // address
	addresses []netip.Addr
	refused   problem // why it is not accepted
	unusable  problem // what is wrong with its addresses
}

// listener is a listener of a Gateway with what is found out about it.
type listener struct {
	*gw.Listener
	kinds        []gw.RouteGroupKind
	attached     int32
	refused      problem // why it is not accepted
	conflict     problem // with another listener; it is not accepted then either
	unresolved   problem // what is wrong with what it refers to
	protocol     proxy.Protocol
	certificates []tls.Certificate
	routes       []proxy.Route
	streams      []proxy.Stream
}

func (l *listener) hostname() string {
	if l.Hostname == nil {
		return ""
	}
	return strings.ToLower(string(*l.Hostname))
}

func (l *listener) accepted() bool   { return !l.refused.is() && !l.conflict.is() }
func (l *listener) programmed() bool { return l.accepted() && !l.unresolved.is() }

func (t *translation) newGateway(object *gw.Gateway) *gateway {
	g := &gateway{Gateway: object}
	if i := object.Spec.Infrastructure; i != nil && i.ParametersRef != nil {
		g.refused = problem{
			string(gw.GatewayReasonInvalidParameters), "infrastructure.parametersRef: there are no parameters",
		}
	}
	for i := range object.Spec.Listeners {
		l := &listener{Listener: &object.Spec.Listeners[i]}
		g.listeners = append(g.listeners, l)
		kind := l.routeKind()
		if kind == "" {
			l.refused = problem{
				string(gw.ListenerReasonUnsupportedProtocol), fmt.Sprintf("protocol %s is not supported", l.Protocol),
			}
			continue
		}
		l.allowKinds(kind)
		if l.protocol == proxy.HTTPS || l.protocol == proxy.TLS {
			t.certify(g, l)
		}
	}
	g.findConflicts()
	return g
}

// routeKind finds out how a listener is served, and returns the kind of its routes: none for a protocol that is not
// supported.
func (l *listener) routeKind() gw.Kind {
	switch l.Protocol {
	case gw.HTTPProtocolType:
		l.protocol = proxy.HTTP
		return "HTTPRoute"
	case gw.HTTPSProtocolType:
		l.protocol = proxy.HTTPS
		return "HTTPRoute"
	case gw.TLSProtocolType:
		l.protocol = proxy.TLS
		if l.TLS != nil && l.TLS.Mode != nil && *l.TLS.Mode == gw.TLSModePassthrough {
			l.protocol = proxy.Passthrough
		}
		return "TLSRoute"
	case gw.TCPProtocolType:
		l.protocol = proxy.TCP
		return "TCPRoute"
	}
	return ""
}

// allowKinds notes which kinds of routes a listener takes: the one of its protocol, if the listener names it or none.
func (l *listener) allowKinds(kind gw.Kind) {
	group := gw.Group(gw.GroupName)
	ours := gw.RouteGroupKind{Group: &group, Kind: kind}
	if l.AllowedRoutes == nil || len(l.AllowedRoutes.Kinds) == 0 {
		l.kinds = []gw.RouteGroupKind{ours}
		return
	}
	for _, allowed := range l.AllowedRoutes.Kinds {
		switch {
		case allowed.Kind != kind || allowed.Group != nil && *allowed.Group != group:
			l.unresolved = problem{
				string(gw.ListenerReasonInvalidRouteKinds),
				fmt.Sprintf("allowedRoutes: %s is not a kind of route for protocol %s", allowed.Kind, l.Protocol),
			}
		case len(l.kinds) == 0:
			l.kinds = []gw.RouteGroupKind{ours}
		}
	}
}

// certify reads the certificates of a listener.
func (t *translation) certify(g *gateway, l *listener) {
	if l.TLS == nil || len(l.TLS.CertificateRefs) == 0 {
		l.unresolved = problem{string(gw.ListenerReasonInvalidCertificateRef), "tls: no certificateRefs"}
		return
	}
	for _, ref := range l.TLS.CertificateRefs {
		certificate, p := t.certificate(g.Namespace, ref)
		if p.is() {
			l.unresolved = p
			continue
		}
		l.certificates = append(l.certificates, certificate)
	}
}

func (t *translation) certificate(namespace string, ref gw.SecretObjectReference) (tls.Certificate, problem) {
	name := types.NamespacedName{Namespace: namespace, Name: string(ref.Name)}
	if ref.Namespace != nil {
		name.Namespace = string(*ref.Namespace)
	}
	invalid := func(format string, args ...any) (tls.Certificate, problem) {
		return tls.Certificate{}, problem{
			string(gw.ListenerReasonInvalidCertificateRef), fmt.Sprintf(format, args...),
		}
	}
	if ref.Group != nil && *ref.Group != "" || ref.Kind != nil && *ref.Kind != "Secret" {
		return invalid("certificateRefs: %s is not a Secret", name)
	}
	from := gw.ReferenceGrantFrom{Group: gw.GroupName, Kind: "Gateway", Namespace: gw.Namespace(namespace)}
	if !t.granted(from, "Secret", name) {
		return tls.Certificate{}, problem{
			string(gw.ListenerReasonRefNotPermitted),
			fmt.Sprintf("certificateRefs: no ReferenceGrant for Secret %s", name),
		}
	}
	secret := t.secrets[name]
	if secret == nil {
		return invalid("certificateRefs: no Secret %s of type kubernetes.io/tls", name)
	}
	pair, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
	if err != nil {
		return invalid("certificateRefs: Secret %s: %v", name, err)
	}
	return pair, problem{}
}

// findConflicts refuses listeners of one port that cannot be told apart.
func (g *gateway) findConflicts() {
	for i, a := range g.listeners {
		for _, b := range g.listeners[i+1:] {
			if a.Port != b.Port || a.refused.is() || b.refused.is() {
				continue
			}
			var reason gw.ListenerConditionReason
			switch {
			case a.protocol != b.protocol && !(a.protocol.OverTLS() && b.protocol.OverTLS()):
				reason = gw.ListenerReasonProtocolConflict
			case a.protocol == proxy.TCP || a.hostname() == b.hostname():
				reason = gw.ListenerReasonHostnameConflict
			default:
				continue
			}
			a.conflict = problem{string(reason), fmt.Sprintf("port %d is that of listener %s too", a.Port, b.Name)}
			b.conflict = problem{string(reason), fmt.Sprintf("port %d is that of listener %s too", b.Port, a.Name)}
		}
	}
}

// admits reports whether routes of a namespace may attach to a listener.
func (t *translation) admits(g *gateway, l *listener, namespace string) bool {
	from, selector := gw.NamespacesFromSame, (*metav1.LabelSelector)(nil)
	if l.AllowedRoutes != nil && l.AllowedRoutes.Namespaces != nil {
		if l.AllowedRoutes.Namespaces.From != nil {
			from = *l.AllowedRoutes.Namespaces.From
		}
		selector = l.AllowedRoutes.Namespaces.Selector
	}
	switch from {
	case gw.NamespacesFromAll:
		return true
	case gw.NamespacesFromSelector:
		return t.selects(selector, namespace)
	case gw.NamespacesFromSame:
		return namespace == g.Namespace
	}
	return false
}

// serve adds what a Gateway serves to a config.
func (g *gateway) serve(config proxy.Config) {
	if g.refused.is() {
		return
	}
	for _, l := range g.listeners {
		if !l.programmed() {
			continue
		}
		proxy.Sort(l.routes)
		proxy.SortStreams(l.streams)
		for _, address := range g.addresses {
			at := netip.AddrPortFrom(address, uint16(l.Port))
			config[at] = append(config[at], proxy.Listener{
				Name: nameOf(g).String() + "/" + string(l.Name), Hostname: l.hostname(), Protocol: l.protocol,
				Certificates: l.certificates, Routes: l.routes, Streams: l.streams,
			})
		}
	}
}

// status returns what the Gateway's status is to be.
func (g *gateway) status() gw.GatewayStatus {
	status := *g.Status.DeepCopy()
	var accepted, programmed, unresolved int
	before := status.Listeners
	status.Listeners = nil
	for _, l := range g.listeners {
		var had []metav1.Condition
		if at := slices.IndexFunc(before, func(s gw.ListenerStatus) bool { return s.Name == l.Name }); at >= 0 {
			had = before[at].Conditions
		}
		status.Listeners = append(status.Listeners, l.status(had, g.Generation))
		accepted += count(l.accepted())
		programmed += count(l.programmed())
		unresolved += count(l.unresolved.is())
	}
	status.Addresses = nil
	for _, address := range g.addresses {
		kind := gw.IPAddressType
		status.Addresses = append(status.Addresses, gw.GatewayStatusAddress{Type: &kind, Value: address.String()})
	}
	good, refused := gw.GatewayReasonAccepted, g.refused
	if bad := len(g.listeners) - accepted; bad > 0 {
		good = gw.GatewayReasonListenersNotValid
		if accepted == 0 && !refused.is() {
			refused = problem{string(good), "no listener is accepted"}
		}
	}
	var idle, unresolvedRefs problem
	switch {
	case refused.is():
		idle = problem{string(gw.GatewayReasonInvalid), "the Gateway is not accepted"}
	case g.unusable.is():
		idle = g.unusable
	case programmed == 0:
		idle = problem{string(gw.GatewayReasonInvalid), "no listener is served"}
	}
	if unresolved > 0 {
		unresolvedRefs = problem{
			string(gw.GatewayReasonListenersNotResolved), fmt.Sprintf("%d of the listeners", unresolved),
		}
	}
	status.Conditions = merge(status.Conditions,
		condition(gw.GatewayConditionAccepted, good, refused, g.Generation),
		condition(gw.GatewayConditionProgrammed, gw.GatewayReasonProgrammed, idle, g.Generation),
		condition(gw.GatewayConditionResolvedRefs, gw.GatewayReasonResolvedRefs, unresolvedRefs, g.Generation))
	return status
}

func (l *listener) status(before []metav1.Condition, generation int64) gw.ListenerStatus {
	var idle problem
	if !l.programmed() {
		idle = problem{string(gw.ListenerReasonInvalid), "see the other conditions"}
	}
	conflicted := metav1.Condition{
		Type: string(gw.ListenerConditionConflicted), Status: metav1.ConditionFalse,
		Reason: string(gw.ListenerReasonNoConflicts), ObservedGeneration: generation,
	}
	refused := l.refused
	if l.conflict.is() {
		refused = l.conflict
		conflicted.Status, conflicted.Reason = metav1.ConditionTrue, l.conflict.reason
		conflicted.Message = l.conflict.message
	}
	kinds := l.kinds
	if kinds == nil {
		kinds = []gw.RouteGroupKind{}
	}
	return gw.ListenerStatus{
		Name: l.Name, SupportedKinds: kinds, AttachedRoutes: l.attached,
		Conditions: merge(before,
			condition(gw.ListenerConditionAccepted, gw.ListenerReasonAccepted, refused, generation),
			condition(gw.ListenerConditionProgrammed, gw.ListenerReasonProgrammed, idle, generation),
			condition(gw.ListenerConditionResolvedRefs, gw.ListenerReasonResolvedRefs, l.unresolved, generation),
			conflicted),
	}
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
