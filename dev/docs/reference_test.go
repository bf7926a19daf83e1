// Package docs makes the manual: its site by `make docs`, and the pages of reference, which these tests write from what
// the code has (go test ./dev/docs -update) and hold to it.
package docs

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the pages of reference")

const root = "../.."

// pages are the pages that are made, by their names in docs/reference.
var pages = map[string]func(t *testing.T) string{
	"stack-config.md":     stackConfig,
	"stack-outputs.md":    stackOutputs,
	"outpost-config.md":   outpostConfig,
	"chart-values.md":     outpostValues,
	"hub-chart-values.md": hubValues,
	"environment.md":      environment,
	"commands.md":         commandsPage,
	"metrics.md":          metricsPage,
	"api.md":              apiPage,
	"make-targets.md":     makeTargets,
}

// TestReference holds each page to what the code has.
func TestReference(t *testing.T) {
	for name, written := range pages {
		t.Run(name, func(t *testing.T) {
			want := written(t)
			file := filepath.Join(root, "docs", "reference", name)
			if *update {
				if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Errorf("docs/reference/%s is not what the code has; run `go test ./dev/docs -update` (-want "+
					"+got):\n%s",
					name, diff)
			}
		})
	}
}

// page begins a page that is made of a source.
func page(title, about string, sources ...string) *strings.Builder {
	b := &strings.Builder{}
	var links []string
	for _, source := range sources {
		links = append(links, fmt.Sprintf("[%s](../../%s)", source, source))
	}
	fmt.Fprintf(b, "# %s\n\n%s\n\n<small>Made from %s by `go test ./dev/docs -update`.</small>\n",
		title, about, strings.Join(links, ", "))
	return b
}

// table writes a table in Markdown. Rows have as many cells as there are heads.
func table(b *strings.Builder, heads []string, rows [][]string) {
	line := func(cells []string) { fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | ")) }
	b.WriteString("\n")
	line(heads)
	line(strings.Split(strings.Repeat("---,", len(heads)-1)+"---", ","))
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = inCell(cell)
		}
		line(cells)
	}
}

// inCell is a text as a cell of a table has it: what is not code has nothing that Markdown would take for its own.
func inCell(text string) string {
	parts := strings.Split(strings.Join(strings.Fields(text), " "), "`")
	for i := 0; i < len(parts); i += 2 { // the others are code
		parts[i] = strings.NewReplacer("<", "&lt;", "*", `\*`).Replace(parts[i])
	}
	return strings.ReplaceAll(strings.Join(parts, "`"), "|", `\|`)
}

// code marks a text as code; empty stays empty.
func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// read reads a file of the repository.
func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
