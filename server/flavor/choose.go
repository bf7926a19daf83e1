package flavor

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"

	"github.com/outposts-dev/outposts/server/access"
	"github.com/outposts-dev/outposts/server/python"
)

// ErrAuthentication is the error for attributes of a user that are neither empty nor a JSON object.
var ErrAuthentication = errors.New("the authentication is not a JSON object")

// choice is the flavors of one hub or user.
type choice struct {
	names   []string // in the order of the file
	flavors map[string]Flavor
	// hubLimit marks flavors whose max comes from an override: it limits this hub's services. The max of the
	// flavor itself limits the services of all hubs together.
	hubLimit map[string]bool
	// decides is the key of the set that gives the list of names, "hubs.a" or "users.staff"; empty if none does.
	decides string
	// denied are the flavors that groups keep from the user with words of the operator's.
	denied map[string]access.Rule
}

// copies returns the flavors that are not denied, for a caller who may change the first level.
func (c choice) copies() map[string]Flavor {
	result := make(map[string]Flavor, len(c.flavors))
	for name, f := range c.flavors {
		if !c.isDenied(name) {
			result[name] = maps.Clone(f)
		}
	}
	return result
}

func (c choice) isDenied(name string) bool {
	_, denied := c.denied[name]
	return denied
}

// judge takes away what the user's groups do not open, or marks it as denied if the operator has words for that.
func (c *choice) judge(groups access.Groups) {
	var hidden []string
	for name, f := range c.flavors {
		switch rule := f.access(); {
		case rule.Allows(groups):
		case rule.DeniedText == "":
			hidden = append(hidden, name)
		default:
			if c.denied == nil {
				c.denied = map[string]access.Rule{}
			}
			c.denied[name] = rule
		}
	}
	if hidden != nil {
		c.keep(func(name string) bool { return !slices.Contains(hidden, name) })
	}
}

// OfHub returns what a hub is offered, by name; the caller may change it.
func (f *Flavors) OfHub(hub string) map[string]Flavor { return f.ofHub(hub).copies() }

// OfUser returns what a user of a hub is offered, by name; the caller may change it. Authentication is decoded JSON,
// nil or an object, else the error is [ErrAuthentication]. A forbidden user gets no flavor, and each credit with cap 0.
func (f *Flavors) OfUser(hub string, authentication any) (map[string]Flavor, error) {
	c, err := f.ofUser(hub, authentication)
	return c.copies(), err
}

// ofHub returns a hub's offer: of the hub sets that match its name the one with the highest weight (the first of equal
// ones) reduces and overrides the flavors of the file; without one it is all of them.
func (f *Flavors) ofHub(hub string) choice {
	if f == nil {
		return choice{}
	}
	c := f.everything()
	var best *hubSet
	for i := range f.hubs {
		set := &f.hubs[i]
		if set.hub.matches(hub) && (best == nil || set.weight > best.weight) {
			best = set
		}
	}
	if best == nil {
		return c
	}
	if best.chosen != nil {
		c.reduce(best.chosen)
		c.decides = "hubs." + best.key
	}
	c.overrideBy(best.override)
	return c
}

// ofUser returns a user's offer: what the sets of the file give, judged by the user's groups.
func (f *Flavors) ofUser(hub string, authentication any) (choice, error) {
	c, err := f.bySets(hub, authentication)
	c.judge(access.GroupsOf(authentication))
	return c, err
}

