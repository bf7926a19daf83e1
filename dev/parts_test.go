package dev

import (
	"encoding/json"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// made are the modules whose programs `make up` and `make release` make.
var made = []string{
	"..", "../images/outpost", "clusters", "dns", "kube", "kube/gateway", "netpol", "runtime",
	"pulumi/cli", "pulumi/kubernetes", "pulumi/language-go", "pulumi/random", "release",
}

// TestProgramsShareModules holds that the large modules have one version in everything that `make up` and `make
// release` make: what has two is compiled twice. A version is here with those that cannot have the version of the
// others.
func TestProgramsShareModules(t *testing.T) {
	versions := map[string]map[string][]string{} // by module and version
	for _, folder := range made {
		for module, version := range compiled(t, folder) {
			large := slices.ContainsFunc([]string{
				"github.com/charmbracelet/", "github.com/go-git/", "github.com/google/go-containerregistry",
				"github.com/klauspost/compress", "github.com/pulumi/pulumi/", "go.opentelemetry.io/", "golang.org/x/",
				"google.golang.org/", "k8s.io/",
			}, func(prefix string) bool { return strings.HasPrefix(module, prefix) })
			if !large {
				continue
			}
			if versions[module] == nil {
				versions[module] = map[string][]string{}
			}
			versions[module][version] = append(versions[module][version], folder)
		}
	}
	got := map[string]map[string][]string{}
	for module, by := range versions {
		delete(by, slices.MaxFunc(slices.Sorted(maps.Keys(by)), func(a, b string) int {
			return len(by[a]) - len(by[b])
		}))
		if len(by) > 0 {
			got[module] = by
		}
	}
	want := map[string]map[string][]string{
		// Kubernetes 1.34.4 does not compile with that of a later patch release.
		"k8s.io/cri-api": {"v0.34.10 => v0.34.4": {"kube"}},
		// What Helm and containerd need of it, openpgp, is not in 0.59; the host of Go programs shares go-git with
		// the first.
		"golang.org/x/crypto": {"v0.59.0 => v0.58.0": {"runtime", "pulumi/kubernetes", "pulumi/language-go"}},
		"golang.org/x/tools":  {"v0.52.1-0.20261106145633-d407941a339a": {".."}}, // linked nowhere
		// The Kubernetes provider and the host of Go programs do not compile with that of the CLI.
		"github.com/pulumi/pulumi/sdk/v3": {"v3.215.0": {"pulumi/kubernetes"}, "v3.200.0": {"pulumi/language-go"}},
		"github.com/pulumi/pulumi/pkg/v3": {"v3.215.0": {"pulumi/kubernetes"}, "v3.200.0": {"pulumi/language-go"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("modules with another version than in the other programs (-want +got):\n%s", diff)
	}
}

// compiled returns the versions of the modules that a folder requires as Go's build cache tells them: one that is
// required at another version than it is replaced by is compiled apart from what is required so.
func compiled(t *testing.T, folder string) map[string]string {
	t.Helper()
	edit := exec.Command("go", "mod", "edit", "-json", filepath.Join(folder, "go.mod"))
	out, err := edit.Output()
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Require []struct{ Path, Version string }
		Replace []struct {
			Old, New struct{ Path, Version string }
		}
	}
	if err := json.Unmarshal(out, &file); err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, module := range file.Require {
		versions[module.Path] = module.Version
	}
	for _, replaced := range file.Replace {
		if is := versions[replaced.Old.Path]; is != "" && is != replaced.New.Version && replaced.New.Version != "" {
			versions[replaced.Old.Path] = is + " => " + replaced.New.Version
		}
	}
	return versions
}

// required returns the versions of the modules that the go.mod in a folder requires, after its replacements.
func required(t *testing.T, folder string) map[string]string {
	t.Helper()
	versions := compiled(t, folder)
	for module, version := range versions {
		if _, replaced, ok := strings.Cut(version, " => "); ok {
			versions[module] = replaced
		}
	}
	return versions
}
