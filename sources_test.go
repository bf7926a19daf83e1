package outposts

import (
	"debug/elf"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Bounds of .golangci.yml.
const (
	maxColumns    = 120
	tabColumns    = 4
	maxComplexity = 20
)

// asItIs are files with a fault of form that stays: a change of them builds tools again, on everybody's machine.
var asItIs = []string{
	"dev/kube/gateway/proxy/match.go", // with Kubernetes, 17 CPU minutes
	"dev/pulumi/kubernetes/kinds/kinds.go",
}

// TestSourcesAreInForm holds of the Go files of all modules what `make lint` holds of their text: gofumpt's format, the
// width of lines, and the complexity of functions. What it holds of their types takes minutes.
func TestSourcesAreInForm(t *testing.T) {
	files, err := goFiles()
	if err != nil {
		t.Fatal(err)
	}
	with := map[string]bool{}
	// A program of its own, as the race detector makes it seven times slower.
	cmd := exec.CommandContext(t.Context(), "go", slices.Concat([]string{"tool", "gofumpt", "-l"}, files)...)
	cmd.Stderr = t.Output()
	unformatted, err := cmd.Output()
	if err != nil {
		t.Fatalf("gofumpt: %v", err)
	}
	for _, file := range strings.Fields(string(unformatted)) {
		if with[file] = true; !slices.Contains(asItIs, file) {
			t.Errorf("%s is not formatted: go tool gofumpt -w %[1]s", file)
		}
	}
	for _, file := range files {
		for _, fault := range faultsOfForm(t, file) {
			if with[file] = true; !slices.Contains(asItIs, file) {
				t.Error(fault)
			}
		}
	}
	for _, file := range asItIs {
		if !with[file] {
			t.Errorf("%s has no fault any more: take it out of asItIs", file)
		}
	}
}

// TestNoProgramIsCommitted holds that git has no program: `go build` leaves one in the folder that it builds, under the
// name of that, and a clone then fetches it for ever.
func TestNoProgramIsCommitted(t *testing.T) {
	names, err := exec.CommandContext(t.Context(), "git", "ls-files", "-z").Output()
	if err != nil {
		t.Skipf("git lists no files: %v", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(names), "\x00"), "\x00") {
		program, err := elf.Open(name)
		if err == nil {
			t.Errorf("%s is a program: git rm --cached %[1]s", name)
			_ = program.Close()
		}
	}
}

// goFiles are the Go files of all modules.
func goFiles() (files []string, err error) {
	err = filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		name := entry.Name()
		switch {
		case err != nil:
			return err
		case entry.IsDir() && file != "." && (strings.HasPrefix(name, ".") || name == "node_modules"):
			return filepath.SkipDir
		case strings.HasSuffix(name, ".go"):
			files = append(files, file)
		}
		return nil
	})
	return files, err
}

// faultsOfForm returns which lines of a file are too wide, and which functions too complex.
func faultsOfForm(t *testing.T, file string) (faults []string) {
	t.Helper()
	text := readText(t, file)
	positions := token.NewFileSet()
	parsed, err := parser.ParseFile(positions, file, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	wide := declaredWide(positions, parsed)
	for i, line := range strings.Split(text, "\n") {
		columns := utf8.RuneCountInString(strings.ReplaceAll(line, "\t", strings.Repeat(" ", tabColumns)))
		if columns > maxColumns && !strings.HasPrefix(line, "//go:") && !wide[i+1] {
			faults = append(faults, fmt.Sprintf("%s:%d has %d columns, at most %d", file, i+1, columns, maxColumns))
		}
	}
	for _, declared := range parsed.Decls {
		function, ok := declared.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if complexity := complexityOf(function); complexity > maxComplexity {
			faults = append(faults, fmt.Sprintf("%s: %s has a cyclomatic complexity of %d, at most %d",
				positions.Position(function.Pos()), function.Name, complexity, maxComplexity))
		}
	}
	return faults
}

// declaredWide returns the lines of what has a comment `//nolint:lll` beside it or above it.
func declaredWide(positions *token.FileSet, file *ast.File) map[int]bool {
	line := func(at token.Pos) int { return positions.Position(at).Line }
	var marks []int
	for _, group := range file.Comments {
		for _, comment := range group.List {
			if strings.HasPrefix(comment.Text, "//nolint:lll ") {
				marks = append(marks, line(comment.Pos()))
			}
		}
	}
	wide := map[int]bool{}
	ast.Inspect(file, func(node ast.Node) bool {
		if node == nil || len(marks) == 0 {
			return false
		}
		if first := line(node.Pos()); slices.Contains(marks, first) || slices.Contains(marks, first-1) {
			for i := first; i <= line(node.End()); i++ {
				wide[i] = true
			}
		}
		return true
	})
	return wide
}

// complexityOf counts a function's ways, as gocyclo does.
func complexityOf(function *ast.FuncDecl) int {
	ways := 1
	ast.Inspect(function, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			ways++
		case *ast.CaseClause:
			if node.List != nil {
				ways++
			}
		case *ast.CommClause:
			if node.Comm != nil {
				ways++
			}
		case *ast.BinaryExpr:
			if node.Op == token.LAND || node.Op == token.LOR {
				ways++
			}
		}
		return true
	})
	return ways
}
