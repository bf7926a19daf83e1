package flavor

import (
	"maps"
	"slices"
)

// Entry is a flavor as an entry of the file defines it.
type Entry struct {
	Key    string // "flavors.small", or "hubs.a.flavorsOverride.small" for one with what that entry overrides
	Name   string
	Flavor Flavor
	Own    Flavor // what the entry itself says of it
}

// All returns each flavor of the file, then each with every override of it; nil has none. Their values are not to be
// changed.
func (f *Flavors) All() []Entry {
	if f == nil {
		return nil
	}
	var all []Entry
	for _, name := range f.names {
		all = append(all, Entry{f.listKey() + "." + name, name, f.base[name], f.base[name]})
	}
	add := func(where string, o offer) {
		for _, name := range slices.Sorted(maps.Keys(o.override)) {
			if f.base[name] == nil {
				continue // it is not offered
			}
			key := where + "." + o.key + "." + f.listKey() + "Override." + name
			all = append(all, Entry{key, name, f.base[name].with(o.override[name]), o.override[name]})
		}
	}
	for _, set := range f.hubs {
		add("hubs", set.offer)
	}
	for _, set := range f.users {
		add("users", set.offer)
	}
	return all
}

// listKey is the key of the flavors or credits themselves.
func (f *Flavors) listKey() string {
	if f.credits {
		return "credits"
	}
	return "flavors"
}