// bySets returns the offer of the sets: of the user sets that match, the one with the highest weight (the last of equal
// ones) applies to the hub's offer. Its list of flavors, if it has one, replaces the hub's, and its overrides come on
// top of the hub's. An empty authentication (nil, {}, [] ...) gives the hub's offer.
func (f *Flavors) bySets(hub string, authentication any) (choice, error) {
	c := f.ofHub(hub)
	if f == nil || len(f.users) == 0 || python.IsFalse(authentication) {
		return c, nil
	}
	attributes, ok := authentication.(map[string]any)
	if !ok {
		return choice{}, ErrAuthentication
	}
	var best *userSet
	for i := range f.users {
		set := &f.users[i]
		if set.matches(hub, attributes) && (best == nil || set.weight >= best.weight) {
			best = set
		}
	}
	switch {
	case best == nil:
		return c, nil
	case best.forbidden && f.credits:
		return c.withoutCredit(), nil
	case best.forbidden:
		c.reduce(nil)
		c.decides = "users." + best.key
		return c, nil
	}
	if best.chosen != nil {
		// The operator gave this set a list of its own, so it may open more than the hub's; the hub's overrides stay.
		mine := f.everything()
		mine.reduce(best.chosen)
		for name := range mine.flavors {
			if of := c.flavors[name]; of != nil {
				mine.flavors[name], mine.hubLimit[name] = of, c.hubLimit[name]
			}
		}
		c = mine
		c.decides = "users." + best.key
	}
	c.overrideBy(best.override)
	return c, nil
}

// everything returns all flavors of the file.
func (f *Flavors) everything() choice {
	return choice{names: slices.Clone(f.names), flavors: maps.Clone(f.base), hubLimit: map[string]bool{}}
}

// reduce keeps the named flavors, in the order of the file.
func (c *choice) reduce(keep []string) {
	c.keep(func(name string) bool { return slices.Contains(keep, name) })
}

func (c *choice) keep(is func(name string) bool) {
	c.names = slices.DeleteFunc(c.names, func(name string) bool { return !is(name) })
	maps.DeleteFunc(c.flavors, func(name string, _ Flavor) bool { return !is(name) })
}

// with returns the flavor with other values for some keys, and of its resources with those for some of them: what an
// override does not name, a limit above all, stays.
func (f Flavor) with(values map[string]any) Flavor {
	changed := maps.Clone(f)
	maps.Copy(changed, values)
	own, ok1 := f["resources"].(map[string]any)
	over, ok2 := values["resources"].(map[string]any)
	if ok1 && ok2 {
		resources := maps.Clone(own)
		maps.Copy(resources, over)
		changed["resources"] = resources
	}
	return changed
}

// overrideBy replaces keys of flavors. Flavors that are not in the choice are left out.
func (c *choice) overrideBy(override map[string]map[string]any) {
	for name, values := range override {
		f, ok := c.flavors[name]
		if !ok {
			continue
		}
		c.flavors[name] = f.with(values)
		if _, ok := values["max"]; ok {
			c.hubLimit[name] = true
		}
	}
}

// withoutCredit returns every credit with nothing to spend, in the shape of all others.
func (c choice) withoutCredit() choice {
	for name, f := range c.flavors {
		none := maps.Clone(f)
		none["cap"], none["grant_value"] = 0, 0
		if _, ok := none["grant_interval"]; !ok {
			none["grant_interval"] = 86400
		}
		c.flavors[name] = none
	}
	return c
}

func (m matcher) matches(text string) bool {
	if m.pattern != nil {
		return m.pattern.Match(text)
	}
	return slices.Contains(m.values, text)
}

// isOf reports whether the set is about users of a hub.
func (s *userSet) isOf(hub string) bool { return s.hubs == nil || slices.Contains(s.hubs, hub) }

// matches reports whether a user's attributes pass one of the set's tests (or none, if it is negated).
func (s *userSet) matches(hub string, attributes map[string]any) bool {
	if !s.isOf(hub) {
		return false
	}
	matched := slices.ContainsFunc(s.tests, func(t attributeTest) bool { return t.matches(attributes) })
	return matched != s.negate
}

// matches reports whether the user has the attribute with any of the wanted values.
func (t attributeTest) matches(attributes map[string]any) bool {
	value, ok := attributes[t.key]
	if !ok {
		return false
	}
	values, ok := value.([]any)
	if !ok {
		values = []any{value}
	}
	return slices.ContainsFunc(values, func(v any) bool {
		text, ok := attributeText(v)
		return ok && t.value.matches(text)
	})
}

// attributeText returns a user's attribute as the text that patterns are compared with; ok is false for values
// that have none (null, objects, lists).
func attributeText(v any) (text string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case json.Number:
		return v.String(), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case int:
		return strconv.Itoa(v), true
	}
	return "", false
}
