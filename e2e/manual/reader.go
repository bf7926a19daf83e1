package manual

import (
	_ "embed" // of the list
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// Entry says who types lines of a page, or why nobody does.
type Entry struct {
	// Test is a folder and the name of a test there, which types the lines: those that are listed or, where none
	// are, all that no other entry of the page has.
	Test string `yaml:"test"`
	// Why nobody types them.
	Why string `yaml:"why"`
	// Instead is what the test of the page types in their place, if anything.
	Instead string `yaml:"instead"`
	// Lines are by their words, one in each line.
	Lines string `yaml:"lines"`
}

//go:embed typed.yaml
var list []byte

// Words are those of the lines.
func (e Entry) Words() (lines []string) {
	for line := range strings.Lines(e.Lines) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

// Entries is the list of who types what, by page.
func Entries() (map[string][]Entry, error) {
	var all map[string][]Entry
	if err := yaml.Unmarshal(list, &all); err != nil {
		return nil, fmt.Errorf("typed.yaml: %w", err)
	}
	return all, nil
}

// Reader is somebody who does what a page says, from its first line to its last.
type Reader struct {
	Shell *Shell
	// Yours is what the reader puts in for what the page says is the reader's to put in.
	Yours map[string]string
	// Before and After are what the reader does besides, such as to edit a file, and to look at what a line has
	// said, by the words of the line.
	Before map[string]func()
	After  map[string]func(said string)
}

// Types types the lines of a page in their order. A line that typed.yaml says cannot be typed is left out, or another
// is typed instead. What a line is said to print, it must print.
func (r Reader) Types(t testing.TB, p Page) {
	t.Helper()
	got, want := slices.Sorted(maps.Keys(r.Yours)), slices.Sorted(slices.Values(p.Yours()))
	if !slices.Equal(got, want) {
		t.Fatalf("%s has readers put in their own for %q, and the test does it for %q", p.File, want, got)
	}
	all, err := Entries()
	if err != nil {
		t.Fatal(err)
	}
	instead := map[string]string{}
	for _, entry := range all[p.File] {
		for _, line := range entry.Words() {
			if entry.Test == "" {
				instead[line] = entry.Instead
			}
		}
	}
	besides := map[string]bool{}
	for _, line := range p.Lines {
		words := line.Words()
		text, left := instead[words]
		if !left {
			text = line.Text
		}
		if before := r.Before[words]; before != nil {
			besides[words] = true
			before()
		}
		said := r.types(t, fmt.Sprintf("%s:%d", p.File, line.Number), text)
		if want := r.Put(line.Prints()); want != "" && !left && !strings.HasSuffix("\n"+said, "\n"+want+"\n") &&
			!strings.HasSuffix("\n"+said, "\n"+want) {
			t.Errorf("%s:%d: %s printed, want %s:\n%s", p.File, line.Number, words, want, said)
		}
		if after := r.After[words]; after != nil {
			besides[words] = true
			after(said)
		}
	}
	for words := range r.Before {
		if !besides[words] {
			t.Errorf("%s has no line %q", p.File, words)
		}
	}
	for words := range r.After {
		if !besides[words] {
			t.Errorf("%s has no line %q", p.File, words)
		}
	}
}

// types types one line, with what is the reader's own put in. An empty one is passed over.
func (r Reader) types(t testing.TB, where, text string) string {
	t.Helper()
	if text == "" {
		return ""
	}
	began := time.Now()
	said, err := r.Shell.Type(r.Put(text))
	if err != nil {
		t.Fatalf("%s: %s: %v\n%s", where, text, err, said)
	}
	t.Logf("%s: %s: %.1f s", where, firstOf(text), time.Since(began).Seconds())
	return said
}

// Put puts what is the reader's own into a text of the page or of a file that it has readers edit.
func (r Reader) Put(text string) string {
	for _, theirs := range slices.Sorted(maps.Keys(r.Yours)) {
		text = strings.ReplaceAll(text, theirs, r.Yours[theirs])
	}
	return text
}

// Shows holds that a page has words, and that what was seen has them too.
func Shows(t testing.TB, p Page, seen, words string) {
	t.Helper()
	if !strings.Contains(strings.Join(strings.Fields(p.Text), " "), words) {
		t.Errorf("%s does not say %q", p.File, words)
	}
	if !strings.Contains(seen, words) {
		t.Errorf("%s says %q, and seen was:\n%s", p.File, words, seen)
	}
}
