// Package outposts holds the one test that concerns the whole module: which package may import which.
package outposts

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const modulePath = "github.com/outposts-dev/outposts"

// allowed is the import table: a package of ours and those of ours that it may import. A package that is not here may
// import none. Tests may add what testOnly lists, and every package's own ...test helpers.
var allowed = map[string][]string{
	"server": {
		"server/audit", "server/config", "server/dialout", "server/flavor", "server/httpapi", "server/hubclient",
		"server/lifecycle", "server/maintenance", "server/offer", "server/outpost", "server/place", "server/reload",
		"server/seal", "server/site", "server/source", "server/sshd", "server/sshd/keys", "server/store",
		"server/tunnels", "server/tunnels/remote",
	},
	"infra/cluster":     {"infra/component"},
	"infra/credentials": {"infra/component"},
	"infra/effect":      {"infra/schema", "infra/values"},
	"infra/exposure":    {"infra/schema", "infra/values"},
	"infra/hub": {
		"charts", "infra/component", "infra/effect", "infra/exposure", "infra/release", "infra/schema", "infra/values",
	},
	"infra/outpost": {
		"charts", "infra/component", "infra/effect", "infra/exposure", "infra/release", "infra/schema", "infra/values",
		"server/config", "server/flavor", "server/site",
	},
	"infra/schema/schematest": {"infra/schema", "infra/values"},
	"server/cmd/outpost": {
		"server", "server/backup", "server/config", "server/footprint", "server/homes", "server/kube",
		"server/maintenance", "server/outpost", "server/store", "server/survivor",
	},
	"server/audit":  {"server/excerpt", "server/outpost"},
	"server/backup": {"server/seal"},
	"server/config": {
		"server/access", "server/maintenance", "server/outpost", "server/place", "server/suggest",
	},
	"server/dialout": {"server/excerpt", "server/source"},
	"server/flavor": {
		"server/access", "server/catalog", "server/excerpt", "server/pattern", "server/python", "server/suggest",
	},
	"server/httpapi": {
		"server/catalog", "server/excerpt", "server/flavor", "server/outpost", "server/python", "server/source",
		"server/watch",
	},
	"server/homes":     {"server/kubespawner", "server/outpost"},
	"server/hubclient": {"server/flavor", "server/outpost"},
	"server/kube": {
		"server/access", "server/catalog", "server/excerpt", "server/flavor", "server/kube/diagnosis",
		"server/kubespawner", "server/kubespawner/options", "server/outpost",
	},
	"server/kube/diagnosis": {
		"server/excerpt", "server/kubespawner", "server/kubespawner/options", "server/outpost",
	},
	"server/kubespawner": {
		"server/access", "server/catalog", "server/excerpt", "server/flavor", "server/kubespawner/options",
		"server/kubespawner/podspec", "server/outpost", "server/python",
	},
	"server/kubespawner/kubespawnertest": {"server/outpost"},
	"server/kubespawner/options": {
		"server/access", "server/catalog", "server/excerpt", "server/outpost", "server/python", "server/suggest",
	},
	"server/kubespawner/podspec": {"server/excerpt", "server/kubespawner/options"},
	"server/lifecycle": {
		"server/catalog", "server/excerpt", "server/flavor", "server/offer", "server/outbox", "server/outpost",
		"server/watch",
	},
	"server/maintenance": {"server/catalog", "server/outpost", "server/suggest"},
	"server/offer": {
		"server/access", "server/catalog", "server/flavor", "server/maintenance", "server/outpost",
	},
	"server/outpost": {
		"server/access", "server/catalog", "server/excerpt", "server/flavor", "server/pattern",
	},
	"server/outpost/outposttest": {
		"server/access", "server/catalog", "server/flavor", "server/lifecycle", "server/outpost",
	},
	"server/python": {"server/excerpt"},
	"server/site": {
		"server/access", "server/flavor", "server/kubespawner", "server/kubespawner/options", "server/outpost",
	},
	"server/sshd":            {"server/excerpt", "server/source", "server/sshd/keys", "server/sshd/wire"},
	"server/sshd/keys":       {"server/excerpt"},
	"server/store":           {"server/backup", "server/flavor", "server/outpost", "server/python", "server/seal"},
	"server/store/storetest": {"server/flavor", "server/outpost"},
	"server/survivor":        {"server/kubespawner", "server/outpost"},
	"server/tunnels": {
		"server/excerpt", "server/outbox", "server/sshd/wire", "server/tunnels/remote",
	},
	"server/tunnels/remote": {"server/excerpt", "server/place", "server/sshd/wire"},
	"server/watch":          {"server/catalog", "server/outpost"},
	"stacks": {
		"infra/cluster", "infra/credentials", "infra/exposure", "infra/hub", "infra/outpost", "infra/release",
		"infra/schema", "infra/values", "server/suggest",
	},
}

