package tunnels

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Reasons why a Service is not served, of its events and of metrics.
const (
	reasonMalformed = "Malformed"     // it is not as the hub writes it
	reasonTaken     = "PortTaken"     // an older Service has the port
	reasonUnknown   = "UnknownSystem" // no such system is in the file
)

// refusal is a Service that is not served, and why.
type refusal struct {
	service *corev1.Service
	reason  string
	message string // for its events
}

// claims are the routes that hold, by port, and the Services that are not served.
type claims struct {
	routes  map[uint16]route
	refused []refusal
}

// newClaims decides what Services say together. Of those with one port the oldest holds, by time of creation, which has
// seconds, and then by uid: every process decides alike, and none takes a port from one of an earlier second. A
// malformed one claims nothing. One of an unknown system keeps its port, so that a system that comes back finds it.
func newClaims(services []*corev1.Service, name string, ports Ports, known func(system string) bool) claims {
	services = slices.Clone(services)
	slices.SortFunc(services, func(a, b *corev1.Service) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID))
	})
	c := claims{routes: map[uint16]route{}}
	holders := map[uint16]route{}
	refuse := func(svc *corev1.Service, reason, format string, args ...any) {
		c.refused = append(c.refused, refusal{svc, reason, fmt.Sprintf(format, args...)})
	}
	for _, svc := range services {
		if svc.DeletionTimestamp != nil {
			continue
		}
		r, err := parseService(svc, name, ports)
		if err != nil {
			refuse(svc, reasonMalformed, "Not served by the tunnels: %v.", err)
			continue
		}
		if holder, taken := holders[r.port]; taken {
			refuse(svc, reasonTaken, "Port %d belongs to the older Service %s.", r.port, holder.name)
			continue
		}
		holders[r.port] = r
		if !known(r.system) {
			refuse(svc, reasonUnknown, "The tunnels know no system %s.", r.system)
			continue
		}
		c.routes[r.port] = r
	}
	return c
}
