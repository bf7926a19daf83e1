package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentedConfig holds the examples of stack config in the documents to the loader, together with the file that
// they end up in, which may name nothing that is on one machine only.
func TestDocumentedConfig(t *testing.T) {
	for _, tt := range []struct{ document, section, file string }{
		{"../docs/tutorials/own-clusters.md", "Step by step", "nodeport/Pulumi.local.yaml"},
		{"../docs/tutorials/own-clusters.md", "Step by step", "nodeport/Pulumi.remote.yaml"},
		{"../docs/stacks.md", "Gateway API: certificates by cert-manager", "gateway/Pulumi.local.yaml"},
		{"../docs/stacks.md", "Profiles of a Python outpost", "gateway/Pulumi.local.yaml"},
		{"../docs/stacks.md", "Ingress: certificates by cert-manager", "ingress/Pulumi.local.yaml"},
	} {
		t.Run(tt.section+" "+tt.file, func(t *testing.T) {
			text, err := os.ReadFile("../docs/examples/" + tt.file)
			if err != nil {
				t.Fatal(err)
			}
			raw := configFrom(t, string(text))
			// The first block of the section; those after it are about other things.
			for key, value := range configFrom(t, "config:\n"+indented(examples(t, tt.document, tt.section)[0])) {
				raw[key] = over(t, value, raw[key])
			}
			if _, err := LoadConfig(raw, "/project"); err != nil {
				t.Error(err)
			}
			for key, value := range raw {
				if strings.Contains(value, "localhost") {
					t.Errorf("%s: %s", key, value)
				}
			}
		})
	}
}

// TestManualConfig holds each block of stack config in the manual's tutorials and how-tos to the loader, laid over an
// example.
func TestManualConfig(t *testing.T) {
	base, err := os.ReadFile("../docs/examples/gateway/Pulumi.local.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, folder := range []string{"howto", "tutorials"} {
		files, err := filepath.Glob("../docs/" + folder + "/*.md")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			blocks := regexp.MustCompile("(?s)```yaml\n(.*?)\n *```")
			for _, block := range blocks.FindAllStringSubmatch(string(text), -1) {
				lines := indented(block[1])
				if !strings.HasPrefix(lines, "  "+project+":") {
					continue
				}
				tried++
				raw := configFrom(t, string(base))
				for key, value := range configFrom(t, "config:\n"+lines) {
					raw[key] = over(t, value, raw[key])
				}
				if _, err := LoadConfig(raw, "/project"); err != nil {
					t.Errorf("%s:\n%s\n%v", file, block[1], err)
				}
			}
		}
	}
	if tried < 5 {
		t.Errorf("%d blocks were found", tried)
	}
}

// over lays one structured value of config over another, which may be none.
func over(t *testing.T, above, below string) string {
	t.Helper()
	merged := map[string]any{}
	for _, text := range []string{below, above} {
		if err := json.Unmarshal([]byte(text), &merged); text != "" && err != nil {
			return above // a list
		}
	}
	text, err := json.Marshal(merged)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDocumentedRemote is a way to one more remote: a copy of the committed stack with another name and
// context.
func TestDocumentedRemote(t *testing.T) {
	text, err := os.ReadFile("../Pulumi.remote.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := loaded(t, string(text), map[string]string{"cluster.context": "north", "outpost.name": "north"})
	if c.Outpost.Name != "north" || c.Hubs[0].Stack == "" {
		t.Errorf("outpost %q of hub's stack %q", c.Outpost.Name, c.Hubs[0].Stack)
	}
}

// TestDocumentedExposures holds the exposures that are written within a line.
func TestDocumentedExposures(t *testing.T) {
	found := 0
	for _, document := range []string{"../docs/tutorials/own-clusters.md", "../docs/stacks.md"} {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, exposure := range regexp.MustCompile("`exposure: ({[^`]+})`").FindAllStringSubmatch(string(text), -1) {
			found++
			loaded(t, localConfig, map[string]string{"outposts.1.exposure": exposure[1]})
		}
	}
	if found == 0 {
		t.Error("no exposure was found")
	}
}

// TestDocumentedSettings holds the manual's table of settings to the schema.
func TestDocumentedSettings(t *testing.T) {
	text, err := os.ReadFile("../docs/tutorials/own-clusters.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| stack config | what it is | ends up in |\n| --- | --- | --- |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var schema map[string]any
	if err := json.Unmarshal([]byte(schemaText), &schema); err != nil {
		t.Fatal(err)
	}
	keys := 0
	for row := range strings.Lines(table) {
		first, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " | ")
		base := ""
		for _, quoted := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(first, -1) {
			key, full := strings.CutPrefix(quoted[1], project+":")
			if full {
				base = key[:max(strings.LastIndex(key, "."), 0)]
			} else if strings.HasPrefix(key, ".") {
				key = base + key
			} else {
				continue // *.rotation: in several places
			}
			keys++
			if !described(schema, schema, strings.Split(strings.ReplaceAll(key, "[]", ".[]"), ".")) {
				t.Errorf("%s:%s is not in the schema", project, key)
			}
		}
	}
	if keys < 10 {
		t.Errorf("the table has %d keys", keys)
	}
}

// described reports whether a schema has a property at a path; "[]" stands for the items of a list.
func described(schema, at map[string]any, path []string) bool {
	if ref, ok := at["$ref"].(string); ok {
		definitions, _ := schema["$defs"].(map[string]any)
		at, _ = definitions[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	if len(path) == 0 {
		return at != nil
	}
	var next any
	if path[0] == "[]" {
		next = at["items"]
	} else if properties, ok := at["properties"].(map[string]any); ok {
		next = properties[path[0]]
	}
	inner, ok := next.(map[string]any)
	return ok && described(schema, inner, path[1:])
}

// examples are the blocks of YAML in a section of a document.
func examples(t *testing.T, document, section string) []string {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, body, found := strings.Cut(string(text), "\n## "+section+"\n")
	if !found {
		t.Fatalf("%s has no section %s", document, section)
	}
	body, _, _ = strings.Cut(body, "\n## ")
	var blocks []string
	for _, block := range regexp.MustCompile("(?s)( *)```yaml\n(.*?)\n *```").FindAllStringSubmatch(body, -1) {
		blocks = append(blocks, block[2])
	}
	return blocks
}

// indented gives a block the indentation that it has below `config:`.
func indented(block string) string {
	var lines []string
	least := len(block)
	for line := range strings.Lines(block) {
		text := strings.TrimSpace(line)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		lines = append(lines, strings.TrimRight(line, "\n"))
		least = min(least, len(line)-len(strings.TrimLeft(line, " ")))
	}
	for i, line := range lines {
		lines[i] = "  " + line[least:]
	}
	return strings.Join(lines, "\n") + "\n"
}
