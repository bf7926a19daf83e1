package exposure

import "github.com/outposts-dev/outposts/infra/values"

// GatewayRef names a Gateway of the Gateway API, or one of its listeners, as the parent of a route. The JSON names are
// those of the stack config and of parentRefs in a route.
type GatewayRef struct {
	Name string `json:"name"`
	// Namespace is empty for that of the route.
	Namespace string `json:"namespace,omitempty"`
	// SectionName is a listener; empty for every one that takes the route.
	SectionName string `json:"sectionName,omitempty"`
}

// ParentRefs returns the parents of a route, as the route has them.
func (g GatewayRef) ParentRefs() []any { return []any{values.Of(g)} }

// NoTimeout is the limit of an HTTPRoute for a request that has none: the answer to a start comes when the server is
// ready, and WebSockets stay open for hours.
const NoTimeout = "0s"
