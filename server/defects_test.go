package server

import (
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// noTest are the defects of the Python outpost 2.3.0 and the observable cases of its test suite that nothing here could show, and why.
var noTest = map[string]string{
	"X9":      "there is no account: SSH looks at keys alone",
	"X63":     "there are no Python classes to name",
	"X64":     "there are no classes, so none has a parent: options stand under spawner",
	"case 13": "sanitize_start_response is Python; an address has one form only (X22)",
	"case 37": "there are no classes, so none has a parent: options stand under spawner",
}

// Every known defect of the Python outpost and every case of its test suite has a test named for it.
func TestEveryDefectAndCaseHasATest(t *testing.T) {
	named := map[string]string{}
	for _, folder := range []string{".", "../charts"} {
		if err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") {
				return err
			}
			return addNames(path, named)
		}); err != nil {
			t.Fatal(err)
		}
	}
	var all []string
	for _, r := range []struct {
		what      string
		from, end int
	}{{"X", 1, 22}, {"X", 30, 82}, {"case ", 1, 45}} {
		for n := r.from; n <= r.end; n++ {
			all = append(all, r.what+strconv.Itoa(n))
		}
	}
	for _, name := range all {
		switch _, exempt := noTest[name]; {
		case named[name] == "" && !exempt:
			t.Errorf("%s has no test", name)
		case named[name] != "" && exempt:
			t.Errorf("%s has a test, %s, and a reason for none", name, named[name])
		}
	}
}

var (
	defectInName = regexp.MustCompile(`X(\d+)`)
	casesInName  = regexp.MustCompile(`Case(\d+)(?:(And|To)(\d+))?`)
	nameOfRow    = regexp.MustCompile(`^(X\d+|case \d+)[,:]`) // of a table of cases
)

// addNames adds what the tests of a file are named for: the functions and the rows of their tables.
func addNames(path string, named map[string]string) error {
	file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, 0)
	if err != nil {
		return err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			name := n.Name.Name
			if n.Recv != nil || !strings.HasPrefix(name, "Test") {
				break
			}
			for _, m := range defectInName.FindAllStringSubmatch(name, -1) {
				named["X"+m[1]] = name
			}
			for _, m := range casesInName.FindAllStringSubmatch(name, -1) {
				for _, number := range numbers(m[1], m[2], m[3]) {
					named[fmt.Sprintf("case %d", number)] = name
				}
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil {
				if m := nameOfRow.FindStringSubmatch(text); m != nil {
					named[m[1]] = path + ": " + text
				}
			}
		}
		return true
	})
	return nil
}

// numbers are those of "3", "3And7" or "3To7".
func numbers(first, word, last string) []int {
	from, _ := strconv.Atoi(first) // digits, by the expression
	to, err := strconv.Atoi(last)
	switch {
	case err != nil:
		return []int{from}
	case word == "And":
		return []int{from, to}
	}
	var list []int
	for n := from; n <= to; n++ {
		list = append(list, n)
	}
	return list
}