// testOnly is what the tests of a package may import beside its own list.
var testOnly = map[string][]string{
	"dev/docs": {"charts", "server/config", "server/kubespawner/options"},
	"charts": {
		"infra/schema/schematest", "server/config", "server/flavor", "server/kubespawner/options",
		"server/tunnels/remote",
	},
	"infra/cluster":     {"infra/infratest"},
	"infra/credentials": {"infra/infratest"},
	"infra/hub": {
		"infra/infratest", "infra/schema/schematest", "server/kubespawner/options", "server/tunnels/remote",
	},
	"infra/outpost": {"infra/infratest", "infra/schema/schematest", "server/kubespawner/options"},
	"server": {
		"server/nettest", "server/outpost/outposttest", "server/sshtest", "server/store/storetest",
	},
	"server/cmd/outpost":         {"server/flavor"},
	"server/dialout":             {"server/nettest"},
	"server/httpapi":             {"server/access", "server/lifecycle", "server/nettest", "server/outpost/outposttest"},
	"server/hubclient":           {"server/outpost/outposttest"},
	"server/kube":                {"server/kubespawner/kubespawnertest"},
	"server/kubespawner":         {"server/kubespawner/kubespawnertest"},
	"server/kubespawner/options": {"server/kubespawner/kubespawnertest"},
	"server/lifecycle":           {"server/maintenance", "server/outpost/outposttest"},
	"server/sshd":                {"server/nettest", "server/sshtest"},
	"server/store":               {"server/store/storetest"},
	"server/store/storetest":     {"server/outpost/outposttest"},
	"server/tunnels":             {"server/sshd", "server/sshtest"},
	"server/tunnels/remote":      {"server/nettest", "server/sshtest"},
	"stacks": {
		"charts", "infra/infratest", "infra/schema/schematest", "server/tunnels/remote",
	},
}

// TestImports holds every package of the module to the table.
func TestImports(t *testing.T) {
	got, err := violations(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range got {
		t.Error(v)
	}
}

// TestImportsPlanted shows that the table bites: a tree with wrong imports is refused, each by name.
func TestImportsPlanted(t *testing.T) {
	got, err := violations("testdata/imports")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"server/httpapi/bad.go: server/httpapi imports server/store; the table allows server/catalog, " +
			"server/excerpt, server/flavor, server/outpost, server/python, server/source, server/watch",
		"server/outpost/bad.go: server/outpost imports server/outpost/outposttest; the table allows server/access, " +
			"server/catalog, server/excerpt, server/flavor, server/pattern",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
}

// TestPackagesAreSmall holds every package of the server to a size that a newcomer reads in one sitting. A package that
// outgrows it has a second reason to exist: find its noun.
func TestPackagesAreSmall(t *testing.T) {
	const maxFiles, maxLines = 15, 2500
	files, lines := map[string]int{}, map[string]int{}
	err := filepath.WalkDir("server", func(file string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := os.ReadFile(file)
		folder := filepath.Dir(file)
		files[folder]++
		lines[folder] += strings.Count(string(text), "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Errorf("%d packages were found", len(files))
	}
	for folder := range files {
		if files[folder] > maxFiles || lines[folder] > maxLines {
			t.Errorf("%s: %d files with %d lines; at most %d and %d",
				folder, files[folder], lines[folder], maxFiles, maxLines)
		}
	}
}

// TestNamesOfClusterTests holds every test with the build tag e2e to a name that `make test` runs.
func TestNamesOfClusterTests(t *testing.T) {
	tagged := 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, "_test.go") {
			if err == nil && d.IsDir() && d.Name() != "." && strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(text), "//go:build e2e") {
			return err
		}
		tagged++
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(line, "func Test"); ok && !strings.HasPrefix(name, "E2E") &&
				!strings.HasPrefix(name, "Main(") {
				t.Errorf("%s: Test%s: the name of a test with the tag e2e begins with TestE2E, or nobody runs it",
					file, strings.TrimSpace(name))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if tagged == 0 {
		t.Error("no file with the tag e2e was found")
	}
}

// violations lists the imports under root that the table does not allow. Folders with a go.mod of their own
// are other modules: the product never imports them, and they are passed over.
func violations(root string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if rel == "." {
				return nil
			}
			_, err := os.Stat(filepath.Join(file, "go.mod"))
			if err == nil || strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(rel))
		isTest := strings.HasSuffix(file, "_test.go")
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			of, ours := strings.CutPrefix(imported, modulePath+"/")
			if !ours || of == pkg || mayImport(pkg, of, isTest) {
				continue
			}
			list := "nothing of ours"
			if len(allowed[pkg]) > 0 {
				list = strings.Join(allowed[pkg], ", ")
			}
			found = append(found,
				fmt.Sprintf("%s: %s imports %s; the table allows %s", filepath.ToSlash(rel), pkg, of, list))
		}
		return nil
	})
	return found, err
}

func mayImport(pkg, of string, isTest bool) bool {
	if strings.HasPrefix(of, "e2e/") && !strings.HasPrefix(pkg, "e2e/") {
		return false
	}
	if strings.HasPrefix(pkg, "e2e/") || slices.Contains(allowed[pkg], of) {
		return true
	}
	return isTest && slices.Contains(testOnly[pkg], of)
}
