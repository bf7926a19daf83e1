package outposts

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// documents are the texts from which people paste: those beside the code, and the manual. What their examples of stack
// config are worth is tested in stacks.
var documents = append([]string{
	"README.md", "CONTRIBUTING.md", "SECURITY.md", "dev/README.md", "images/README.md", "charts/outpost/README.md",
	"charts/outposts-hub/README.md",
}, manual()...)

// manual are the pages in docs.
func manual() (files []string) {
	err := filepath.WalkDir("docs", func(file string, _ fs.DirEntry, err error) error {
		if filepath.Ext(file) == ".md" {
			files = append(files, filepath.ToSlash(file))
		}
		return err
	})
	if err != nil {
		panic(err)
	}
	return files
}

// TestDocumentsNameTargets holds every `make ...` of the documents to the Makefile.
func TestDocumentsNameTargets(t *testing.T) {
	targets := map[string]bool{}
	for _, found := range regexp.MustCompile(`(?m)^([a-z0-9-]+):`).FindAllStringSubmatch(readText(t, "Makefile"), -1) {
		targets[found[1]] = true
	}
	typed := regexp.MustCompile("(?m)(?:^ *|`|; )make ([a-z][a-z0-9-]*)")
	named := 0
	for _, document := range documents {
		for _, found := range typed.FindAllStringSubmatch(readText(t, document), -1) {
			named++
			if !targets[found[1]] {
				t.Errorf("%s: the Makefile has no target %s", document, found[1])
			}
		}
	}
	if named < 10 {
		t.Errorf("the documents name %d targets; the pattern does not find them", named)
	}
}

// TestDocumentsNameFiles holds links, pictures, and the folders that the README lists.
func TestDocumentsNameFiles(t *testing.T) {
	for _, document := range documents {
		for _, found := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(readText(t, document), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), found[1])); err != nil {
				t.Errorf("%s: %v", document, err)
			}
		}
	}
	_, list, _ := strings.Cut(readText(t, "README.md"), "## Where things are\n")
	folders := regexp.MustCompile(`(?m)^([a-z]+)/ +`).FindAllStringSubmatch(list, -1)
	if len(folders) < 5 {
		t.Errorf("the README lists %d folders", len(folders))
	}
	for _, found := range folders {
		if _, err := os.Stat(found[1]); err != nil {
			t.Error(err)
		}
	}
}

// TestDocumentsNameSections holds links to sections. `make docs` holds those of the site, which is made with a package
// index in reach.
func TestDocumentsNameSections(t *testing.T) {
	sections := map[string][]string{}
	of := func(document string) []string {
		if sections[document] == nil {
			text := regexp.MustCompile("(?ms)^ *```.*?^ *```").ReplaceAllString(readText(t, document), "")
			for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
				sections[document] = append(sections[document], anchor(heading[1]))
			}
		}
		return sections[document]
	}
	links := regexp.MustCompile(`\]\(([^)#:]*)#([^)]+)\)`)
	named := 0
	for _, document := range documents {
		for _, found := range links.FindAllStringSubmatch(readText(t, document), -1) {
			to := document
			if found[1] != "" {
				to = filepath.Join(filepath.Dir(document), found[1])
			}
			named++
			if filepath.Ext(to) == ".md" && !slices.Contains(of(to), found[2]) {
				t.Errorf("%s: %s has no section %s", document, to, found[2])
			}
		}
	}
	if named < 20 {
		t.Errorf("the documents name %d sections; the pattern does not find them", named)
	}
}

// anchor is what GitHub, and the site, call the section with a heading.
func anchor(heading string) string {
	heading = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// TestDocumentsQuoteMessages holds the messages in the table of symptoms to the programs that print them.
func TestDocumentsQuoteMessages(t *testing.T) {
	manual := readText(t, "docs/howto/troubleshoot.md")
	_, table, _ := strings.Cut(manual, "| what you see | what it means |\n| --- | --- |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	programs := sources(t)
	quoted := 0
	for row := range strings.Lines(table) {
		symptom, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " | ")
		for _, found := range regexp.MustCompile("``(.+?)``|`([^`]+)`").FindAllStringSubmatch(symptom, -1) {
			quoted++
			for part := range strings.SplitSeq(found[1]+found[2], "...") {
				part = strings.TrimSpace(part)
				if !slices.ContainsFunc(programs, func(text string) bool { return strings.Contains(text, part) }) {
					t.Errorf("no program says %q", part)
				}
			}
		}
	}
	if quoted < 10 {
		t.Errorf("the table quotes %d messages", quoted)
	}
}

// sources are the texts of what runs. What other programs say is quoted where a test has heard it: so the tests of the
// hub-side module, which hear ssh, are among them.
func sources(t *testing.T) []string {
	t.Helper()
	var texts []string
	for _, folder := range []string{"server", "infra", "stacks", "charts/outpost/templates"} {
		err := filepath.WalkDir(folder, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(file, "_test.go") {
				return err
			}
			switch filepath.Ext(file) {
			case ".go", ".py", ".sh", ".tpl":
				texts = append(texts, readText(t, file))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return texts
}

// TestReadmeShowsWhatIsPrinted holds the end of `make up`, as the README has it, to what prints it.
func TestReadmeShowsWhatIsPrinted(t *testing.T) {
	readme, table, up := readText(t, "README.md"), readText(t, "e2e/verify/table.go"), readText(t, "dev/up")
	header := regexp.MustCompile(`(?m)^SYSTEM .*$`).FindString(readme)
	columns := regexp.MustCompile(` {2,}`).ReplaceAllString(header, `\t`)
	if header == "" || !strings.Contains(table, columns) {
		t.Errorf("the check prints no columns %q", columns)
	}
	for _, line := range []string{
		"The hub is up after ", "  open      ", "  log in    as any user, with the password ",
	} {
		if !strings.Contains(readme, line) || !strings.Contains(up, line) {
			t.Errorf("%q is not both in the README and in dev/up", line)
		}
	}
}

// TestDocumentsNameTheChart holds what the README and the first tutorial say of `make up` with zero-to-jupyterhub
// itself to the release that the values are for, and to where it comes from.
func TestDocumentsNameTheChart(t *testing.T) {
	chart := readText(t, "infra/hub/chart.go")
	constant := func(name string) string {
		found := regexp.MustCompile(`(?m)^\t` + name + ` += "(.+)"$`).FindStringSubmatch(chart)
		if found == nil {
			t.Fatalf("infra/hub/chart.go has no constant %s", name)
		}
		return found[1]
	}
	version, repository := constant("ChartVersion"), constant("ChartRepository")
	for _, document := range []string{"README.md", "docs/tutorials/this-machine.md"} {
		text := readText(t, document)
		for _, want := range []string{"`make up CHART=" + version + "`", "<" + repository + ">", "`CHART=FOLDER`"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %s", document, want)
			}
		}
	}
}

// TestSettingsNameVariables holds the variables in the manual's table of settings to the ones that the outpost reads.
func TestSettingsNameVariables(t *testing.T) {
	env := readText(t, "server/config/env.go")
	settings := readText(t, "docs/tutorials/own-clusters.md")
	_, table, _ := strings.Cut(settings, "| stack config | what it is | ends up in |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	found := regexp.MustCompile("`([A-Z_]+|usernames|passwords)`").FindAllStringSubmatch(table, -1)
	if len(found) < 4 {
		t.Errorf("the table names %d variables", len(found))
	}
	for _, name := range found {
		if !strings.Contains(env, `"`+name[1]+`"`) {
			t.Errorf("the outpost reads no variable %s", name[1])
		}
	}
}

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
