package effect

import (
	"slices"

	"github.com/outposts-dev/outposts/infra/values"
)

// Meant returns what an operator means by their values. Values with every key of the chart's defaults, as nobody writes
// them, are the chart's own file that `helm show values` prints, with changes: of them only the changes are meant, and
// what repeats a default says nothing. Of all others each is meant as it is written.
func (t Table) Meant(own map[string]any) map[string]any {
	if len(t.Defaults) == 0 {
		return own
	}
	for key := range t.Defaults {
		if _, there := own[key]; !there {
			return own
		}
	}
	return changes(own, t.Defaults)
}

// changes returns what of a document differs from the defaults.
func changes(document, defaults map[string]any) map[string]any {
	made := map[string]any{}
	for key, value := range document {
		initial, there := defaults[key]
		inner, isMap := value.(map[string]any)
		if below, alsoMap := initial.(map[string]any); isMap && alsoMap {
			if value = changes(inner, below); len(value.(map[string]any)) == 0 {
				continue
			}
		} else if there && same(value, initial) {
			continue
		}
		made[key] = value
	}
	return made
}

// isDefault reports whether a value of the operator's says what the chart has there anyway. Each release of a chart has
// other tags of its own images, so any tag does beside the chart's own name of an image.
func (t Table) isDefault(own map[string]any, path []string) bool {
	at := wholeList(own, path)
	image, last := at[:len(at)-1], at[len(at)-1]
	if name := values.At(t.Defaults, append(slices.Clone(image), "name")...); last == "tag" && name != nil {
		return values.At(own, append(slices.Clone(image), "name")...) == name
	}
	initial, there := find(t.Defaults, at)
	return there && same(values.At(own, at...), initial)
}

// find returns what is at a path of nested maps, and whether there is anything, be it null.
func find(m map[string]any, path []string) (any, bool) {
	above, _ := values.At(m, path[:len(path)-1]...).(map[string]any)
	value, there := above[path[len(path)-1]]
	return value, there
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

// Overruled returns the places of defaults that the operator's values repeat without meaning them, and that have
// another value in ours, in the order of their keys. What is added to theirs is not another value.
func (t Table) Overruled(own, ours map[string]any) (paths [][]string) {
	meant := t.Meant(own)
	for _, path := range values.Leaves(ours) {
		theirs, set := values.At(own, path...), values.At(ours, path...)
		if theirs != nil && values.At(meant, path...) == nil && !values.Equal(theirs, set) {
			paths = append(paths, path)
		}
	}
	return paths
}
