//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/values"
)

// TestE2EChartOfARepository holds that the stack which `make up CHART=4.4.0` applies has the hub's objects from the
// chart of that version in the repository, and not from a newer one that the repository lists too. The repository is on
// this machine, and its chart is the stand-in under the name of the published one.
func TestE2EChartOfARepository(t *testing.T) {
	e := newEngine(t)
	for _, name := range []string{"HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"} {
		e.env = append(e.env, name+"="+t.TempDir())
	}
	repository, asked := serveChart(t)
	e.set(t, "local", "hub.chart", chosenChart(t, hub.ChartVersion, repository))
	e.run(t, "local", "up", "--yes")
	deployment := e.object(t, "local", "Deployment jupyter/hub")
	want := "jupyterhub-" + hub.ChartVersion
	if got := values.At(deployment, "metadata", "labels", "helm.sh/chart"); got != want {
		t.Errorf("the hub is of chart %v, want %s", got, want)
	}
	if diff := cmp.Diff([]string{"/index.yaml", "/" + want + ".tgz"}, asked()); diff != "" {
		t.Errorf("what was asked of the repository (-want +got):\n%s", diff)
	}
}

// serveChart serves a repository with the chart jupyterhub of hub.ChartVersion, which lists a newer one first. What it
// has been asked for are paths.
func serveChart(t *testing.T) (repository string, asked func() []string) {
	t.Helper()
	folder := t.TempDir()
	standIn, err := loader.Load(filepath.Join(projectRoot(t), "e2e", "charts", "hub"))
	if err != nil {
		t.Fatal(err)
	}
	standIn.Metadata.Name, standIn.Metadata.KubeVersion = "jupyterhub", ""
	standIn.Metadata.Version = hub.ChartVersion
	if _, err := chartutil.Save(standIn, folder); err != nil {
		t.Fatal(err)
	}
	index := "apiVersion: v1\nentries:\n  jupyterhub:\n"
	for _, version := range []string{"4.999.0", hub.ChartVersion} {
		index += fmt.Sprintf(
			"    - {apiVersion: v2, name: jupyterhub, version: %[1]s, urls: [jupyterhub-%[1]s.tgz]}\n", version)
	}
	if err := os.WriteFile(filepath.Join(folder, "index.yaml"), []byte(index), 0o644); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	paths := map[string]bool{}
	files := http.FileServer(http.Dir(folder))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		paths[r.URL.Path] = true
		mu.Unlock()
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Sorted(maps.Keys(paths))
	}
}

// chosenChart is where the hub's chart comes from in the stack that dev/chart writes for a version.
func chosenChart(t *testing.T, version, repository string) string {
	t.Helper()
	top := t.TempDir()
	if err := os.Mkdir(filepath.Join(top, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"dev/chart", "Pulumi.local.yaml"} {
		text, err := os.ReadFile(filepath.Join(projectRoot(t), file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(top, file), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	choose := exec.CommandContext(t.Context(), filepath.Join(top, "dev", "chart"), version)
	choose.Env = append(os.Environ(), "CHART_REPOSITORY="+repository)
	if out, err := choose.CombinedOutput(); err != nil {
		t.Fatalf("dev/chart: %v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(top, ".state", "Pulumi.local.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var stack map[string]any
	if err := yaml.Unmarshal(text, &stack); err != nil {
		t.Fatal(err)
	}
	chart, err := json.Marshal(values.At(stack, "config", "outposts:hub", "chart"))
	if err != nil {
		t.Fatal(err)
	}
	return string(chart)
}
