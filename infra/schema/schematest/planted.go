package schematest

import (
	"maps"
	"slices"
	"strconv"
)

// UnknownKey is a key that no schema knows.
const UnknownKey = "unknownKey"

// Planted is a document with UnknownKey at one of its levels.
type Planted struct {
	Level    []string // path of the map that has the key; empty for the document itself
	Document map[string]any
}

// Plant returns a document once for each map in it, at whatever depth and in lists too, with UnknownKey in that map.
func Plant(document map[string]any) (all []Planted) {
	plant(document, nil, func(level []string, planted any) {
		all = append(all, Planted{level, planted.(map[string]any)})
	})
	return all
}

// PlantAll returns a document with UnknownKey in each map of it.
func PlantAll(document map[string]any) map[string]any {
	return plantAll(document).(map[string]any)
}

func plantAll(value any) any {
	switch v := value.(type) {
	case map[string]any:
		planted := map[string]any{UnknownKey: "x"}
		for key, below := range v {
			planted[key] = plantAll(below)
		}
		return planted
	case []any:
		planted := make([]any, len(v))
		for i, below := range v {
			planted[i] = plantAll(below)
		}
		return planted
	}
	return value
}

// plant calls made with each way to plant the key into a value at a path, and the path of the map that has it then.
func plant(value any, at []string, made func(level []string, planted any)) {
	switch v := value.(type) {
	case map[string]any:
		planted := maps.Clone(v)
		planted[UnknownKey] = "x"
		made(at, planted)
		for _, key := range slices.Sorted(maps.Keys(v)) {
			plant(v[key], append(slices.Clip(at), key), func(level []string, below any) {
				planted := maps.Clone(v)
				planted[key] = below
				made(level, planted)
			})
		}
	case []any:
		for i := range v {
			plant(v[i], append(slices.Clip(at), strconv.Itoa(i)), func(level []string, below any) {
				planted := slices.Clone(v)
				planted[i] = below
				made(level, planted)
			})
		}
	}
}
