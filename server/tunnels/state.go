package tunnels

import "k8s.io/apimachinery/pkg/types"

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
