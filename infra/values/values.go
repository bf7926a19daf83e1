// Package values reads and merges the values of charts.
package values

import (
	"encoding/json"
	"maps"
	"reflect"
)

// Merge returns base with override laid over it: maps are merged, everything else is replaced. It changes neither.
func Merge(base, override map[string]any) map[string]any {
	merged := map[string]any{}
	maps.Copy(merged, base)
	for key, above := range override {
		below, isMap := merged[key].(map[string]any)
		if over, alsoMap := above.(map[string]any); isMap && alsoMap {
			above = Merge(below, over)
		}
		merged[key] = above
	}
	return merged
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

// Strings returns a map of strings, such as annotations, in the form of values.
func Strings(m map[string]string) map[string]any {
	made := map[string]any{}
	for key, value := range m {
		made[key] = value
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
