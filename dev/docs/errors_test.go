package docs

import (
	"go/ast"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// words finds a closed set of words in files.
type words struct {
	pattern string
	files   []string
}

// closed are the sets of words that sections of docs/reference/errors.md list, one in each row.
var closed = map[string][]words{
	"Starts": {
		{`Reason\w+ += "(\w+)"`, []string{"server/kube/diagnosis/start.go", "server/store/snapshot.go"}},
		{`Reason: "(\w+)"`, []string{
			"server/lifecycle/errors.go", "server/outpost/errors.go", "server/outpost/hub.go",
			"server/outpost/maintenance.go",
		}},
		{`refuse\("(\w+)"`, []string{"server/flavor/quota.go"}},
	},
	"Answers of the API": {{`Kind\w+: +"(\w+)"`, []string{"server/outpost/errors.go"}}},
	"Servers that were removed": {
		{`Stop[A-Z]\w+ += "(\w+)"`, []string{"server/lifecycle/manager.go"}},
	},
	"SSH at the outpost": {
		{`(?:Handshake|Refused|Closed)[A-Z]\w+ += "(\w+)"`, []string{"server/sshd/options.go"}},
		{`\tend[A-Z]\w+ += "([^"]+)"`, []string{"server/sshd/conn.go"}},
	},
	"Tunnels": {
		{`State = "(\w+)"`, []string{"server/tunnels/line.go"}},
		{`reason[A-Z]\w+ += "(\w+)"`, []string{"server/tunnels/claims.go"}},
		{`stream[A-Z]\w+ += "(\w+)"`, []string{"server/tunnels/listener.go"}},
	},
	"Outposts that dial out": {{`Dial[A-Z]\w+ += "(\w+)"`, []string{"server/dialout/dialer.go"}}},
}

// messages are those of the code that sections of docs/reference/errors.md list, each by a part of it.
var messages = map[string]func(t *testing.T) []string{
	"The hub":          hubMessages,
	"Servers that end": endMessages,
	"What up refuses":  preflightMessages,
}

// errorTable are the rows of a section of docs/reference/errors.md, without its heads.
func errorTable(t *testing.T, title string) [][]string {
	t.Helper()
	_, section, _ := strings.Cut(read(t, "docs/reference/errors.md"), "\n## "+title+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, section, _ = strings.Cut(section, " --- |\n")
	var rows [][]string
	for line := range strings.Lines(section) {
		rows = append(rows, strings.Split(strings.Trim(line, "| \n"), " | "))
	}
	return rows
}

// TestErrorsNameEveryWord holds that the page of errors has a row for each word by which programs name an error, and no
// other.
func TestErrorsNameEveryWord(t *testing.T) {
	for title, sets := range closed {
		var want, got []string
		for _, set := range sets {
			words := found(t, set.pattern, set.files...)
			if len(words) == 0 {
				t.Errorf("%s: %s finds nothing in %v", title, set.pattern, set.files)
			}
			want = append(want, words...)
		}
		for _, row := range errorTable(t, title) {
			got = append(got, strings.Trim(row[0], "`"))
		}
		slices.Sort(got)
		slices.Sort(want)
		if title == "Starts" { // two of the sets have one word in common
			want = slices.Compact(want)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("docs/reference/errors.md, %s (-want +got):\n%s", title, diff)
		}
	}
}

// TestErrorsQuoteEveryMessage holds that each message of the code is in a row of the page of errors, and that each row
// quotes one.
func TestErrorsQuoteEveryMessage(t *testing.T) {
	for title, of := range messages {
		said := of(t)
		if len(said) < 8 {
			t.Errorf("%s: %d messages were found: the pattern does not find them", title, len(said))
		}
		listed := map[string]bool{}
		for _, row := range errorTable(t, title) {
			quoted := 0
			for _, message := range said {
				if quotes(message, strings.Trim(row[0], "`")) {
					listed[message] = true
					quoted++
				}
			}
			if quoted == 0 {
				t.Errorf("docs/reference/errors.md, %s: no program says %s", title, row[0])
			}
		}
		for _, message := range said {
			if !listed[message] {
				t.Errorf("docs/reference/errors.md, %s: no row has %q", title, message)
			}
		}
	}
	programs := sourcesIn(t, "server")
	for _, row := range errorTable(t, "Starts") {
		for _, found := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			for part := range strings.SplitSeq(found[1], "...") {
				if !strings.Contains(programs, strings.TrimSpace(part)) {
					t.Errorf("docs/reference/errors.md: no program says %q", part)
				}
			}
		}
	}
}

// quotes reports whether a quotation is of a message: its parts, between the marks for what changes, follow each other
// there.
func quotes(message, quotation string) bool {
	for part := range strings.SplitSeq(quotation, "...") {
		_, after, found := strings.Cut(message, strings.TrimSpace(part))
		if !found {
			return false
		}
		message = after
	}
	return true
}

// sourcesIn are the files of Go below a folder, without tests, as one text.
func sourcesIn(t *testing.T, folder string) string {
	t.Helper()
	b := &strings.Builder{}
	err := filepath.WalkDir(filepath.Join(root, folder), func(file string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := os.ReadFile(file)
		b.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// hubMessages are what the hub's side says of a start, with a mark for each thing that is put in.
func hubMessages(t *testing.T) []string {
	others := regexp.MustCompile(`request to|^Nothing is kept|before yours`) // for the log, and no errors
	said := regexp.MustCompile(`(?:StartError\(|Refusal\(\(|message = |return )\s*\(?\s*((?:f?"[^"]*"\s*)+)`)
	one := regexp.MustCompile(`f?"([^"]*)"`)
	var all []string
	for _, file := range []string{"errors", "offer", "outposts", "spawner", "systems"} {
		text := read(t, "infra/hub/outpost_hub/"+file+".py")
		for _, match := range said.FindAllStringSubmatch(text, -1) {
			message := ""
			for _, part := range one.FindAllStringSubmatch(match[1], -1) {
				message += part[1]
			}
			message = regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(message, "\x00")
			if len(message) > 15 && !others.MatchString(message) {
				all = append(all, message)
			}
		}
	}
	return all
}

// functions are those of a package, by name; methods have their own name alone.
func functions(t *testing.T, folder string) map[string][]*ast.FuncDecl {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]*ast.FuncDecl{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, declared := range goFile(t, filepath.Join(folder, filepath.Base(file))).Decls {
			if f, ok := declared.(*ast.FuncDecl); ok && f.Body != nil {
				all[f.Name.Name] = append(all[f.Name.Name], f)
			}
		}
	}
	return all
}

// formats are the texts that functions of a package, and those of the package that they call, give to fmt.Errorf and
// fmt.Sprintf, by the function, with a mark for each thing that is put in.
func formats(t *testing.T, folder string, names ...string) map[string][]string {
	t.Helper()
	all, of := map[string][]string{}, functions(t, folder)
	for len(names) > 0 {
		name := names[0]
		names = names[1:]
		if _, done := all[name]; done || of[name] == nil {
			continue
		}
		all[name] = []string{}
		for _, f := range of[name] {
			ast.Inspect(f.Body, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				called := callee(call)
				if called != "Errorf" && called != "Sprintf" && called != "Sentence" {
					names = append(names, called)
				} else if text := literal(call.Args[0]); text != "" {
					all[name] = append(all[name], regexp.MustCompile(`%[a-z]`).ReplaceAllString(text, "\x00"))
				}
				return true
			})
		}
	}
	return all
}

// endMessages are why a server that ran has ended.
func endMessages(t *testing.T) []string {
	text := read(t, "server/kube/diagnosis/status.go")
	all := []string{"The server exceeded its memory limit and was killed.", "The server's pod no longer exists."}
	for _, one := range all {
		if !strings.Contains(text, one) {
			t.Errorf("server/kube/diagnosis/status.go does not say %q", one)
		}
	}
	return append(all, formats(t, "server/kube/diagnosis", "endReason")["endReason"]...)
}

// preflightMessages are the refusals of `pulumi up`: texts that say that nothing was changed, and those of functions
// that give a part of one.
func preflightMessages(t *testing.T) []string {
	parts := []string{
		"lacks", "unknownKind", "unheard", "checkCharts", "notFound", "missingNamespaces", "takenNodePorts",
	}
	var all []string
	for name, texts := range formats(t, "stacks", "identify", "preflight") {
		for _, text := range texts {
			refuses := strings.Contains(text, "nothing was changed") && name != "unroutable"
			if refuses || slices.Contains(parts, name) && len(text) > 30 && !strings.HasPrefix(text, "choose") {
				all = append(all, text)
			}
		}
	}
	return all
}
