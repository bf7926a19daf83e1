package gatewayapi

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/outposts-dev/outposts/dev/kube/gateway/proxy"
)

// granted reports whether objects of one kind and namespace may refer to one of the core group: that in their own
// namespace, or that for which a ReferenceGrant of its namespace says so.
func (i *index) granted(from gw.ReferenceGrantFrom, kind gw.Kind, to types.NamespacedName) bool {
	if string(from.Namespace) == to.Namespace {
		return true
	}
	return slices.ContainsFunc(i.grants, func(grant *gw.ReferenceGrant) bool {
		return grant.Namespace == to.Namespace && slices.Contains(grant.Spec.From, from) &&
			slices.ContainsFunc(grant.Spec.To, func(t gw.ReferenceGrantTo) bool {
				return t.Group == "" && t.Kind == kind && (t.Name == nil || string(*t.Name) == to.Name)
			})
	})
}

// selects reports whether a selector selects a namespace.
func (i *index) selects(selector *metav1.LabelSelector, namespace string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && i.namespaces[namespace] != nil && s.Matches(labels.Set(i.namespaces[namespace].Labels))
}

// backend finds a backend of a route. One with a problem is broken, and stays with its weight: its share of the
// requests is not the others'.
func (i *index) backend(kind gw.Kind, namespace string, ref gw.BackendObjectReference, weight *int32) (
	proxy.Backend, problem,
) {
	b := proxy.Backend{Weight: 1}
	if weight != nil {
		b.Weight = int(*weight)
	}
	p := i.fill(&b, kind, namespace, ref)
	b.Broken = p.is()
	return b, p
}

func (i *index) fill(b *proxy.Backend, kind gw.Kind, namespace string, ref gw.BackendObjectReference) problem {
	name := types.NamespacedName{Namespace: namespace, Name: string(ref.Name)}
	if ref.Namespace != nil {
		name.Namespace = string(*ref.Namespace)
	}
	if ref.Group != nil && *ref.Group != "" || ref.Kind != nil && *ref.Kind != "Service" {
		return problem{string(gw.RouteReasonInvalidKind), fmt.Sprintf("backendRefs: %s is not a Service", name)}
	}
	from := gw.ReferenceGrantFrom{Group: gw.GroupName, Kind: kind, Namespace: gw.Namespace(namespace)}
	if !i.granted(from, "Service", name) {
		return problem{
			string(gw.RouteReasonRefNotPermitted), fmt.Sprintf("backendRefs: no ReferenceGrant for Service %s", name),
		}
	}
	service := i.services[name]
	if service == nil {
		return problem{string(gw.RouteReasonBackendNotFound), fmt.Sprintf("backendRefs: no Service %s", name)}
	}
	at := slices.IndexFunc(service.Spec.Ports, func(port corev1.ServicePort) bool {
		return ref.Port != nil && port.Port == *ref.Port &&
			cmp.Or(port.Protocol, corev1.ProtocolTCP) == corev1.ProtocolTCP
	})
	if at < 0 {
		return problem{
			string(gw.RouteReasonBackendNotFound), fmt.Sprintf("backendRefs: Service %s does not have that port", name),
		}
	}
	port := service.Spec.Ports[at]
	if port.AppProtocol != nil {
		switch strings.ToLower(*port.AppProtocol) {
		case "kubernetes.io/h2c":
			b.H2C = true
		case "https", "kubernetes.io/wss":
			b.HTTPS = true
		}
	}
	b.Endpoints = i.endpoints(name, port.Name)
	return problem{}
}

// endpoints returns the ready endpoints of a port of a Service.
func (i *index) endpoints(service types.NamespacedName, port string) []netip.AddrPort {
	var found []netip.AddrPort
	for _, slice := range i.slices[service] {
		at := slices.IndexFunc(slice.Ports, func(p discoveryv1.EndpointPort) bool {
			return p.Port != nil && (p.Name == nil && port == "" || p.Name != nil && *p.Name == port)
		})
		if at < 0 || slice.AddressType != discoveryv1.AddressTypeIPv4 {
			continue
		}
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready {
				continue
			}
			for _, text := range endpoint.Addresses {
				if address, err := netip.ParseAddr(text); err == nil {
					found = append(found, netip.AddrPortFrom(address, uint16(*slice.Ports[at].Port)))
				}
			}
		}
	}
	return found
}
