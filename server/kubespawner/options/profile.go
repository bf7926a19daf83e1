package options

import (
	"cmp"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/server/access"
	"github.com/outposts-dev/outposts/server/python"
)

// checkOverride checks the values of an override, which come from source, as options; null is always allowed inside
// maps, where it removes a key.
func checkOverride(override map[string]any, source string, p *Problems) map[string]any {
	defer func(before string) { p.Source = before }(p.Source)
	p.Source = source
	clean := make(map[string]any, len(override))
	for name, value := range override {
		clean[name] = withoutNulls(value)
	}
	checked := CheckLayer(clean, p)
	out := make(map[string]any, len(checked))
	for name, value := range checked {
		out[name] = withNulls(value, override[name])
	}
	return out
}

// withNulls puts the nulls of the original back into a checked map: they remove keys.
func withNulls(checked, original any) any {
	from, ok1 := original.(map[string]any)
	to, ok2 := checked.(map[string]any)
	if !ok1 || !ok2 {
		return checked
	}
	out := maps.Clone(to)
	for k, e := range from {
		if e == nil {
			out[k] = nil
		} else {
			out[k] = withNulls(out[k], e)
		}
	}
	return out
}

// fixedPart leaves out the values that a user's own value completes.
func fixedPart(override map[string]any) map[string]any {
	out := maps.Clone(override)
	maps.DeleteFunc(out, func(_ string, v any) bool { return !reflect.DeepEqual(substitute(v, ""), v) })
	return out
}

// withoutNulls drops the entries of a map that are null, at any depth.
func withoutNulls(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := make(map[string]any, len(m))
	for k, e := range m {
		if e != nil {
			out[k] = withoutNulls(e)
		}
	}
	return out
}

// ApplyProfile puts the profile that the user options choose over merged options, if its rule opens it to the user. Of
// the options, resources are of a flavor, whose limits null does not lift; others it lifts, as in
// KubeSpawner. current returns an option's value without the profile, defaults included. It returns the variables that
// the profile removes from the environment.
// It differs from KubeSpawner where no list is configured: a profile in the request is then ignored.
func ApplyProfile(
	merged, resources map[string]any, current func(string) any, userOptions map[string]any,
	opens func(access.Rule) bool, p *Problems,
) []string {
	list := readProfiles(merged["profile_list"], p)
	if len(list) == 0 {
		return nil
	}
	slug, ok := chosen(userOptions, "profile", p)
	if !ok {
		return nil
	}
	picked, ok := pick(list, slug, opens, p)
	if !ok {
		return nil
	}
	overrides := []map[string]any{picked.override}
	for _, o := range picked.options {
		if override, ok := o.choose(userOptions, p); ok {
			overrides = append(overrides, override)
		}
	}
	var removed []string
	for _, override := range overrides {
		checked := checkOverride(override, "profile "+picked.slug, p)
		CheckLimits(resources, checked, p)
		for name, value := range checked {
			if name == "environment" {
				for variable, v := range value.(map[string]any) {
					if v == nil {
						removed = append(removed, variable)
					}
				}
			}
			below, set := merged[name]
			if !set {
				below = current(name)
			}
			merged[name] = mergeDeep(below, value)
		}
	}
	return removed
}

// pick returns the profile of a slug, or without one the initial one of those that are open to the user.
func pick(list []profile, slug string, opens func(access.Rule) bool, p *Problems) (pr profile, ok bool) {
	open := openTo(list, opens)
	i := slices.IndexFunc(open, func(pr profile) bool {
		if slug == "" {
			return pr.initial
		}
		return pr.slug == slug
	})
	if i >= 0 {
		return open[i], true
	}
	i = slices.IndexFunc(list, func(pr profile) bool { return slug != "" && pr.slug == slug })
	switch {
	case slug == "":
		p.Addf("profile", "You may not use any profile of this system.")
	case i >= 0 && list[i].access.DeniedText != "":
		p.Addf("profile", "%s", list[i].access.Refusal("the profile "+slug))
	default: // one that is not open without a word is as one that is not there
		known := make([]string, len(open))
		for j, pr := range open {
			known[j] = pr.slug
		}
		p.Addf("profile", "unknown profile %q; the profiles are %s", slug, strings.Join(known, ", "))
	}
	return profile{}, false
}

// openTo returns the profiles of a list that are open to a user, one of which is the initial one.
func openTo(list []profile, opens func(access.Rule) bool) []profile {
	open := slices.DeleteFunc(slices.Clone(list), func(pr profile) bool { return !opens(pr.access) })
	markInitial(open)
	return open
}

// choose returns the override of what the user options pick: their own value, else a choice, else the initial one.
func (o profileOption) choose(userOptions map[string]any, p *Problems) (map[string]any, bool) {
	own, ok := chosen(userOptions, o.name+unlistedSuffix, p)
	if !ok {
		return nil, false
	}
	if own != "" {
		switch {
		case o.unlisted == nil:
			p.Addf(o.name, "this profile option does not accept a custom value")
		case o.unlisted.pattern != nil && !o.unlisted.pattern.MatchString(own):
			p.Addf(o.name, "%s", cmp.Or(o.unlisted.message, "this value is not accepted"))
		default:
			return substitute(o.unlisted.override, own).(map[string]any), true
		}
		return nil, false
	}
	key, ok := chosen(userOptions, o.name, p)
	if !ok {
		return nil, false
	}
	key = cmp.Or(key, o.initial)
	choice, ok := o.choices[key]
	if !ok {
		choices := slices.Sorted(maps.Keys(o.choices))
		p.Addf(o.name, "unknown choice %q; the choices are %s", key, strings.Join(choices, ", "))
	}
	return choice, ok
}

// chosen returns a user option that is a string; it is "" if there is none or if its value is false in Python, which
// for KubeSpawner is no choice. Another value is noted.
func chosen(userOptions map[string]any, name string, p *Problems) (string, bool) {
	text, isString := userOptions[name].(string)
	if !isString && !python.IsFalse(userOptions[name]) {
		p.Addf(name, "must be a string, not %s", typeName(userOptions[name]))
		return "", false
	}
	return text, true
}

// WithoutOwnValues returns user options without the values that users have written themselves.
func WithoutOwnValues(userOptions map[string]json.RawMessage) map[string]json.RawMessage {
	out := maps.Clone(userOptions)
	maps.DeleteFunc(out, func(name string, _ json.RawMessage) bool { return strings.HasSuffix(name, unlistedSuffix) })
	return out
}

// substitute puts value for {value} in every string inside v; other braces stay.
func substitute(v any, value string) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "{value}", value)
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = substitute(e, value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = substitute(e, value)
		}
		return out
	}
	return v
}

// mergeDeep puts over on top of base: maps at every depth are merged, null removes a key, anything else replaces.
func mergeDeep(base, over any) any {
	above, ok := over.(map[string]any)
	if !ok {
		return over
	}
	below, _ := base.(map[string]any)
	out := maps.Clone(below)
	if out == nil {
		out = map[string]any{}
	}
	for key, value := range above {
		if value == nil {
			delete(out, key)
		} else {
			out[key] = mergeDeep(out[key], value)
		}
	}
	return out
}
