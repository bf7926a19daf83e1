package outpost

import (
	"maps"
	"slices"
)

// ofHub returns what a hub is offered: of the hub sets that match its name the one with the highest weight (the
// first of equal ones) reduces and overrides the flavors of the file; without one it is all of them.
func (f *Flavors) ofHub(hub string) choice {
	if f == nil {
		return choice{}
	}
	c := f.everything()
	var best *hubSet
	for i := range f.hubs {
		set := &f.hubs[i]
		if set.matches(hub) && (best == nil || set.weight > best.weight) {
			best = set
		}
	}
	if best == nil {
		return c
	}
	if best.chosen != nil {
		c.reduce(best.chosen)
	}
	c.overrideBy(best.override)
	return c
}

// ofUser returns what a user of a hub is offered. Of the user sets that match, the one with the highest weight (the
// last of equal ones) applies to the hub's offer: its list of flavors, if it has one, replaces the hub's, and its
// overrides come on top of the hub's. Authentication is decoded JSON; an empty one (nil, {}, [] ...) gives the
// hub's offer.
func (f *Flavors) ofUser(hub string, authentication any) (choice, error) {
	c := f.ofHub(hub)
	if f == nil || len(f.users) == 0 || emptyJSON(authentication) {
		return c, nil
	}
	attributes, ok := authentication.(map[string]any)
	if !ok {
		return choice{}, Errorf(KindInvalid, "The authentication must be a JSON object.")
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
	}
	c.overrideBy(best.override)
	return c, nil
}

// everything returns all flavors of the file.
func (f *Flavors) everything() choice {
	return choice{configured: true, names: slices.Clone(f.names), flavors: maps.Clone(f.base), hubLimit: map[string]bool{}}
}

// reduce keeps the named flavors, in the order of the file.
func (c *choice) reduce(keep []string) {
	c.names = slices.DeleteFunc(c.names, func(name string) bool { return !slices.Contains(keep, name) })
	maps.DeleteFunc(c.flavors, func(name string, _ Flavor) bool { return !slices.Contains(keep, name) })
}

// overrideBy replaces keys of flavors, one level deep. Flavors that are not in the choice are left out.
func (c *choice) overrideBy(override map[string]map[string]any) {
	for name, values := range override {
		f, ok := c.flavors[name]
		if !ok {
			continue
		}
		f = maps.Clone(f)
		if f == nil {
			f = Flavor{}
		}
		maps.Copy(f, values)
		c.flavors[name] = f
		if _, ok := values["max"]; ok {
			c.hubLimit[name] = true
		}
	}
}

// withoutCredit returns every credit with nothing to spend, in the shape of all others.
func (c choice) withoutCredit() choice {
	for name, f := range c.flavors {
		none := maps.Clone(f)
		if none == nil {
			none = Flavor{}
		}
		none["cap"], none["grant_value"] = 0, 0
		if _, ok := none["grant_interval"]; !ok {
			none["grant_interval"] = 86400
		}
		c.flavors[name] = none
	}
	return c
}

func (s *hubSet) matches(hub string) bool {
	if s.pattern != nil {
		return s.pattern.match(hub)
	}
	return slices.Contains(s.names, hub)
}

// matches tells whether a user's attributes pass one of the set's tests (or none, if it is negated).
func (s *userSet) matches(hub string, attributes map[string]any) bool {
	if s.hubs != nil && !slices.Contains(s.hubs, hub) {
		return false
	}
	matched := slices.ContainsFunc(s.tests, func(t attributeTest) bool { return t.matches(attributes) })
	return matched != s.negate
}

// matches tells whether the user has the attribute with any of the wanted values.
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
		if !ok {
			return false
		}
		if t.pattern != nil {
			return t.pattern.match(text)
		}
		return slices.Contains(t.values, text)
	})
}

// emptyJSON tells whether a decoded JSON value is what Python calls false.
func emptyJSON(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	case string:
		return v == ""
	case bool:
		return !v
	case float64:
		return v == 0
	}
	return false
}
