package outpost

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/charts"
	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/infratest"
	"github.com/outposts-dev/outposts/infra/schema"
	"github.com/outposts-dev/outposts/infra/schema/schematest"
	"github.com/outposts-dev/outposts/infra/values"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// render returns what the chart makes of values, by file, and the values with the chart's own below them.
func render(c *chart.Chart, made map[string]any) (files map[string]string, whole map[string]any, err error) {
	release := chartutil.ReleaseOptions{Name: "outpost", Namespace: "outpost", Revision: 1, IsInstall: true}
	top, err := chartutil.ToRenderValuesWithSchemaValidation(c, made, release, nil, true) // CheckValues has done it
	if err != nil {
		return nil, nil, err
	}
	files, err = engine.Render(c, top)
	return files, top["Values"].(chartutil.Values), err
}

// files are the values that are the outpost's own files, which it checks itself.
var files = []string{"config", "flavors", "credits"}

// leavesOf returns the leaves of the chart's schema that are in files, and the others.
func leavesOf(t *testing.T) (inFiles, others []schematest.Leaf) {
	t.Helper()
	for _, leaf := range schematest.Leaves(t, charts.OutpostSchema, "sample") {
		if slices.Contains(files, leaf.Path[0]) {
			inFiles = append(inFiles, leaf)
		} else {
			others = append(others, leaf)
		}
	}
	if len(inFiles) < 300 || len(others) < 100 {
		t.Fatalf("%d leaves of files, %d others", len(inFiles), len(others))
	}
	return inFiles, others
}

// switches are values that much depends on, all on or all off, as far as the chart allows it.
func switches(on bool) map[string]any {
	enabled := map[string]any{"enabled": on}
	made := map[string]any{
		"networkPolicy": enabled, "singleuser": map[string]any{"networkPolicy": enabled},
		"podDisruptionBudget": enabled, "serviceMonitor": enabled, "prometheusRule": enabled,
		"grafanaDashboard": enabled, "servicessh": enabled,
		"prePuller":      map[string]any{"enabled": on, "images": []any{"one"}},
		"serviceAccount": map[string]any{"create": on}, "rbac": map[string]any{"create": on},
		"backup": map[string]any{"enabled": on, "claim": "kept"},
	}
	if !on {
		delete(made, "backup")
		made["persistence"] = map[string]any{"existingClaim": "mine"}
		delete(made, "prePuller") // its list would have no effect
	}
	return made
}

// installations are what the effect of values depends on.
var installations = map[string]func(*Args){
	"local": func(a *Args) { a.Exposure, a.TLS, a.Address = Exposure{}, nil, "" },
	"loadbalancer-postgres": func(a *Args) {
		off := false
		a.Exposure = Exposure{Type: exposure.LoadBalancer, SSHAddress: "10.0.0.4"}
		a.Settings.Persistence.Enabled = &off
		a.Settings.Values = map[string]any{"extraEnvVarsSecrets": []any{"sql"}}
	},
	"ingress-all-on": func(a *Args) {
		a.Address, a.TLS = "outpost.example.org", nil
		a.Exposure = Exposure{Type: exposure.Ingress, TLSSecret: "tls", SSHAddress: "ssh.example.org"}
		a.Settings.Values = switches(true)
		a.Settings.Config = map[string]any{"spawner": map[string]any{"image": "two"}} // for prePuller.fromProfiles
	},
	"gateway": func(a *Args) {
		a.Address, a.TLS = "outpost.example.org", nil
		gateway := &exposure.GatewayRef{Name: "public"}
		a.Exposure = Exposure{Type: exposure.Gateway, Gateway: gateway, SSHGateway: gateway}
	},
	"nodeport-all-off": func(a *Args) { a.Settings.Values = switches(false) },
}

