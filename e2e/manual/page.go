// Package manual reads what the manual has people type, and types it as they do. It exists because tests of several
// packages type pages of it, and one counts the lines that no test types.
package manual

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Page is a page of the manual.
type Page struct {
	// File is seen from the top of the checkout: docs/tutorials/kind.md.
	File, Text string
	Lines      []Line
}

// Line is a command that a page has in a block of shell, which may go on for several lines of the file.
type Line struct {
	Number int    // of its first line in the file
	Text   string // as the page has it, but for the indentation of the block
}

// comment matches what a shell passes over, which begins a word.
var comment = regexp.MustCompile(`(?m)(^|[ \t])#( .*)?$`)

// Words are what the line says in one line, without comments: lists name it by them.
func (l Line) Words() string {
	text := strings.ReplaceAll(comment.ReplaceAllString(l.Text, ""), "\\\n", " ")
	return strings.Join(strings.Fields(text), " ")
}

// printed matches what a page says at the end of a line that the line prints.
var printed = regexp.MustCompile(`# prints (.+)$`)

// Prints is the last line that the page says the line prints, "" where it says nothing.
func (l Line) Prints() string {
	if found := printed.FindStringSubmatch(l.Text); found != nil {
		return found[1]
	}
	return ""
}

// Open reads a page. root is the top of the checkout.
func Open(t testing.TB, root, file string) Page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	lines, err := read(string(text))
	if err != nil {
		t.Fatalf("%s:%v", file, err)
	}
	return Page{File: file, Text: string(text), Lines: lines}
}

var (
	fence = regexp.MustCompile("^( *)```(\\S*)$")
	// unread matches the begin or end of a block as the site takes it, where it is no fence.
	unread = regexp.MustCompile("^\\s*(```|~~~)")
	// elsewhere matches a line to type where people do not look for one.
	elsewhere = regexp.MustCompile(`^ {4,}(cp|curl|dev/run|git|helm|kubectl|make|pulumi) `)
)

// read returns the lines to type of a text: those of its blocks that are marked as shell.
func read(text string) (lines []Line, err error) {
	kind, indent, open, began := "", "", false, 0
	var typed Line
	for i, one := range strings.Split(text, "\n") {
		at := i + 1
		if found := fence.FindStringSubmatch(one); found != nil {
			if typed.Text != "" {
				return nil, fmt.Errorf("%d: the block ends within the line that begins with %q",
					typed.Number, firstOf(typed.Text))
			}
			open = !open
			indent, kind, began = found[1], found[2], at
			if slices.Contains([]string{"bash", "console", "shell", "zsh"}, kind) {
				return nil, fmt.Errorf("%d: what is typed belongs into a block ```sh", at)
			}
			continue
		}
		if unread.MatchString(one) {
			return nil, fmt.Errorf("%d: a block begins and ends with ``` and nothing behind but its language", at)
		}
		if !open || kind != "sh" {
			if open {
				one = "    " + strings.TrimPrefix(one, indent)
			}
			if kind != "yaml" && elsewhere.MatchString(one) {
				return nil, fmt.Errorf("%d: what is typed belongs into a block ```sh", at)
			}
			continue
		}
		one = strings.TrimPrefix(one, indent)
		if typed.Text == "" {
			typed = Line{at, one}
		} else {
			typed.Text += "\n" + one
		}
		if isWhole(typed.Text) {
			if typed.Words() != "" {
				lines = append(lines, typed)
			}
			typed = Line{}
		}
	}
	if open {
		return nil, fmt.Errorf("%d: the block has no end", began)
	}
	return lines, nil
}

// plain matches words that mean the same to every shell, of a command that begins no block.
var plain = regexp.MustCompile(`^(curl|dev/run|helm|kubectl|make|pulumi) [\w./:=, -]*( #[^\n]*)?$`)

// isWhole reports whether the shell, which is the one that knows, does not wait for another line.
func isWhole(text string) bool {
	if plain.MatchString(text) {
		return true
	}
	if strings.HasSuffix(text, "\\") {
		return false
	}
	said, err := exec.Command("bash", "-n", "-c", text).CombinedOutput() // it warns where a here-document has no end
	return err == nil && len(said) == 0
}

func firstOf(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return first
}

// yours matches the paragraph that says what readers put in, and yoursOf each text for which they do.
var (
	yours   = regexp.MustCompile(`(?m)^\*\*Put in yours\*\*(?:.+\n)+`)
	yoursOf = regexp.MustCompile("for\\s`([^`]+)`")
)

// Yours are the texts of the page for which it says that readers put in their own.
func (p Page) Yours() (texts []string) {
	for _, found := range yoursOf.FindAllStringSubmatch(yours.FindString(p.Text), -1) {
		texts = append(texts, found[1])
	}
	return texts
}
