package effect

import (
	"slices"

	"github.com/outposts-dev/outposts/infra/values"
)

// Meant returns what an operator means by their values. A section, which is any map or the whole, that repeats most of
// the chart's defaults for it, and two at least, is a copy of them, as `helm show values` prints them: of it, and of
// all below it, only the changes are meant. Elsewhere a value is meant as it is written, except that an empty default
// says nothing at the places of needed, which are not the operator's to change.
func (t Table) Meant(own, needed map[string]any) map[string]any {
	if len(own) == 0 {
		return own
	}
	return meant(own, t.Defaults, needed, false)
}

// meant returns what is meant by a section with these defaults, which is in a copy or not.
func meant(own, defaults, needed map[string]any, copied bool) map[string]any {
	repeated, all := repeats(own, defaults)
	copied = copied || repeated > 1 && 2*repeated > all
	made := map[string]any{}
	for key, value := range own {
		initial, there := defaults[key]
		inner, isMap := value.(map[string]any)
		if below, alsoMap := initial.(map[string]any); isMap && alsoMap {
			neededBelow, _ := needed[key].(map[string]any)
			if inner = meant(inner, below, neededBelow, copied); len(inner) > 0 {
				made[key] = inner
			}
			continue
		}
		says := !there || !same(value, initial)
		if says || !copied && !(needed[key] != nil && isEmpty(value) && values.Equal(value, initial)) {
			made[key] = value
		}
	}
	return made
}

// repeats returns how many of the defaults of a section a document repeats, and how many there are.
func repeats(own, defaults map[string]any) (repeated, all int) {
	for key, initial := range defaults {
		value, there := own[key]
		if below, isMap := initial.(map[string]any); isMap && len(below) > 0 {
			inner, _ := value.(map[string]any)
			r, n := repeats(inner, below)
			repeated, all = repeated+r, all+n
			continue
		}
		all++
		if there && same(value, initial) {
			repeated++
		}
	}
	return repeated, all
}

// isEmpty reports whether a value is nothing, an empty string or list.
func isEmpty(value any) bool {
	list, isList := value.([]any)
	return value == nil || value == "" || isList && len(list) == 0
}

// isDefault reports whether a value of the operator's says what the chart has there anyway. Each release of a chart has
// other tags of its own images, so any tag does beside the chart's own name of an image.
func (t Table) isDefault(own map[string]any, path []string) bool {
	at := wholeList(own, path)
	image, last := at[:len(at)-1], at[len(at)-1]
	if name := values.At(t.Defaults, append(slices.Clone(image), "name")...); last == "tag" && name != nil {
		return values.At(own, append(slices.Clone(image), "name")...) == name
	}
	there := len(presentPart(t.Defaults, at)) == len(at) // be it null
	return there && same(values.At(own, at...), values.At(t.Defaults, at...))
}

// same reports whether a value says what a default says; null says no more than an empty list or map.
func same(value, initial any) bool {
	if value == nil {
		list, isList := initial.([]any)
		below, isMap := initial.(map[string]any)
		return initial == nil || isList && len(list) == 0 || isMap && len(below) == 0
	}
	return values.Equal(value, initial)
}

// Overruled returns the places of defaults that the operator's values repeat without meaning them (see [Table.Meant]),
// and that have another value in ours, in the order of their keys. What is added to theirs is not another value.
func (t Table) Overruled(own, ours map[string]any) (paths [][]string) {
	meant := t.Meant(own, nil)
	for _, path := range values.Leaves(ours) {
		theirs, set := values.At(own, path...), values.At(ours, path...)
		if theirs != nil && values.At(meant, path...) == nil && !values.Equal(theirs, set) {
			paths = append(paths, path)
		}
	}
	return paths
}
