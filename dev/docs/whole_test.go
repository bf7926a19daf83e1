package docs

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestReferenceNamesEverything counts what the sources have, in another way than the pages are made, and looks for each
// in its pages.
func TestReferenceNamesEverything(t *testing.T) {
	all := map[string][]string{
		"keys of a stack":        keys(parse(t, read(t, "stacks/config.schema.json"))),
		"values of outpost":      keys(parse(t, read(t, "charts/outpost/values.schema.json"))),
		"values of outposts-hub": keys(parse(t, read(t, "charts/outposts-hub/values.schema.json"))),
		"variables": found(t, `\{\s*"((?:[A-Z]+_)[A-Z_]+|usernames|passwords)",`,
			"server/config/env.go", "server/config/tunnels.go"),
		"outputs":            found(t, `(?m)^\toutput\w+ += "(\w+-?)"`, "stacks/outputs.go"),
		"targets":            found(t, `(?m)^\.PHONY: ([a-z-]+)$`, "Makefile"),
		"metrics of the hub": found(t, `"(outpost_hub_\w+)"`, "infra/hub/outpost_hub/metrics.py"),
		"routes":             routes(t),
		"commands":           found(t, `(?m)^\t+(?:\{|)"([a-z-]+)",? "?[\x60a-z]`, "server/cmd/outpost/main.go"),
	}
	pages := map[string][]string{
		"keys of a stack":        {"stack-config.md"},
		"values of outpost":      {"chart-values.md", "outpost-config.md"},
		"values of outposts-hub": {"hub-chart-values.md"},
		"variables":              {"environment.md"},
		"outputs":                {"stack-outputs.md"},
		"targets":                {"make-targets.md"},
		"metrics of the hub":     {"metrics.md"},
		"routes":                 {"api.md"},
		"commands":               {"commands.md"},
	}
	least := map[string]int{
		"keys of a stack": 80, "values of outpost": 250, "values of outposts-hub": 70, "variables": 45, "outputs": 15,
		"targets": 30, "metrics of the hub": 7, "routes": 10, "commands": 9,
	}
	for what, names := range all {
		text := ""
		for _, page := range pages[what] {
			text += read(t, "docs/reference/"+page)
		}
		for _, name := range names {
			pattern := "(?m)[`.: ]" + regexp.QuoteMeta(name) + "(`|_total`|\\[\\]|NAME`|$)"
			if !regexp.MustCompile(pattern).MatchString(text) {
				t.Errorf("%s: %s is in none of %v", what, name, pages[what])
			}
		}
		if len(names) < least[what] {
			t.Errorf("%s: %d were found, fewer than %d: the pattern does not find them", what, len(names), least[what])
		}
		t.Logf("%s: %d", what, len(names))
	}
}

// keys are the names of all properties in a schema, but those of Kubernetes' own types.
func keys(schema any) []string {
	names := map[string]bool{}
	var walk func(at any)
	walk = func(at any) {
		switch at := at.(type) {
		case []any:
			for _, one := range at {
				walk(one)
			}
		case map[string]any:
			for name, below := range at {
				if strings.HasPrefix(name, "kubernetes.") {
					continue
				}
				if properties, ok := below.(map[string]any); ok && name == "properties" {
					for key := range properties {
						names[key] = true
					}
				}
				walk(below)
			}
		}
	}
	walk(schema)
	return slices.Sorted(maps.Keys(names))
}

// found are the first groups of a pattern's matches in files, each once.
func found(t *testing.T, pattern string, files ...string) []string {
	t.Helper()
	names := map[string]bool{}
	for _, file := range files {
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, file), -1) {
			names[match[1]] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func routes(t *testing.T) []string {
	t.Helper()
	var document struct{ Paths map[string]any }
	if err := yaml.Unmarshal([]byte(read(t, "docs/openapi.yaml")), &document); err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(document.Paths))
}

// TestKeysOfAStackAreDescribed holds that the schema says of each key what it is: editors show that too.
func TestKeysOfAStackAreDescribed(t *testing.T) {
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|  \\|").FindAllStringSubmatch(stackConfig(t), -1) {
		t.Errorf("%s has no description in stacks/config.schema.json", row[1])
	}
}
