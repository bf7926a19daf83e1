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
	heading := regexp.MustCompile(`(?m)^### (\d+\.\d+) `)
	for _, found := range heading.FindAllStringSubmatch(readText(t, "docs/protocol.md"), -1) {
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

// citation matches a citation of one clause or more, such as "protocol 3.1 and 3.2", in lower case: a pattern that
// begins with a plain word is found a hundred times as fast as one that ignores case.
var citation = regexp.MustCompile(`protocol,? \d+\.\d+(?:(?:, | and | to )\d+\.\d+)*`)

// citations returns the numbers of the clauses that a text cites.
func citations(text string, pattern *regexp.Regexp) []string {
	var numbers []string
	for _, found := range pattern.FindAllString(text, -1) {
		numbers = append(numbers, regexp.MustCompile(`\d+\.\d+`).FindAllString(found, -1)...)
	}
	return numbers
}

// eachFile calls f for each text of the repository that people read or write.
func eachFile(f func(file, text string)) error {
	return filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
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
		f(filepath.ToSlash(file), string(text))
		return nil
	})
}

// TestCitedClausesExist holds every "protocol 2.7" of the repository, and every "(2.7)" of docs/protocol.md, to a
// clause.
func TestCitedClausesExist(t *testing.T) {
	known := clauses(t)
	err := eachFile(func(file, text string) {
		numbers := citations(strings.ToLower(text), citation)
		if file == "docs/protocol.md" {
			numbers = append(numbers, citations(text, regexp.MustCompile(`\((?:\d+\.\d+(?:, )?)+\)`))...)
		}
		for _, number := range numbers {
			if !slices.Contains(known, number) {
				t.Errorf("%s cites protocol %s, which docs/protocol.md does not have", file, number)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestProtocolNamesEveryRoute holds the table of routes in docs/protocol.md to docs/openapi.yaml, which
// server/httpapi's tests hold to the routes that there are.
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
			method := strings.ToUpper(key)
			if slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, method) {
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

// TestEveryClauseHasATest holds that a test cites each clause of docs/protocol.md: what is promised is checked
// somewhere.
func TestEveryClauseHasATest(t *testing.T) {
	cited := map[string]bool{}
	err := eachFile(func(file, text string) {
		if strings.HasSuffix(file, "_test.go") && file != "docs_test.go" {
			for _, number := range citations(strings.ToLower(text), citation) {
				cited[number] = true
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, number := range clauses(t) {
		if !cited[number] {
			t.Errorf("no test cites protocol %s", number)
		}
	}
}

// TestSecurityNamesWhatExists holds each file, identifier, test and metric that docs/security.md names to the
// repository: `server/sshd/limits.go maxChannels` is a word of a file, `server/sshd TestVictims` a test in a folder.
func TestSecurityNamesWhatExists(t *testing.T) {
	document := readText(t, "docs/security.md")
	files, tests := 0, 0
	for _, found := range regexp.MustCompile("`([a-z0-9_./-]+)(?: (\\w+))?`").FindAllStringSubmatch(document, -1) {
		place, name := found[1], found[2]
		top, _, deep := strings.Cut(place, "/")
		if _, err := os.Stat(top); err != nil || name == "" && !deep {
			continue // an option, an annotation, a command
		}
		info, err := os.Stat(place)
		switch {
		case err != nil:
			t.Error(err)
		case info.IsDir():
			tests++
			if !hasTest(t, place, name) {
				t.Errorf("%s has no test %s", place, name)
			}
		default:
			files++
			if !regexp.MustCompile(`\b` + name + `\b`).MatchString(readText(t, place)) {
				t.Errorf("%s does not have %s", place, name)
			}
		}
	}
	if files < 50 || tests < 50 {
		t.Errorf("docs/security.md names %d files and %d tests; the pattern does not find them", files, tests)
	}
	metrics := readText(t, "server/metrics.go") + readText(t, "server/metrics_ssh.go")
	tunnels := readText(t, "server/tunnels/metrics.go")
	for _, found := range regexp.MustCompile("`outpost_(\\w+)").FindAllStringSubmatch(document, -1) {
		name, ofTunnels := strings.CutPrefix(found[1], "tunnels_")
		there := regexp.MustCompile(`"(?:outpost_)?` + found[1] + `"`).MatchString(metrics)
		if !there && (!ofTunnels || !regexp.MustCompile(`"(?:outpost_tunnels_)?`+name+`"`).MatchString(tunnels)) {
			t.Errorf("docs/security.md: there is no metric outpost_%s", found[1])
		}
	}
}

// hasTest reports whether a test of this name is in a folder: a function of Go or of Python.
func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	for _, pattern := range []string{"*_test.go", "test_*.py"} {
		files, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text := readText(t, file)
			if strings.Contains(text, "\nfunc "+name+"(") || strings.Contains(text, "\ndef "+name+"(") {
				return true
			}
		}
	}
	return false
}
