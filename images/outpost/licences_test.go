package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite THIRD-PARTY-LICENSES.txt")

// TestLicencesOfTheProgram holds the licences in the repository, which the image contains, to what is linked.
func TestLicencesOfTheProgram(t *testing.T) {
	got, err := licences(t.Context(), "../..", "./server/cmd/outpost")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("../..", licencesFile)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s differs from what is linked: go test -run %s -update rewrites it (-want +got)\n%s",
			licencesFile, t.Name(), cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")))
	}
}

// program makes a module with a program that uses one package of another module, whose files are given.
func program(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"main/go.mod": "module example.org/main\n\ngo 1.26.0\n\nrequire example.org/dep v1.2.3\n\n" +
			"replace example.org/dep => ../dep\n",
		"main/main.go":      "package main\n\nimport _ \"example.org/dep/in/side\"\n\nfunc main() {}\n",
		"dep/go.mod":        "module example.org/dep\n\ngo 1.26.0\n",
		"dep/in/side/go.go": "package side\n",
	} {
		files[name] = text
	}
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(root, "main")
}

func TestLicencesOfFolders(t *testing.T) {
	root := program(t, map[string]string{
		"dep/LICENSE.txt": "the module's\r\n", "dep/NOTICE": "a notice\n", "dep/license.go": "package dep\n",
		"dep/in/COPYING": "of a folder\n", "dep/in/side/LICENSE-MIT": "the module's\n",
		"dep/other/LICENSE": "of a folder that is not linked\n", "main/LICENSE": "of the program itself\n",
	})
	got, err := licences(t.Context(), root, ".")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Repeat("=", 80) + "\nexample.org/dep v1.2.3\n" + strings.Repeat("-", 80) + "\n\n"
	want := lines + "a notice\n\n" + lines + "of a folder\n\n" + lines + "the module's\n"
	if !strings.HasSuffix(string(got), want) {
		t.Errorf("got\n%s\nwant at its end\n%s", got, want)
	}
	if !strings.Contains(string(got), "Go's standard library") || strings.Contains(string(got), "not linked") ||
		strings.Contains(string(got), "of the program itself") {
		t.Errorf("got\n%s", got)
	}
}

func TestLicencesRefuseAModuleWithout(t *testing.T) {
	root := program(t, map[string]string{"dep/in/side/LICENSE": "of a folder only\n"})
	_, err := licences(t.Context(), root, ".")
	const want = "module example.org/dep v1.2.3 has no licence"
	if err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}