// TestEveryValueIsTakenOrRefused sets each key of the chart's schema alone, in installations that differ in what has an
// effect: the rendered objects have it, or it is refused by name, with the key that does it.
func TestEveryValueIsTakenOrRefused(t *testing.T) {
	c, err := loader.Load("../../charts/outpost")
	if err != nil {
		t.Fatal(err)
	}
	_, leaves := leavesOf(t)
	for name, change := range installations {
		t.Run(name, func(t *testing.T) {
			a := soundArgs()
			change(&a)
			basis := a.Settings.Values
			if faults := a.CheckValues(); faults != nil {
				t.Fatal(faults)
			}
			before, whole, err := render(c, a.values())
			if err != nil {
				t.Fatal(err)
			}
			check := func(document map[string]any) (map[string]any, []schema.Fault) {
				a.Settings.Values = values.Merge(basis, document)
				made, faults := a.values(), a.CheckValues()
				for i := range faults {
					faults[i].Path = faults[i].Path[1:] // "values"
				}
				if len(faults) > 0 || len(values.Lost(whole, document)) == 0 {
					return values.Merge(unused.Defaults, made), faults
				}
				after, _, err := render(c, made)
				if err != nil && !strings.Contains(err.Error(), "- "+strings.Join(values.Leaves(document)[0], ".")) {
					t.Errorf("%v is refused by the chart without its name: %v", document, err)
				}
				if maps.Equal(before, after) {
					t.Errorf("%v is accepted, but changes nothing", document)
				}
				return made, nil
			}
			infratest.Golden(t, "refused-"+name+".golden.txt", []byte(schematest.Refused(t, leaves, check)))
		})
	}
}

