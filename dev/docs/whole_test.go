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
	for _, of := range []struct {
		what  string
		names []string
		least int
		pages []string
	}{
		{"keys of a stack", keys(parse(t, read(t, "stacks/config.schema.json"))), 80, []string{"stack-config.md"}},
		{
			"values of outpost", keys(parse(t, read(t, "charts/outpost/values.schema.json"))), 250,
			[]string{"chart-values.md", "outpost-config.md"},
		},
		{
			"values of outposts-hub", keys(parse(t, read(t, "charts/outposts-hub/values.schema.json"))), 70,
			[]string{"hub-chart-values.md"},
		},
		{
			"variables", found(t, `\{\s*"((?:[A-Z]+_)[A-Z_]+|usernames|passwords)",`,
				"server/config/env.go", "server/config/tunnels.go"), 45,
			[]string{"environment.md"},
		},
		{
			"outputs", found(t, `(?m)^\toutput\w+ += "(\w+-?)"`, "stacks/outputs.go"), 15,
			[]string{"stack-outputs.md"},
		},
		{"targets", found(t, `(?m)^\.PHONY: ([a-z-]+)$`, "Makefile"), 30, []string{"make-targets.md"}},
		{
			"metrics of the hub", found(t, `"(outpost_hub_\w+)"`, "infra/hub/outpost_hub/metrics.py"), 7,
			[]string{"metrics.md"},
		},
		{"routes", routes(t), 10, []string{"api.md"}},
		{
			"commands", found(t, `(?m)^\t+(?:\{|)"([a-z-]+)",? "?[\x60a-z]`, "server/cmd/outpost/main.go"), 9,
			[]string{"commands.md"},
		},
	} {
		text := ""
		for _, page := range of.pages {
			text += read(t, "docs/reference/"+page)
		}
		for _, name := range of.names {
			pattern := "(?m)[`.: ]" + regexp.QuoteMeta(name) + "(`|_total`|\\[\\]|NAME`|$)"
			if !regexp.MustCompile(pattern).MatchString(text) {
				t.Errorf("%s: %s is in none of %v", of.what, name, of.pages)
			}
		}
		if len(of.names) < of.least {
			t.Errorf("%s: %d were found, fewer than %d: the pattern does not find them",
				of.what, len(of.names), of.least)
		}
		t.Logf("%s: %d", of.what, len(of.names))
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
