package hub

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	helmv4 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/helm/v4"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
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
