// Package hub_test checks the test chart against what zero-to-jupyterhub makes of the same values.
package hub_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/yaml"
)

// objects maps "Kind name" to the object.
type objects map[string]map[string]any

// TestObjects holds that this chart makes the objects of chart 4.4.0: names, labels, ports, probes,
// policies, mounts and security contexts. testdata/README.md says what is left out and why.
func TestObjects(t *testing.T) {
	for _, name := range []string{"nodeport", "ingress"} {
		t.Run(name, func(t *testing.T) {
			got := render(t, readValues(t, name))
			want := parse(t, string(read(t, filepath.Join("testdata", "rendered-"+name+".yaml"))))
			if diff := cmp.Diff(names(want), names(got)); diff != "" {
				t.Errorf("objects (-want +got)\n%s", diff)
			}
			for key, object := range want {
				if diff := cmp.Diff(normal(object), normal(got[key])); diff != "" {
					t.Errorf("%s (-want +got)\n%s", key, diff)
				}
			}
			for _, key := range []string{"Secret hub", "ConfigMap hub"} {
				for _, field := range []string{"data", "stringData"} {
					for entry := range mapAt(got[key], field) {
						if _, ok := mapAt(want[key], field)[entry]; !ok {
							t.Errorf("%s: %s[%s] is not an entry of zero-to-jupyterhub's", key, field, entry)
						}
					}
				}
			}
		})
	}
}

// TestValuesReachHub holds that the hub's configuration gets the whole values, as the release has them.
func TestValuesReachHub(t *testing.T) {
	values := readValues(t, "nodeport")
	secret := render(t, values)["Secret hub"]
	text, err := base64.StdEncoding.DecodeString(mapAt(secret, "data")["values.yaml"].(string))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := yaml.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(values["custom"], got["custom"]); diff != "" {
		t.Errorf("custom (-want +got)\n%s", diff)
	}
	want := values["hub"].(map[string]any)["config"]
	if diff := cmp.Diff(want, got["hub"].(map[string]any)["config"]); diff != "" {
		t.Errorf("hub.config (-want +got)\n%s", diff)
	}
}

// TestBaseURL holds that a hub below a path is asked, and served, below it.
func TestBaseURL(t *testing.T) {
	values := readValues(t, "ingress")
	mapAt(values, "hub")["baseUrl"] = "/jupyter/"
	files, err := tryRender(load(t), values)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string][]string{
		"deployment-hub.yaml":   {"path: /jupyter/hub/health"},
		"deployment-proxy.yaml": {"--error-target=http://hub:$(HUB_SERVICE_PORT)/jupyter/hub/error"},
		"ingress.yaml":          {"path: /jupyter/"},
		"service-hub.yaml":      {"prometheus.io/path: /jupyter/hub/metrics"},
	} {
		for _, want := range want {
			if text := files["hub-for-tests/templates/"+file]; !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", file, want, text)
			}
		}
	}
}

// TestRefusals holds that what the chart cannot do stops the render.
func TestRefusals(t *testing.T) {
	tests := []struct {
		name string
		set  string
		want string
	}{
		{"no cookie secret", "hub: {cookieSecret: null}", "hub.cookieSecret is needed"},
		{"no proxy token", "proxy: {secretToken: null}", "proxy.secretToken is needed"},
		{"https", "proxy: {https: {enabled: true}}", "serves plain HTTP only"},
		{"unknown value", "hub: {noSuchValue: 1}", "noSuchValue"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var set map[string]any
			if err := yaml.Unmarshal([]byte(test.set), &set); err != nil {
				t.Fatal(err)
			}
			values := readValues(t, "nodeport")
			for key, section := range set {
				for name, value := range section.(map[string]any) {
					values[key].(map[string]any)[name] = value
				}
			}
			_, err := tryRender(load(t), values)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error = %v, want one with %q", err, test.want)
			}
		})
	}
}

// TestNotes holds that nobody takes the chart for one to use.
func TestNotes(t *testing.T) {
	files, err := tryRender(load(t), readValues(t, "nodeport"))
	if err != nil {
		t.Fatal(err)
	}
	notes := files["hub-for-tests/templates/NOTES.txt"]
	if !strings.Contains(notes, "for tests only") {
		t.Errorf("NOTES do not say that the chart is for tests:\n%s", notes)
	}
}

// normal is the object without what differs by design: the chart's own name in labels, contents of
// Secrets and ConfigMaps, and checksums over them.
func normal(object map[string]any) map[string]any {
	text, err := yaml.Marshal(object)
	if err != nil {
		panic(err)
	}
	var copied map[string]any
	if err := yaml.Unmarshal(text, &copied); err != nil {
		panic(err)
	}
	labels := mapAt(copied, "metadata", "labels")
	delete(labels, "chart")
	delete(labels, "helm.sh/chart")
	delete(copied, "data")
	delete(copied, "stringData")
	annotations := mapAt(copied, "spec", "template", "metadata", "annotations")
	for key := range annotations {
		if strings.HasPrefix(key, "checksum/") {
			annotations[key] = "(elided)"
		}
	}
	if strategy := mapAt(copied, "spec", "strategy"); strategy["rollingUpdate"] == nil {
		delete(strategy, "rollingUpdate")
	}
	return copied
}

func names(all objects) []string {
	var keys []string
	for key := range all {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

func mapAt(object map[string]any, path ...string) map[string]any {
	for _, key := range path {
		object, _ = object[key].(map[string]any)
	}
	return object
}

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.LoadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryRender(c *chart.Chart, values map[string]any) (map[string]string, error) {
	options := chartutil.ReleaseOptions{Name: "jupyterhub", Namespace: "jupyter", IsInstall: true}
	merged, err := chartutil.ToRenderValues(c, values, options, nil)
	if err != nil {
		return nil, err
	}
	return engine.Render(c, merged)
}

func render(t *testing.T, values map[string]any) objects {
	t.Helper()
	files, err := tryRender(load(t), values)
	if err != nil {
		t.Fatal(err)
	}
	all := objects{}
	for name, text := range files {
		if strings.HasSuffix(name, ".yaml") {
			for key, object := range parse(t, text) {
				all[key] = object
			}
		}
	}
	return all
}

func parse(t *testing.T, text string) objects {
	t.Helper()
	all := objects{}
	for _, document := range strings.Split("\n"+text, "\n---\n") {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if object == nil {
			continue
		}
		all[object["kind"].(string)+" "+mapAt(object, "metadata")["name"].(string)] = object
	}
	return all
}

func readValues(t *testing.T, name string) map[string]any {
	t.Helper()
	var values map[string]any
	if err := yaml.Unmarshal(read(t, filepath.Join("testdata", "values-"+name+".yaml")), &values); err != nil {
		t.Fatal(err)
	}
	return values
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
