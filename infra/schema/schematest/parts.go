package schematest

import "maps"

// Parts returns a document of maps by what it has: "all", each of its keys alone ("only a"), and all but one of them
// ("without a").
func Parts(document map[string]any) map[string]map[string]any {
	parts := map[string]map[string]any{"all": document}
	for key, value := range document {
		rest := maps.Clone(document)
		delete(rest, key)
		parts["only "+key], parts["without "+key] = map[string]any{key: value}, rest
	}
	return parts
}
