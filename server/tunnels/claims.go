package tunnels

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
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

// newClaims decides what Services say together. A port belongs to one Service, since nodes lead the traffic of each
// that has it to the same listener: to the one that is served there already, by served, or else to the oldest, by
// time of creation, which has seconds, and then by uid, so that every process decides alike. One keeps its port
// until it is gone, also while it is being deleted, is malformed or is of an unknown system: nodes lead there for as
// long. Only one that does not select us claims nothing.
func newClaims(
	services []*corev1.Service, name string, ports Ports, known func(system string) bool, served map[uint16]types.UID,
) claims {
	services = slices.Clone(services)
	slices.SortFunc(services, func(a, b *corev1.Service) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID))
	})
	c := claims{routes: map[uint16]route{}}
	holders := holdersOf(services, name, served)
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
		if holder := holders[r.port]; holder != svc {
			refuse(svc, reasonTaken, "Port %d belongs to Service %s, which had it first.", r.port, holder.Name)
			continue
		}
		if !known(r.system) {
			refuse(svc, reasonUnknown, "The tunnels know no system %s.", r.system)
			continue
		}
		c.routes[r.port] = r
	}
	return c
}

// holdersOf returns to which Service each port belongs. The Services are in the order of their age.
func holdersOf(services []*corev1.Service, name string, served map[uint16]types.UID) map[uint16]*corev1.Service {
	holders := map[uint16]*corev1.Service{}
	for _, onlyServed := range []bool{true, false} {
		for _, svc := range services {
			if svc.Spec.Selector[tunnelsLabel] != name {
				continue
			}
			for _, port := range targetPorts(svc) {
				if holders[port] == nil && (!onlyServed || served[port] == svc.UID) {
					holders[port] = svc
				}
			}
		}
	}
	return holders
}

// States of a Service; the reasons of refusals are others.
const (
	stateServed  = "Served"
	stateWaiting = "Waiting" // its port rests after another Service, or cannot be listened on yet
)

// ServiceState says what this process makes of a Service, in JSON.
type ServiceState struct {
	// UID is that of the Service which this is about: one made anew under the same name has another.
	UID types.UID `json:"uid"`
	// State is "Served", "Waiting", or the reason of the event that says why not: "Malformed", "PortTaken",
	// "UnknownSystem".
	State string `json:"state"`
	// Message is that of the event.
	Message string `json:"message,omitempty"`
}

// Service returns what is made of a Service; false if none of this name has been seen.
func (t *Tunnels) Service(name string) (ServiceState, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	state, ok := t.services[name]
	return state, ok
}

// note shows and counts what has become of claims.
func (t *Tunnels) note(c claims, table *table) {
	counts := map[string]int{stateServed: 0, stateWaiting: 0, reasonMalformed: 0, reasonTaken: 0, reasonUnknown: 0}
	services := make(map[string]ServiceState, len(c.routes)+len(c.refused))
	for port, r := range c.routes {
		state := ServiceState{UID: r.uid, State: stateWaiting}
		if table.listeners[port] != nil {
			state.State = stateServed
		}
		services[r.name] = state
	}
	for _, r := range c.refused {
		services[r.service.Name] = ServiceState{r.service.UID, r.reason, r.message}
	}
	for _, s := range services {
		counts[s.State]++
	}
	for state, n := range counts {
		t.metrics.services.WithLabelValues(state).Set(float64(n))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.services = services
}
