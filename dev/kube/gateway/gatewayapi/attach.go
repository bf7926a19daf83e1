package gatewayapi

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/outposts-dev/outposts/dev/kube/gateway/proxy"
)

// route is what routes of all kinds have in common.
type route struct {
	metav1.Object
	kind       gw.Kind
	parents    []gw.ParentReference
	hostnames  []string // none means all
	refused    problem  // what is not supported about it
	unresolved problem  // what is wrong with its backends
}

// attachment is a listener that takes a route, with the hosts that they have in common.
type attachment struct {
	*listener
	hostnames []string
}

// attach finds the listeners that take a route, and returns them and the status that the route gets. What other
// controllers have written there stays.
func (t *translation) attach(r route, before gw.RouteStatus) ([]attachment, gw.RouteStatus) {
	var attached []attachment
	status := gw.RouteStatus{Parents: slices.Clone(before.Parents)}
	status.Parents = slices.DeleteFunc(status.Parents, func(p gw.RouteParentStatus) bool {
		return p.ControllerName == Controller
	})
	for _, ref := range r.parents {
		g := t.parent(r, ref)
		if g == nil {
			continue
		}
		found, refused := t.match(r, g, ref)
		if r.refused.is() {
			found, refused = nil, r.refused
		}
		for _, a := range found {
			if !slices.ContainsFunc(attached, func(b attachment) bool { return b.listener == a.listener }) {
				a.attached++
				attached = append(attached, a)
			}
		}
		var had []metav1.Condition
		at := slices.IndexFunc(before.Parents, func(p gw.RouteParentStatus) bool {
			return p.ControllerName == Controller && same(p.ParentRef, ref)
		})
		if at >= 0 {
			had = before.Parents[at].Conditions
		}
		status.Parents = append(status.Parents, gw.RouteParentStatus{
			ParentRef: ref, ControllerName: Controller,
			Conditions: merge(had,
				condition(gw.RouteConditionAccepted, gw.RouteReasonAccepted, refused, r.GetGeneration()),
				condition(gw.RouteConditionResolvedRefs, gw.RouteReasonResolvedRefs, r.unresolved, r.GetGeneration())),
		})
	}
	return attached, status
}

// parent returns the Gateway of ours that a route refers to, or nil.
func (t *translation) parent(r route, ref gw.ParentReference) *gateway {
	if ref.Group != nil && *ref.Group != gw.GroupName || ref.Kind != nil && *ref.Kind != "Gateway" {
		return nil
	}
	namespace := r.GetNamespace()
	if ref.Namespace != nil {
		namespace = string(*ref.Namespace)
	}
	for _, g := range t.gateways {
		if g.Namespace == namespace && g.Name == string(ref.Name) {
			return g
		}
	}
	return nil
}

// match finds the listeners of a Gateway that take a route by one of its parentRefs, or says why none does.
func (t *translation) match(r route, g *gateway, ref gw.ParentReference) ([]attachment, problem) {
	var named, allowed, refused int
	var found []attachment
	for _, l := range g.listeners {
		if ref.SectionName != nil && *ref.SectionName != l.Name || ref.Port != nil && *ref.Port != l.Port {
			continue
		}
		named++
		if !t.admits(g, l, r.GetNamespace()) ||
			!slices.ContainsFunc(l.kinds, func(k gw.RouteGroupKind) bool { return k.Kind == r.kind }) {
			continue
		}
		allowed++
		switch hostnames := l.common(r.hostnames); {
		case len(hostnames) == 0:
		case !l.accepted():
			refused++
		default:
			found = append(found, attachment{l, hostnames})
		}
	}
	switch {
	case len(found) > 0:
		return found, problem{}
	case named == 0:
		return nil, problem{
			string(gw.RouteReasonNoMatchingParent),
			fmt.Sprintf("Gateway %s has no listener of that sectionName and port", nameOf(g)),
		}
	case allowed == 0:
		return nil, problem{
			string(gw.RouteReasonNotAllowedByListeners),
			fmt.Sprintf("no listener of Gateway %s allows a %s of this namespace", nameOf(g), r.kind),
		}
	case refused > 0:
		return nil, problem{
			string(gw.RouteReasonNoMatchingParent),
			fmt.Sprintf("the listener of Gateway %s is not accepted itself", nameOf(g)),
		}
	}
	return nil, problem{
		string(gw.RouteReasonNoMatchingListenerHostname),
		fmt.Sprintf("no listener of Gateway %s has a hostname in common with the route", nameOf(g)),
	}
}

// common returns what a route's hostnames and that of a listener have in common.
func (l *listener) common(hostnames []string) []string {
	if l.protocol == proxy.TCP || len(hostnames) == 0 {
		return []string{l.hostname()}
	}
	var found []string
	for _, hostname := range hostnames {
		if both, ok := proxy.Intersect(hostname, l.hostname()); ok {
			found = append(found, both)
		}
	}
	return found
}
