package manual

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

// pages are the files of the manual from which people type.
func pages(t *testing.T) []Page {
	t.Helper()
	files := []string{"README.md", "charts/outpost/README.md", "charts/outposts-hub/README.md"}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(file string, _ fs.DirEntry, err error) error {
		if filepath.Ext(file) == ".md" {
			files = append(files, filepath.ToSlash(strings.TrimPrefix(file, root+"/")))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []Page
	for _, file := range files {
		all = append(all, Open(t, root, file))
	}
	return all
}

// TestEveryLineIsTypedOrListed holds that a test types each line of shell that the manual has, or that typed.yaml says
// why none does; and that it says nothing of lines that are not there.
func TestEveryLineIsTypedOrListed(t *testing.T) {
	entries, err := Entries()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	lines, byTests, others := 0, 0, 0
	for _, page := range pages(t) {
		known[page.File] = true
		listed, whole := map[string]bool{}, false
		for _, entry := range entries[page.File] {
			for _, words := range entry.Words() {
				if listed[words] {
					t.Errorf("typed.yaml: %s: %q is listed twice", page.File, words)
				}
				listed[words] = true
			}
			whole = whole || entry.Lines == ""
		}
		there := map[string]bool{}
		for _, line := range page.Lines {
			words := line.Words()
			there[words] = true
			if !listed[words] && !whole {
				t.Errorf("%s:%d: no test types this line, and typed.yaml does not say why: %s",
					page.File, line.Number, words)
			}
		}
		for _, entry := range entries[page.File] {
			for _, words := range entry.Words() {
				if !there[words] {
					t.Errorf("typed.yaml: %s does not have the line %q", page.File, words)
				}
			}
		}
		lines += len(page.Lines)
		for _, line := range page.Lines {
			if testOf(entries[page.File], line.Words()) {
				byTests++
			} else {
				others++
			}
		}
	}
	for file := range entries {
		if !known[file] {
			t.Errorf("typed.yaml: there is no page %s", file)
		}
	}
	if lines < 150 {
		t.Errorf("the manual has %d lines; the reader does not find them", lines)
	}
	t.Logf("%d lines: tests type %d, and why none types them is said of %d", lines, byTests, others)
}

// testOf reports whether a test types a line of a page with these entries.
func testOf(entries []Entry, words string) bool {
	for _, entry := range entries {
		if slices.Contains(entry.Words(), words) {
			return entry.Test != ""
		}
	}
	return true
}

// namedTest matches a test by its folder and its name.
var namedTest = regexp.MustCompile(`\b((?:[a-z][a-z0-9_.-]*/)+[a-z0-9_.-]+|stacks|dev|server) ([Tt]est\w+)`)

// TestTypedNamesTests holds each test that typed.yaml names to its folder, and those that type a page to a folder whose
// tests open that page.
func TestTypedNamesTests(t *testing.T) {
	all, err := Entries()
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for page, entries := range all {
		for _, entry := range entries {
			if (entry.Test == "") == (entry.Why == "") || entry.Test != "" && entry.Instead != "" ||
				entry.Why != "" && entry.Lines == "" {
				t.Errorf("typed.yaml: %s: want a test, or why there is none for which lines: %+v", page, entry)
			}
			for _, found := range namedTest.FindAllStringSubmatch(entry.Test+"\n"+entry.Why, -1) {
				named++
				text := tests(t, found[1])
				if !strings.Contains(text, "\nfunc "+found[2]+"(") && !strings.Contains(text, "\ndef "+found[2]+"(") {
					t.Errorf("typed.yaml: %s: %s has no test %s", page, found[1], found[2])
				}
				if entry.Test != "" && !strings.Contains(text, page) {
					t.Errorf("typed.yaml: no test in %s opens %s", found[1], page)
				}
			}
			if entry.Test != "" && !namedTest.MatchString(entry.Test) {
				t.Errorf("typed.yaml: %s: %q is not a folder and a test in it", page, entry.Test)
			}
		}
	}
	if named < 10 {
		t.Errorf("typed.yaml names %d tests; the pattern does not find them", named)
	}
}

// tests is the text of the tests in a folder.
func tests(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range []string{"*_test.go", "test_*.py"} {
		files, err := filepath.Glob(filepath.Join(root, folder, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all.WriteString("\n" + string(text))
		}
	}
	return all.String()
}

// TestReadmeHasLinesOfTheTutorial holds that what the README has readers type on clusters of their own is what the
// tutorial has, which a test types.
func TestReadmeHasLinesOfTheTutorial(t *testing.T) {
	readme := Open(t, root, "README.md")
	tutorial := map[string]bool{}
	for _, line := range Open(t, root, "docs/tutorials/kind.md").Lines {
		tutorial[line.Words()] = true
	}
	_, section, _ := strings.Cut(readme.Text, "\n## Two clusters that you have\n")
	section, _, _ = strings.Cut(section, "\n## ")
	lines, err := read(section)
	if err != nil || len(lines) != 3 {
		t.Fatalf("the README has %d lines, %v; want three", len(lines), err)
	}
	for _, line := range lines {
		if !tutorial[line.Words()] {
			t.Errorf("docs/tutorials/kind.md does not have %q", line.Words())
		}
	}
}

const example = "Text.\n\n" +
	"1. Text\n\n    ```sh\n    make up STACK=local    # the first\n" +
	"    kubectl get pods \\\n      -o yaml |\n      grep it\n    # nothing\n" +
	"    for x in a b; do\n      echo $x # prints b\n    done\n    ```\n\n" +
	"```sh\nkubectl apply -f - <<'END'\nkind: Pod # not a comment of the shell\nEND\ncurl x    # prints []\n```\n\n" +
	"```yaml\nmake it: so\n```\n"

// TestRead is what is read of a page.
func TestRead(t *testing.T) {
	lines, err := read(example)
	if err != nil {
		t.Fatal(err)
	}
	type one struct {
		Number        int
		Words, Prints string
	}
	var got []one
	for _, line := range lines {
		got = append(got, one{line.Number, line.Words(), line.Prints()})
	}
	want := []one{
		{6, "make up STACK=local", ""},
		{7, "kubectl get pods -o yaml | grep it", ""},
		{11, "for x in a b; do echo $x done", ""},
		{17, "kubectl apply -f - <<'END' kind: Pod END", ""},
		{20, "curl x", "[]"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// TestReadRefuses holds that no line escapes the reader.
func TestReadRefuses(t *testing.T) {
	const unread = "a block begins and ends with ``` and nothing behind but its language"
	for _, tt := range []struct{ name, text, want string }{
		{"indented", "Text.\n\n    make up\n", "3: what is typed belongs into a block ```sh"},
		{"block of no language", "```\nmake up\n```\n", "2: what is typed belongs into a block ```sh"},
		{"block of text", "```text\nkubectl get pods\n```\n", "2: what is typed belongs into a block ```sh"},
		{"block of another shell", "Text.\n\n```console\n$ it\n```\n", "3: what is typed belongs into a block ```sh"},
		{"block with a title", "Text.\n\n```sh title=\"a\"\nmake up\n```\n", "3: " + unread},
		{"block with a blank", "``` sh\nmake up\n```\n", "1: " + unread},
		{"end with a blank", "```yaml\na: b\n``` \nText.\n", "3: " + unread},
		{"other fence", "~~~sh\nmake up\n~~~\n", "1: " + unread},
		{"no end", "Text.\n\n```sh\nmake up\n", "3: the block has no end"},
		{"half a line", "```sh\necho 'a\n```\n", `2: the block ends within the line that begins with "echo 'a"`},
		{"goes on", "```sh\necho a \\\n```\n", `2: the block ends within the line that begins with "echo a \\"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if lines, err := read(tt.text); err == nil || err.Error() != tt.want {
				t.Errorf("%v, error %v, want %s", lines, err, tt.want)
			}
		})
	}
}

// TestShell holds that a line finds what the one before has set, and that one sees what it says.
func TestShell(t *testing.T) {
	shell := OpenShell(t, t.TempDir(), []string{"PATH=" + os.Getenv("PATH"), "A=a"})
	for _, tt := range []struct{ line, said, err string }{
		{"mkdir -p deep; cd deep; B=$A$A; export C=c", "", ""},
		{"pwd | xargs basename", "deep\n", ""},
		{"echo $B; sh -c 'echo $C >&2'", "aa\nc\n", ""},
		{"cat; (exit 3)", "", "exit code 3"},
		{"echo a \\\n  b   # prints a b", "a b\n", ""},
		{"cat <<'END'\n$A\nEND", "$A\n", ""},
	} {
		said, err := shell.Type(tt.line)
		if failed := err != nil; said != tt.said || failed != (tt.err != "") || failed && err.Error() != tt.err {
			t.Errorf("%s: said %q, %v; want %q, %s", tt.line, said, err, tt.said, tt.err)
		}
	}
}

// TestYours holds what a page has readers put in.
func TestYours(t *testing.T) {
	p := Page{Text: "Text.\n\n**Put in yours** for `a` an address, and for\n`b` the `c`.\n\nNothing for `d`.\n"}
	if diff := cmp.Diff([]string{"a", "b"}, p.Yours()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