// TestShownValuesAreAccepted holds that a file with all of the chart's defaults, as `helm show values` prints it,
// changes nothing in any installation, nor does each section of it alone, nor all but one.
func TestShownValuesAreAccepted(t *testing.T) {
	for name, change := range installations {
		t.Run(name, func(t *testing.T) {
			a := soundArgs()
			change(&a)
			a.Settings.Values = nil
			if name == "loadbalancer-postgres" {
				a.Settings.Persistence.Enabled = nil // without SQL_* among the values
			}
			want := a.values()
			for part, document := range schematest.Parts(values.Parse(charts.OutpostValues)) {
				a.Settings.Values = document
				if faults := a.CheckValues(); len(faults) > 0 {
					t.Errorf("%s: %v", part, faults)
				}
				without, with := values.Merge(unused.Defaults, want), values.Merge(unused.Defaults, a.values())
				if diff := cmp.Diff(without, with); diff != "" {
					t.Errorf("%s changes (-without +with):\n%s", part, diff)
				}
			}
			a.Settings.Values = values.Parse(charts.OutpostValues)
			a.Settings.Values["resources"] = map[string]any{"limits": map[string]any{"memory": "1Gi"}}
			a.Settings.Values["persistence"] = map[string]any{"keep": false}
			a.Settings.Values["replicas"] = 2
			var got []string
			for _, fault := range a.CheckValues() {
				got = append(got, fault.Key())
			}
			if diff := cmp.Diff([]string{"values.replicas"}, got); diff != "" {
				t.Errorf("faults of changes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEveryKeyOfAFileIsTaken sets each key of the outpost's files alone, by the setting of the file and by the values
// of the chart: the file that the outpost reads has it.
func TestEveryKeyOfAFileIsTaken(t *testing.T) {
	leaves, _ := leavesOf(t)
	for _, leaf := range leaves {
		for _, document := range leaf.Documents {
			for name, settings := range map[string]Settings{
				"values": {Values: document},
				"files": {
					Config: mapAt(document, "config"), Flavors: mapAt(document, "flavors"),
					Credits: mapAt(document, "credits"),
				},
			} {
				a := soundArgs()
				a.Settings = settings
				if lost := values.Lost(a.values(), document); lost != nil {
					t.Errorf("%s: %v is lost: %v", name, document, lost)
				}
			}
		}
	}
}

func mapAt(document map[string]any, key string) map[string]any {
	m, _ := document[key].(map[string]any)
	return m
}

// TestSettingsAreNotContradicted holds that a value which another setting decides is refused with that setting, unless
// both say the same.
func TestSettingsAreNotContradicted(t *testing.T) {
	settings := Settings{
		Image: Image{Tag: "1"}, StartTimeout: 300, LogLevel: "debug", Persistence: Persistence{Size: "2Gi"},
		Config:  map[string]any{"spawner": map[string]any{"mem_limit": "1G"}},
		Flavors: map[string]any{"flavors": map[string]any{"small": map[string]any{"max": 3}}},
		Credits: map[string]any{"credits": map[string]any{"a": map[string]any{"cap": 1}}},
	}
	//nolint:lll // a case a line
	for _, tt := range []struct{ name, values, want string }{
		{"image", "{image: {tag: '2'}}", "values.image.tag: has another value in outpost.image; leave one of them out"},
		{"start timeout", "{startTimeout: 301}", "values.startTimeout: has another value in outpost.startTimeout; leave one of them out"},
		{"log level", "{logLevel: info}", "values.logLevel: has another value in outpost.logLevel; leave one of them out"},
		{"volume", "{persistence: {size: 3Gi}}", "values.persistence.size: is decided by outpost.persistence; set it there"},
		{"option", "{config: {spawner: {mem_limit: 2G}}}", "values.config.spawner.mem_limit: has another value in outpost.config; leave one of them out"},
		{"flavor", "{flavors: {flavors: {small: {max: 4}}}}", "values.flavors.flavors.small.max: has another value in outpost.flavors; leave one of them out"},
		{"credit", "{credits: {credits: {a: {cap: 2}}}}", "values.credits.credits.a.cap: has another value in outpost.credits; leave one of them out"},
		{"Secret", "{cryptSecret: mine}", "values.cryptSecret: is the Secret that this stack makes; for further keys, set outpost.cryptKeys"},
		{"namespace of servers", "{config: {spawner: {namespace: a}}}", "values.config.spawner.namespace: has another value in outpost.serverNamespace or outpost.config; leave one of them out"},
		{"a whole section", "{persistence: null}", "values.persistence: is decided by outpost.persistence; set it there"},
		{"the same", "{image: {tag: '1'}, startTimeout: 300, config: {spawner: {mem_limit: 1G, cpu_limit: 1}}, fullnameOverride: outpost}", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := soundArgs()
			a.Servers, a.Settings = "labs", settings
			if err := yaml.Unmarshal([]byte(tt.values), &a.Settings.Values); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, fault := range a.CheckValues() {
				got = append(got, fault.Error())
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// TestIdleOptionsAreRefused holds that every option which has no effect in an outpost is refused, in whatever layer it
// is, and no other one.
func TestIdleOptionsAreRefused(t *testing.T) {
	var declared []string
	for _, name := range slices.Sorted(maps.Keys(idleOptions)) {
		if !strings.HasSuffix(name, "_hook") && name != "get_pod_url" { // no value of YAML is a Python function
			declared = append(declared, name)
		}
	}
	var without []string
	for _, name := range options.Names() {
		for _, sample := range []any{true, "/sample", 7} {
			var p options.Problems
			checked := options.Check(map[string]any{name: sample}, &p)
			if _, has := checked[name]; p.Err() == nil && !has && name != "image_spec" { // which is image
				without = append(without, name)
				break
			}
		}
	}
	without = slices.DeleteFunc(without, func(name string) bool { return strings.HasSuffix(name, "_hook") })
	if diff := cmp.Diff(without, declared); diff != "" {
		t.Errorf("options without effect (-outpost +declared):\n%s", diff)
	}
	a := soundArgs()
	images := map[string]any{"allowedImages": []any{"quay.io/jupyter/*"}}
	a.Settings.Config = map[string]any{"hubs": map[string]any{a.Hubs[0].Name: images}, "spawner": map[string]any{
		"http_timeout": 5, "modify_pod_hook": nil,
		"profile_list": []any{map[string]any{
			"display_name": "P", "kubespawner_override": map[string]any{"delete_pvc": false},
		}},
	}}
	var got []string
	for _, fault := range a.CheckValues() {
		got = append(got, fault.Error())
	}
	want := []string{
		"config.hubs." + a.Hubs[0].Name + ".allowedImages: has no effect while allowedOptions does not list image",
		"config.spawner.http_timeout: has no effect in an outpost; " +
			"set values.hub.config.OutpostSpawner.http_timeout of the hub",
		"config.spawner.profile_list[0].kubespawner_override.delete_pvc: has no effect in an outpost; leave it out",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}
