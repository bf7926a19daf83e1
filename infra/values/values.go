// Package values reads and merges the values of charts.
package values

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"sigs.k8s.io/yaml"
)

// Merge returns base with override laid over it: maps are merged, everything else is replaced. It changes neither.
func Merge(base, override map[string]any) map[string]any {
	return merge(base, override, func(_, above any) any { return above })
}

// Add returns base with more laid over it: maps are merged, lists are added to, everything else is replaced. What a
// list has already is not added to it again. It changes neither.
func Add(base, more map[string]any) map[string]any {
	return merge(base, more, func(below, above any) any {
		list, isList := below.([]any)
		further, alsoList := above.([]any)
		if !isList || !alsoList {
			return above
		}
		list = slices.Clone(list)
		for _, one := range further {
			if !has(list, one) {
				list = append(list, one)
			}
		}
		return list
	})
}

// merge merges maps, and calls join for what is in both and is not a map in both.
func merge(base, override map[string]any, join func(below, above any) any) map[string]any {
	merged := map[string]any{}
	maps.Copy(merged, base)
	for key, above := range override {
		below, there := merged[key]
		under, isMap := below.(map[string]any)
		switch over, alsoMap := above.(map[string]any); {
		case isMap && alsoMap:
			merged[key] = merge(under, over, join)
		case there:
			merged[key] = join(below, above)
		default:
			merged[key] = above
		}
	}
	return merged
}

func has(list []any, one any) bool {
	return slices.ContainsFunc(list, func(other any) bool { return Equal(other, one) })
}

// Equal reports whether two values are the same in JSON: 1 and 1.0 are the same number.
func Equal(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y) || reflect.DeepEqual(a, b)
}

// Lost returns the paths of what a document has and made has not, in the order of their keys: values that are another
// or missing in made, and entries of lists that are not in its list.
func Lost(made, document any, at ...string) (paths [][]string) {
	switch v := document.(type) {
	case map[string]any:
		there, isMap := made.(map[string]any)
		if !isMap {
			return [][]string{at}
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			path := append(slices.Clip(at), key)
			if below, has := there[key]; has {
				paths = append(paths, Lost(below, v[key], path...)...)
			} else {
				paths = append(paths, path)
			}
		}
	case []any:
		there, isList := made.([]any)
		if !isList {
			return [][]string{at}
		}
		for i, one := range v {
			if !has(there, one) {
				paths = append(paths, append(slices.Clip(at), strconv.Itoa(i)))
			}
		}
	default:
		if !Equal(made, document) {
			return [][]string{at}
		}
	}
	return paths
}

// At returns what is at a path of nested maps; nil where there is nothing.
func At(m map[string]any, path ...string) any {
	var value any = m
	for _, key := range path {
		inner, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = inner[key]
	}
	return value
}

// HasMap reports whether a map at any depth of a document fits.
func HasMap(document any, fits func(map[string]any) bool) bool {
	within := func(part any) bool { return HasMap(part, fits) }
	switch v := document.(type) {
	case []any:
		return slices.ContainsFunc(v, within)
	case map[string]any:
		return fits(v) || slices.ContainsFunc(slices.Collect(maps.Values(v)), within)
	}
	return false
}

// Strings returns a map of strings, such as annotations, in the form of values.
func Strings(m map[string]string) map[string]any {
	made := map[string]any{}
	for key, value := range m {
		made[key] = value
	}
	return made
}

// List returns a list of strings in the form of values; nil for none.
func List(texts []string) (made []any) {
	for _, text := range texts {
		made = append(made, text)
	}
	return made
}

// Given returns m without what nobody has given: keys of nil, "", 0, false, and empty maps and lists. It changes m.
func Given(m map[string]any) map[string]any {
	maps.DeleteFunc(m, func(_ string, value any) bool {
		switch v := reflect.ValueOf(value); v.Kind() {
		case reflect.Map, reflect.Slice:
			return v.Len() == 0
		default:
			return !v.IsValid() || v.IsZero()
		}
	})
	return m
}

// Parse returns the values in a YAML file that the program has in it. One that cannot be read panics.
func Parse(text string) map[string]any {
	var made map[string]any
	if err := yaml.Unmarshal([]byte(text), &made); err != nil {
		panic(err)
	}
	return made
}

// Of returns a struct as values, by its JSON tags. It is for structs of strings, numbers and booleans: what JSON
// cannot express panics.
func Of(fields any) map[string]any {
	var made map[string]any
	text, err := json.Marshal(fields)
	if err == nil {
		err = json.Unmarshal(text, &made)
	}
	if err != nil {
		panic(err)
	}
	return made
}
