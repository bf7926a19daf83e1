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
