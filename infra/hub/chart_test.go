package hub

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	helmv4 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/helm/v4"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/schema"
)

// TestChartAt gives the provider a folder, a repository, and a registry.
func TestChartAt(t *testing.T) {
	for _, c := range []struct {
		name  string
		chart Chart
		want  *helmv4.ChartArgs
	}{
		{"folder", Chart{Path: "/charts/hub"}, &helmv4.ChartArgs{Chart: pulumi.String("/charts/hub")}},
		{"published", Chart{Version: "4.4.0"}, &helmv4.ChartArgs{
			Chart: pulumi.String("jupyterhub"), Version: pulumi.String("4.4.0"),
			RepositoryOpts: helmv4.RepositoryOptsArgs{Repo: pulumi.String("https://hub.jupyter.org/helm-chart/")},
		}},
		{"mirror", Chart{Version: "4.4.0", Repository: "https://charts.example.org"}, &helmv4.ChartArgs{
			Chart: pulumi.String("jupyterhub"), Version: pulumi.String("4.4.0"),
			RepositoryOpts: helmv4.RepositoryOptsArgs{Repo: pulumi.String("https://charts.example.org")},
		}},
		{"registry", Chart{Version: "4.4.0", Repository: "oci://registry.example.org/charts/"}, &helmv4.ChartArgs{
			Chart: pulumi.String("oci://registry.example.org/charts/jupyterhub"), Version: pulumi.String("4.4.0"),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if faults := c.chart.Validate(); len(faults) != 0 {
				t.Errorf("refused: %v", faults)
			}
			if diff := cmp.Diff(c.want, c.chart.at()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestChartRefusals names what is wrong with where a chart comes from.
func TestChartRefusals(t *testing.T) {
	for _, c := range []struct {
		name  string
		chart Chart
		want  []string
	}{
		{"nothing", Chart{}, []string{"want either version or path"}},
		{"both", Chart{Version: "4.4.0", Path: "/charts/hub"}, []string{"want either version or path"}},
		{"repository of a folder", Chart{Path: "/charts/hub", Repository: "https://charts.example.org"}, []string{
			"repository: has no effect with path",
		}},
		{"no URL", Chart{Version: "4.4.0", Repository: "charts.example.org/hub"}, []string{
			"repository: is not a URL; want one that begins with https:// or oci://",
		}},
		{"plain HTTP", Chart{Version: "4.4.0", Repository: "http://10.0.0.1/charts"}, []string{
			`repository: "http://10.0.0.1/charts": want https:// or oci://`,
		}},
		{"another scheme", Chart{Version: "4.4.0", Repository: "file://localhost/charts"}, []string{
			`repository: "file://localhost/charts": want https:// or oci://`,
		}},
		{"password", Chart{Version: "4.4.0", Repository: "https://alice:secret@charts.example.org"}, []string{
			"repository: has a password in it; `helm registry login` keeps one for oci://",
		}},
		{"another minor version", Chart{Version: "4.5.0"}, []string{
			"version: zero-to-jupyterhub 4.5.0 is not tested here: values are made for 4.4.0 and held to its schema; " +
				"set untested: true beside it to install it all the same",
		}},
		{"another minor version, on purpose", Chart{Version: "4.5.0", Untested: true}, nil},
		{"another patch", Chart{Version: "4.4.1"}, nil},
		{"a range", Chart{Version: "^4.4.0", Untested: true}, []string{
			`version: "^4.4.0" is not a version; want one such as 4.4.0`,
		}},
		{"plain HTTP on this machine", Chart{Version: "4.4.0", Repository: "http://127.0.0.1:8879"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, fault := range c.chart.Validate() {
				got = append(got, fault.Error())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestChartIsKnown holds what is known of a chart before it is installed: its version, and the image of its hub.
func TestChartIsKnown(t *testing.T) {
	folder := func(chart, values string) string {
		dir := t.TempDir()
		for name, text := range map[string]string{"Chart.yaml": chart, "values.yaml": values} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	const untested = " is not tested here: values are made for 4.4.0 and held to its schema"
	hubOf := "hub: {image: {name: mirror.example.org/k8s-hub, tag: 4.3.1}}"
	for _, tt := range []struct {
		name             string
		chart            Chart
		image            Image
		refused, warning string
	}{
		{"tested", Chart{Version: "4.4.0"}, Image{StockImage, "4.4.0"}, "", ""},
		{
			"another patch",
			Chart{Version: "4.4.1"},
			Image{StockImage, "4.4.1"},
			"",
			"version: zero-to-jupyterhub 4.4.1" + untested,
		},
		{
			"folder",
			Chart{Path: folder("{name: jupyterhub, version: 4.3.1}", hubOf)},
			Image{"mirror.example.org/k8s-hub", "4.3.1"},
			"path: zero-to-jupyterhub 4.3.1" + untested + "; set untested: true beside it to install it all the same",
			"path: zero-to-jupyterhub 4.3.1" + untested,
		},
		{
			"folder of another chart",
			Chart{Path: folder("{name: mine, version: 0.1.0}", "hub: {}")},
			Image{StockImage, "4.4.0"},
			"", "",
		},
		{"no folder", Chart{Path: "/nowhere"}, Image{StockImage, "4.4.0"}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := func(faults schema.Faults) (said string) {
				for _, fault := range faults {
					said += fault.Error()
				}
				return said
			}
			a := soundArgs()
			a.Chart, a.Image = tt.chart, Image{}
			got := []any{a.image(), text(tt.chart.Validate()), text(tt.chart.Warnings())}
			if diff := cmp.Diff([]any{tt.image, tt.refused, tt.warning}, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
