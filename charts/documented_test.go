package charts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chartutil"
)

const documented = "../docs/examples/helm"

// TestDocumentedValues holds that both charts can be rendered with the values that the manual has for them, and that
// these name the schema by which an editor checks them.
func TestDocumentedValues(t *testing.T) {
	for _, name := range []string{"outpost", "outposts-hub", "dial-out/outpost", "dial-out/outposts-hub"} {
		t.Run(name, func(t *testing.T) {
			chart := filepath.Base(name)
			path := filepath.Join(documented, name+".yaml")
			values := readValues(t, path)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(text), "\n")
			// As seen from the project's folder, to which the manual lets the file be copied.
			want := "# yaml-language-server: $schema=charts/" + chart + "/values.schema.json"
			if first != want {
				t.Errorf("the first line, for editors, is %q, want %q", first, want)
			}
			release := chartutil.ReleaseOptions{Name: chart, Namespace: "jupyterhub", Revision: 1, IsInstall: true}
			if _, err := renderChart(load(t, chart), values, release); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDocumentedSidesFit holds that an outpost of the manual that dials out does so to the address of a system that the
// hub's side of the manual waits for, and opens nothing itself.
func TestDocumentedSidesFit(t *testing.T) {
	systems := readValues(t, documented+"/dial-out/outposts-hub.yaml")["systems"].(map[string]any)
	outpost := readValues(t, documented+"/dial-out/outpost.yaml")
	var got, want []string
	for _, url := range outpost["dialOut"].(map[string]any)["urls"].([]any) {
		got = append(got, url.(string))
	}
	for name, system := range systems {
		hub, ok := strings.CutSuffix(system.(map[string]any)["hubApiUrl"].(string), "/hub/api")
		if system.(map[string]any)["connect"] != "dialOut" || !ok {
			t.Errorf("%s: %v", name, system)
		}
		want = append(want, hub+"/services/outposts/"+name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dialOut.urls (-want +got):\n%s", diff)
	}
	if ssh := outpost["servicessh"].(map[string]any); ssh["enabled"] != false || outpost["service"] != nil {
		t.Errorf("servicessh %v, service %v", ssh, outpost["service"])
	}
}

// TestDocumentedLines holds the lines for zero-to-jupyterhub, as the manual has them in a file, to what Helm prints for
// the manual's values of the hub's side, with the entries that the chart's README has for the stock image.
func TestDocumentedLines(t *testing.T) {
	release := chartutil.ReleaseOptions{Name: hubChart, Namespace: "jupyterhub", Revision: 1, IsInstall: true}
	for _, folder := range []string{"", "dial-out/"} {
		values := readValues(t, documented+"/"+folder+hubChart+".yaml")
		files, err := renderChart(load(t, hubChart), values, release)
		if err != nil {
			t.Fatal(err)
		}
		readme, err := os.ReadFile(hubChart + "/README.md")
		if err != nil {
			t.Fatal(err)
		}
		_, section, _ := strings.Cut(string(readme), "\n## What the hub's image must have\n")
		_, stock, _ := strings.Cut(section, "```yaml\n")
		stock, _, _ = strings.Cut(stock, "```")
		want := linesOfNotes[map[string]any](t, files[hubChart+"/templates/NOTES.txt"])["hub"].(map[string]any)
		for key, value := range decode[map[string]any](t, []byte(stock))["hub"].(map[string]any) {
			if list, ok := want[key].([]any); ok {
				value = append(list, value.([]any)...)
			}
			want[key] = value
		}
		got := readValues(t, documented+"/hub-lines.yaml")["hub"]
		if diff := cmp.Diff(any(want), got); diff != "" {
			t.Errorf("docs/examples/helm/hub-lines.yaml (-want +got):\n%s", diff)
		}
	}
}
