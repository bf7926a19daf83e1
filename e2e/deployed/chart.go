package deployed

import (
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
)

// RenderChart renders the outpost's chart of the checkout as Helm does, and returns its objects as one YAML stream.
func RenderChart(t testing.TB, release, namespace string, values map[string]any) string {
	t.Helper()
	return Render(t, filepath.Join("..", "..", "charts", "outpost"), release, namespace, values)
}

// Render renders the chart in a folder as Helm does, and returns its objects as one YAML stream.
func Render(t testing.TB, folder, release, namespace string, values map[string]any) string {
	t.Helper()
	chart, err := loader.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	top, err := chartutil.ToRenderValues(chart, values,
		chartutil.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true},
		chartutil.DefaultCapabilities.Copy())
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(chart, top)
	if err != nil {
		t.Fatal(err)
	}
	var objects []string
	for name, text := range files {
		if filepath.Ext(name) == ".yaml" && strings.TrimSpace(text) != "" {
			objects = append(objects, text)
		}
	}
	return strings.Join(objects, "\n---\n")
}
