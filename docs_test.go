package outposts

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// clauses returns the numbers of docs/protocol.md's clauses, in the order of the file.
func clauses(t *testing.T) []string {
	t.Helper()
	var numbers []string
	for _, found := range regexp.MustCompile(`(?m)^### (\d+\.\d+) `).FindAllStringSubmatch(readText(t, "docs/protocol.md"), -1) {
		numbers = append(numbers, found[1])
	}
	return numbers
}

// TestProtocolIsNumbered holds the clauses of docs/protocol.md to numbers without gaps: comments cite them.
func TestProtocolIsNumbered(t *testing.T) {
	chapter, clause := 0, 0
	for _, number := range clauses(t) {
		clause++
		if !strings.HasPrefix(number, strconv.Itoa(chapter)+".") {
			chapter, clause = chapter+1, 1
		}
		if want := strconv.Itoa(chapter) + "." + strconv.Itoa(clause); number != want {
			t.Fatalf("docs/protocol.md: clause %s stands where %s is expected", number, want)
		}
	}
	if chapter < 6 {
		t.Errorf("docs/protocol.md has %d chapters; the pattern does not find them", chapter)
	}
}

// TestCitedClausesExist holds every "protocol 2.7" of the repository, and every "(2.7)" of docs/protocol.md, to a clause.
func TestCitedClausesExist(t *testing.T) {
	known := clauses(t)
	check := func(file, text, pattern string) {
		for _, citation := range regexp.MustCompile(pattern).FindAllString(text, -1) {
			for _, number := range regexp.MustCompile(`\d+\.\d+`).FindAllString(citation, -1) {
				if !slices.Contains(known, number) {
					t.Errorf("%s cites protocol %s, which docs/protocol.md does not have", file, number)
				}
			}
		}
	}
	check("docs/protocol.md", readText(t, "docs/protocol.md"), `\((?:\d+\.\d+(?:, )?)+\)`)
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if file != "." && strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains([]string{".go", ".md", ".py", ".sh", ".sql", ".tpl", ".yaml"}, filepath.Ext(file)) {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		check(file, string(text), `\bprotocol,? \d+\.\d+(?:(?:, | and | to )\d+\.\d+)*`)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestProtocolNamesEveryRoute holds the table of routes in docs/protocol.md to docs/openapi.yaml, which server/httpapi's
// tests hold to the routes that there are.
func TestProtocolNamesEveryRoute(t *testing.T) {
	var document struct {
		Paths map[string]map[string]any
	}
	if err := yaml.Unmarshal([]byte(readText(t, "docs/openapi.yaml")), &document); err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(readText(t, "docs/protocol.md"), "### 1.2 Routes\n")
	table, _, _ = strings.Cut(table, "\n### ")
	var described, named []string
	for path, item := range document.Paths {
		for key := range item {
			if method := strings.ToUpper(key); slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, method) {
				described = append(described, method+" "+path)
			}
		}
	}
	for _, found := range regexp.MustCompile("(?m)^\\| `([A-Z]+ [^`]+)`").FindAllStringSubmatch(table, -1) {
		named = append(named, found[1])
	}
	slices.Sort(described)
	slices.Sort(named)
	if !slices.Equal(described, named) || len(named) == 0 {
		t.Errorf("routes\n  docs/openapi.yaml: %v\n  docs/protocol.md:  %v", described, named)
	}
}
