package charts

import (
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chartutil"
)

// TestChartOfAReleaseNamesItsImage holds what a chart that was released installs: its own image by digest, unless the
// values name another tag or digest.
func TestChartOfAReleaseNamesItsImage(t *testing.T) {
	own, other := "sha256:"+strings.Repeat("a", 64), "sha256:"+strings.Repeat("b", 64)
	line := regexp.MustCompile(`(?m)^ *(?:- )?image: "?([^"\n]+)"?$`)
	const site = "registry.example.org/outposts/outpost"
	for _, c := range []struct {
		released bool
		image    map[string]any
		want     string
	}{
		{true, nil, "ghcr.io/outposts-dev/outpost:1.2.3@" + own},
		{true, map[string]any{"repository": site}, site + ":1.2.3@" + own},
		{true, map[string]any{"tag": "dev"}, "ghcr.io/outposts-dev/outpost:dev"},
		{true, map[string]any{"digest": other}, "ghcr.io/outposts-dev/outpost:1.2.3@" + other},
		{true, map[string]any{"tag": "dev", "digest": other}, "ghcr.io/outposts-dev/outpost:dev@" + other},
		{false, nil, "ghcr.io/outposts-dev/outpost:1.2.3"},
	} {
		for _, folder := range []string{"outpost", "outposts-hub"} {
			chart := load(t, folder)
			chart.Metadata.AppVersion = "1.2.3"
			if c.released {
				chart.Metadata.Annotations = map[string]string{"outposts.dev/image-digest": own}
			}
			values := readValues(t, folder+"/ci/defaults.yaml")
			if c.image != nil {
				values["image"] = maps.Clone(c.image)
			}
			files, err := renderChart(chart, values, chartutil.ReleaseOptions{
				Name: "outpost", Namespace: "outpost", Revision: 1, IsInstall: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			images := map[string]bool{}
			for _, text := range files {
				for _, found := range line.FindAllStringSubmatch(text, -1) {
					images[found[1]] = true
				}
			}
			if diff := cmp.Diff(map[string]bool{c.want: true}, images); diff != "" {
				t.Errorf("images of %s, released %t, with %v (-want +got):\n%s", folder, c.released, c.image, diff)
			}
		}
	}
}
