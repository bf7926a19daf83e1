package options

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// A profile is one entry of profile_list, as KubeSpawner reads it. What only a form shows is left out.
type profile struct {
	slug     string
	override map[string]any
	options  []profileOption // in the order of their names: JSON objects have no other
	initial  bool            // chosen when the request names none
}

// profileOption is one question that a profile asks.
type profileOption struct {
	name     string
	choices  map[string]map[string]any // overrides, by the name of the choice
	initial  string                    // chosen when the request names none; empty without choices
	unlisted *unlistedChoice
}

// unlistedChoice lets a user write a value of their own.
type unlistedChoice struct {
	pattern  *regexp.Regexp // nil accepts any value
	message  string
	override map[string]any
}

// unlistedSuffix ends the name of a user option that carries a value of the user's own.
const unlistedSuffix = "--unlisted-choice"

// checkProfiles notes everything that is wrong in a profile list, overrides included.
func checkProfiles(list any, p *Problems) {
	source := p.Source
	defer func() { p.Source = source }()
	for _, pr := range readProfiles(list, p) {
		check := func(override map[string]any) {
			p.Source = "profile " + pr.slug
			checkOverride(override, p)
			p.Source = source
		}
		check(pr.override)
		for _, o := range pr.options {
			for _, c := range o.choices {
				check(c)
			}
			if o.unlisted != nil {
				check(fixedPart(o.unlisted.override))
			}
		}
	}
}

// checkOverride checks the values of an override as options; null is always allowed inside maps, where it removes a
// key.
func checkOverride(override map[string]any, p *Problems) map[string]any {
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

// readProfiles reads profile_list, a list or a map whose values count in the order of the keys.
func readProfiles(list any, p *Problems) []profile {
	var raw []any
	switch list := list.(type) {
	case []any:
		raw = list
	case map[string]any:
		raw = sortedValues(list)
	}
	out := make([]profile, 0, len(raw))
	marked := -1
	for i, e := range raw {
		path := fmt.Sprintf("profile_list[%d]", i)
		m, ok := e.(map[string]any)
		if !ok {
			p.Addf(path, "must be an object")
			continue
		}
		pr := profile{override: objectOf(m, "kubespawner_override", path, p)}
		pr.slug, _ = m["slug"].(string)
		if display, _ := m["display_name"].(string); pr.slug == "" {
			pr.slug = profileSlug(display)
		}
		offered := objectOf(m, "profile_options", path, p)
		for _, name := range slices.Sorted(maps.Keys(offered)) {
			if o, ok := offered[name].(map[string]any); ok {
				pr.options = append(pr.options, readOption(name, o, path+"."+name, p))
			} else {
				p.Addf(path+"."+name, "must be an object")
			}
		}
		if isDefault, _ := m["default"].(bool); isDefault && marked < 0 {
			marked = len(out)
		}
		out = append(out, pr)
	}
	if len(out) > 0 {
		out[max(marked, 0)].initial = true
	}
	return out
}

// readOption reads one entry of profile_options.
func readOption(name string, m map[string]any, path string, p *Problems) profileOption {
	o := profileOption{name: name, choices: map[string]map[string]any{}}
	choices := objectOf(m, "choices", path, p)
	for _, key := range slices.Sorted(maps.Keys(choices)) {
		c, ok := choices[key].(map[string]any)
		if !ok {
			p.Addf(path+"."+key, "must be an object")
			continue
		}
		o.choices[key] = objectOf(c, "kubespawner_override", path+"."+key, p)
		if isDefault, _ := c["default"].(bool); isDefault || o.initial == "" {
			o.initial = key
		}
	}
	unlisted := objectOf(m, "unlisted_choice", path, p)
	if enabled, _ := unlisted["enabled"].(bool); enabled {
		o.unlisted = &unlistedChoice{override: objectOf(unlisted, "kubespawner_override", path, p)}
		o.unlisted.message, _ = unlisted["validation_message"].(string)
		if expression, _ := unlisted["validation_regex"].(string); expression != "" {
			compiled, err := regexp.Compile(`^(?:` + expression + `)`) // anchored at the start only, as in KubeSpawner
			if err != nil {
				p.Addf(path+".unlisted_choice.validation_regex", "%v", err)
			}
			o.unlisted.pattern = compiled
		}
	}
	return o
}

// objectOf returns m[name] as a map; absent and null are empty.
func objectOf(m map[string]any, name, path string, p *Problems) map[string]any {
	switch v := m[name].(type) {
	case nil:
	case map[string]any:
		return v
	default:
		p.Addf(path+"."+name, "must be a map, not %s", typeName(v))
	}
	return nil
}

// ApplyProfile puts the profile that the user options choose over merged options. current returns an option's
// value without the profile, defaults included. It returns the variables that the profile removes from the environment.
// It differs from KubeSpawner where no list is configured: a profile in the request is then ignored.
func ApplyProfile(merged map[string]any, current func(string) any, userOptions map[string]any, p *Problems) []string {
	list := readProfiles(merged["profile_list"], p)
	if len(list) == 0 {
		return nil
	}
	wanted, named := userOptions["profile"]
	slug, isString := wanted.(string)
	if named && wanted != nil && !isString {
		p.Addf("profile", "must be a string, not %s", typeName(wanted))
		return nil
	}
	i := slices.IndexFunc(list, func(pr profile) bool {
		if slug == "" {
			return pr.initial
		}
		return pr.slug == slug
	})
	if i < 0 {
		known := make([]string, len(list))
		for j, pr := range list {
			known[j] = pr.slug
		}
		p.Addf("profile", "unknown profile %q; the profiles are %s", slug, strings.Join(known, ", "))
		return nil
	}
	overrides := []map[string]any{list[i].override}
	for _, o := range list[i].options {
		if override, ok := o.choose(userOptions, p); ok {
			overrides = append(overrides, override)
		}
	}
	source := p.Source
	p.Source = "profile " + list[i].slug
	defer func() { p.Source = source }()
	var removed []string
	for _, override := range overrides {
		for name, value := range checkOverride(override, p) {
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

// choose returns the override of what the user options pick: their own value, else a choice, else the initial one.
func (o profileOption) choose(userOptions map[string]any, p *Problems) (map[string]any, bool) {
	if own, _ := userOptions[o.name+unlistedSuffix].(string); own != "" {
		switch {
		case o.unlisted == nil:
			p.Addf(o.name, "this profile option does not accept a custom value")
		case o.unlisted.pattern != nil && !o.unlisted.pattern.MatchString(own):
			message := o.unlisted.message
			if message == "" {
				message = "this value is not accepted"
			}
			p.Addf(o.name, "%s", message)
		default:
			return substitute(o.unlisted.override, own).(map[string]any), true
		}
		return nil, false
	}
	key := o.initial
	if wanted, ok := userOptions[o.name]; ok && wanted != nil {
		key, _ = wanted.(string)
	}
	choice, ok := o.choices[key]
	if !ok {
		choices := slices.Sorted(maps.Keys(o.choices))
		p.Addf(o.name, "unknown choice %q; the choices are %s", key, strings.Join(choices, ", "))
	}
	return choice, ok
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
