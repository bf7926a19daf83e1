package flavor

import (
	"cmp"

	"github.com/outposts-dev/outposts/server/access"
)

// Reason says whether a user may start a flavor, quotas aside, and which rule of the file decides it.
type Reason struct {
	Flavor string
	Open   bool
	Why    string // "users.staff offers it"
}

// Explain returns the reason for each flavor of the file, in its order; nil has none. The error is [ErrAuthentication].
func (f *Flavors) Explain(hub string, authentication any) ([]Reason, error) {
	c, err := f.bySets(hub, authentication)
	if f == nil || err != nil {
		return nil, err
	}
	groups := access.GroupsOf(authentication)
	reasons := make([]Reason, len(f.names))
	for i, name := range f.names {
		offered, ok := c.flavors[name]
		switch rule := offered.access(); {
		case !ok:
			reasons[i] = Reason{name, false, c.decides + " does not offer it"}
		case len(rule.AllowedGroups) > 0:
			reasons[i] = Reason{name, rule.Allows(groups), rule.Explain(groups)}
		default:
			reasons[i] = Reason{name, true, cmp.Or(c.decides, "the file") + " offers it"}
		}
	}
	return reasons, nil
}
