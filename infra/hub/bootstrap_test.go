package hub

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/infra/values"
)

// TestBootstrapFollowsTheImage holds that the bootstrap runs in the image that the hub ends up with, and in no other.
func TestBootstrapFollowsTheImage(t *testing.T) {
	yes, no := true, false
	const mirror = "mirror.example.org/jupyterhub/k8s-hub"
	imageValues := func(image map[string]any) map[string]any {
		return map[string]any{"hub": map[string]any{"image": image}}
	}
	for _, tt := range []struct {
		name   string
		change func(*Args)
		want   string // empty: none
	}{
		{"the chart's own", func(*Args) {}, StockImage + ":4.4.0"},
		{"that of another chart", func(a *Args) { a.Chart.Version = "4.4.1" }, StockImage + ":4.4.1"},
		{"mirrored", func(a *Args) { a.Image = Image{mirror, "1"} }, mirror + ":1"},
		{
			"mirrored by a value", func(a *Args) { a.Values = imageValues(map[string]any{"name": mirror}) },
			mirror + ":4.4.0",
		},
		{
			"another tag by a value", func(a *Args) { a.Values = imageValues(map[string]any{"tag": "4.4.0-1"}) },
			StockImage + ":4.4.0-1",
		},
		{"another image", func(a *Args) { a.Image = Image{"registry.example.org/hub", "1"} }, ""},
		{
			"another image that lacks it",
			func(a *Args) { a.Image, a.Bootstrap.Enabled = Image{"registry.example.org/hub", "1"}, &yes },
			"registry.example.org/hub:1",
		},
		{
			"an image of the same name that has it",
			func(a *Args) { a.Image, a.Bootstrap.Enabled = Image{mirror, "1"}, &no }, "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := soundArgs()
			a.Image = Image{}
			tt.change(&a)
			if err := a.Check(); err != nil {
				t.Fatal(err)
			}
			var got string
			if containers, _ := values.At(a.values(), "hub", "initContainers").([]any); len(containers) == 1 {
				got, _ = fieldOf(containers[0], "image").(string)
			}
			if got != tt.want {
				t.Errorf("runs in %q, want %q", got, tt.want)
			}
		})
	}
}

// TestBootstrapVariables holds what the bootstrap is given, and which variables are refused.
func TestBootstrapVariables(t *testing.T) {
	fromSecret := map[string]any{"secretKeyRef": map[string]any{"name": "proxy", "key": "url"}}
	a := soundArgs()
	a.Image = Image{}
	a.Values = map[string]any{"hub": map[string]any{"image": map[string]any{"pullPolicy": "Always"}}}
	a.Bootstrap.Env = map[string]any{
		"https_proxy":   map[string]any{"valueFrom": fromSecret},
		"PIP_INDEX_URL": "https://pypi.example.org/simple",
	}
	if err := a.Check(); err != nil {
		t.Fatal(err)
	}
	container := values.At(a.values(), "hub", "initContainers").([]any)[0]
	got := []any{fieldOf(container, "env"), fieldOf(container, "imagePullPolicy")}
	want := []any{[]any{
		map[string]any{"name": "PIP_INDEX_URL", "value": "https://pypi.example.org/simple"},
		map[string]any{"name": "https_proxy", "valueFrom": fromSecret},
	}, "Always"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("variables and pull policy (-want +got):\n%s", diff)
	}

	a.Bootstrap.Env = map[string]any{
		"no name":     "x",
		"https_proxy": "http://alice:secret@proxy.example.org:3128",
		"http_proxy":  "http://alice@proxy.example.org:3128",
	}
	var refused []string
	for _, fault := range a.CheckValues() {
		refused = append(refused, fault.Error())
	}
	if diff := cmp.Diff([]string{
		"bootstrap.env.https_proxy: has a password in it, which would be in clear text in the Deployment; put the " +
			"URL into a Secret in the hub's namespace and write {valueFrom: {secretKeyRef: {name: ..., key: ...}}}",
		"bootstrap.env.no name: is not the name of a variable; want letters, digits and '_'",
	}, refused); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
}
