package charts

import (
	"path/filepath"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
)

// TestDocumentedValues holds that both charts can be rendered with the values that the manual has for them.
func TestDocumentedValues(t *testing.T) {
	for _, chart := range []string{"outpost", "outposts-hub"} {
		t.Run(chart, func(t *testing.T) {
			values := readValues(t, filepath.Join("..", "docs", "examples", "helm", chart+".yaml"))
			release := chartutil.ReleaseOptions{Name: chart, Namespace: "jupyterhub", Revision: 1, IsInstall: true}
			if _, err := renderChart(load(t, chart), values, release); err != nil {
				t.Error(err)
			}
		})
	}
}
