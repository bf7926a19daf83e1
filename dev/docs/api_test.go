package docs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

func apiPage(t *testing.T) string {
	document, err := openapi3.NewLoader().LoadFromFile(root + "/docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	b := page("API of an outpost",
		"How a hub talks to an outpost: HTTP with Basic authentication, name and password of the hub. "+
			"[openapi.yaml](../openapi.yaml) has the bodies as a schema, [protocol.md](../protocol.md) what happens "+
			"behind them. Every route also answers below `OUTPOST_BASE_PATH`.",
		"docs/openapi.yaml")
	for _, path := range document.Paths.InMatchingOrder() {
		item := document.Paths.Value(path)
		operations := item.Operations()
		for _, method := range slices.Sorted(maps.Keys(operations)) {
			operation := operations[method]
			fmt.Fprintf(b, "\n## %s %s\n\n%s.\n", method, path, operation.Summary)
			if operation.Description != "" {
				fmt.Fprintf(b, "\n%s\n", strings.TrimSpace(operation.Description))
			}
			var rows [][]string
			for _, parameter := range slices.Concat(item.Parameters, operation.Parameters) {
				p := parameter.Value
				rows = append(rows, []string{code(p.Name), p.In, p.Description})
			}
			if len(rows) > 0 {
				table(b, []string{"parameter", "in", "what it is"}, rows)
			}
			rows = nil
			responses := operation.Responses.Map()
			for _, status := range slices.Sorted(maps.Keys(responses)) {
				rows = append(rows, []string{code(status), *responses[status].Value.Description})
			}
			table(b, []string{"status", "when"}, rows)
		}
	}
	return b.String()
}
