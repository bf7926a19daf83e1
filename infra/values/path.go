package values

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Leaves returns the paths of all values in a document that are neither maps nor lists, in the order of their keys,
// each behind at. Parts of a path are keys of maps and indices of lists.
func Leaves(document any, at ...string) (paths [][]string) {
	switch v := document.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			paths = append(paths, Leaves(v[key], append(slices.Clip(at), key)...)...)
		}
	case []any:
		for i, one := range v {
			paths = append(paths, Leaves(one, append(slices.Clip(at), strconv.Itoa(i))...)...)
		}
	default:
		paths = append(paths, at)
	}
	return paths
}

// Match reports whether a path fits a pattern, its parts with dots between them: "*" is any one part, "**" at the end
// is whatever is below.
func Match(pattern string, path []string) bool {
	parts := strings.Split(pattern, ".")
	for i, part := range parts {
		if part == "**" {
			return true
		}
		if i >= len(path) || part != "*" && part != path[i] {
			return false
		}
	}
	return len(parts) == len(path)
}

// Replace returns a document with what replace makes of the value at a path; the document itself stays as it is. A path
// that leads nowhere replaces nothing.
func Replace(document any, path []string, replace func(any) any) any {
	if len(path) == 0 {
		return replace(document)
	}
	switch v := document.(type) {
	case map[string]any:
		if below, there := v[path[0]]; there {
			made := maps.Clone(v)
			made[path[0]] = Replace(below, path[1:], replace)
			return made
		}
	case []any:
		if i, err := strconv.Atoi(path[0]); err == nil && 0 <= i && i < len(v) {
			made := slices.Clone(v)
			made[i] = Replace(v[i], path[1:], replace)
			return made
		}
	}
	return document
}
