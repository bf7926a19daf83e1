package flavor

import (
	"fmt"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/python"
)

// Usage counts services that are not being stopped: what quotas are judged by.
type Usage struct {
	ByFlavor     map[string]int         // of one hub
	ByUser       map[int]int            // of one hub, by user ID, any flavor; at least the user of an insert
	ByUserFlavor map[int]map[string]int // of one hub; as ByUser
	TotalFlavor  map[string]int         // of all hubs
	Hub          int                    // of one hub, any flavor
}

// Refusal is the error of a start that a quota refuses. Its text is a sentence for the user, to be put behind the
// server's name (protocol 4.6).
type Refusal struct {
	Reason   string // for metrics: flavor, group, max_per_user, max, global_max_per_user, per_hub
	sentence string
}

func (r *Refusal) Error() string { return r.sentence }

func refuse(reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, sentence: fmt.Sprintf(format, args...)}
}

// Admission is a flavor that a user may start, unless [Admission.Check] finds a limit reached.
type Admission struct {
	Flavor   Flavor        // nil if no flavors are configured
	Lifetime time.Duration // how long the service may run; 0 is without end

	hub, name string
	hubLimit  bool // max counts the services of this hub, not those of all
}

// Admit returns the flavor of this name if the user is offered it. Without configured flavors any name is admitted.
// Errors: [*Refusal], [ErrAuthentication].
func (f *Flavors) Admit(hub string, authentication any, name string) (Admission, error) {
	c, err := f.ofUser(hub, authentication)
	if err != nil {
		return Admission{}, err
	}
	if f != nil && c.flavors[name] == nil {
		return Admission{}, c.refusal(name)
	}
	if rule, denied := c.denied[name]; denied {
		return Admission{}, refuse("group", "%s", rule.Refusal("the flavor "+name))
	}
	return c.admission(hub, name)
}

// admission returns a flavor of the choice, or without flavors any.
func (c choice) admission(hub, name string) (Admission, error) {
	flavor := c.flavors[name]
	lifetime, err := flavor.lifetime()
	if err != nil {
		return Admission{}, fmt.Errorf("runtime of flavor %s: %w", name, err)
	}
	return Admission{Flavor: flavor, Lifetime: lifetime, hub: hub, name: name, hubLimit: c.hubLimit[name]}, nil
}

// refusal is the error for a flavor that the user is not offered.
func (c choice) refusal(name string) *Refusal {
	if name == "" {
		name = "None"
	}
	var allowed []string
	for _, n := range c.names {
		if !c.isDenied(n) {
			allowed = append(allowed, python.Repr(n))
		}
	}
	return refuse("flavor", "Start with flavor %s not allowed. Allowed values for user: [%s]",
		excerpt.Of(name, excerpt.Name), strings.Join(allowed, ", "))
}

// Limits are those of services of any flavor; nil or negative is no limit.
type Limits struct {
	PerUser *int // of one user of one hub
	PerHub  *int // of the hub
}

// Check judges a user's start by the usage at its insert; the error is a [*Refusal].
func (a Admission) Check(u Usage, user int, l Limits) error {
	limit, ok := a.Flavor.limit("maxPerUser")
	if ok && u.ByUserFlavor[user][a.name] >= limit {
		return refuse("max_per_user", "Start with flavor %s not allowed. Each user may only start %d of %s",
			a.name, limit, a.name)
	}
	if limit, ok = a.Flavor.limit("max"); ok && a.used(u) >= limit {
		return refuse("max", "Start with %s for %s not allowed. Maximum (%d) already reached.", a.name, a.hub, limit)
	}
	if reached(l.PerUser, u.ByUser[user]) {
		return refuse("global_max_per_user",
			"User with user id %d of %s has reached the maximum limit of services (%d)", user, a.hub, *l.PerUser)
	}
	if reached(l.PerHub, u.Hub) {
		return refuse("per_hub", "The hub %s has reached its maximum of servers on this system (%d)", a.hub, *l.PerHub)
	}
	return nil
}

func reached(limit *int, used int) bool { return limit != nil && *limit >= 0 && used >= *limit }

// used returns how many services count against max.
func (a Admission) used(u Usage) int {
	if a.hubLimit {
		return u.ByFlavor[a.name]
	}
	return u.TotalFlavor[a.name]
}
