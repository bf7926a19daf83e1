package hub

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/infratest"
	"github.com/outposts-dev/outposts/infra/schema"
	"github.com/outposts-dev/outposts/infra/schema/schematest"
	"github.com/outposts-dev/outposts/infra/values"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// checkIn returns what is made of the operator's values, and the faults in them, for hubs of a kind.
func checkIn(a Args) func(map[string]any) (map[string]any, []schema.Fault) {
	return func(document map[string]any) (map[string]any, []schema.Fault) {
		a.Values = document
		faults := a.CheckValues()
		for i := range faults {
			faults[i].Path = faults[i].Path[1:] // "values"
		}
		return a.values(), faults
	}
}

// TestEveryValueIsTakenOrRefused sets each key of the chart's schema alone: it reaches the chart as it was written, or
// is refused by name, with the key that does it.
func TestEveryValueIsTakenOrRefused(t *testing.T) {
	leaves := schematest.Leaves(t, schemaText, "sample")
	if len(leaves) < 300 {
		t.Fatalf("%d leaves in the schema", len(leaves))
	}
	a := soundArgs()
	a.Image = Image{} // for it, systems need more
	infratest.Golden(t, "refused.golden.txt", []byte(schematest.Refused(t, leaves, checkIn(a))))
}

// TestHubConfigRefused holds what of the hub's own configuration does not reach it, which no schema describes.
func TestHubConfigRefused(t *testing.T) {
	//nolint:lll // a case a line
	for at, want := range map[string]string{
		"KubeSpawner.mem_limit":             "has no effect: outposts start the servers; set it in outpost.config.spawner of each outpost",
		"JupyterHub.spawner_class":          "has no effect: the hub's module sets its own; leave it out",
		"JupyterHub.base_url":               "is unknown to the proxy, probes and outposts; set values.hub.baseUrl",
		"JupyterHub.db_url":                 "",
		"JupyterHub.services":               "has no effect in this chart; set values.hub.services",
		"ConfigurableHTTPProxy.auth_token":  "has no effect in this chart; set values.proxy.secretToken",
		"OutpostSpawner.ssh_username":       "is what systems need, and the hub's module sets it; leave it out",
		"Spawner.pre_spawn_hook":            "is what systems need, and the hub's module sets it; leave it out",
		"Spawner.mem_limit":                 "has no effect: outposts start the servers; set mem_limit in outpost.config.spawner of each outpost",
		"OutpostSpawner.cpu_limit":          "has no effect: outposts start the servers; set cpu_limit in outpost.config.spawner of each outpost",
		"Spawner.cmd":                       "has no effect: outposts start the servers; set cmd in outpost.config.spawner of each outpost",
		"Spawner.environment":               "",
		"Spawner.default_url":               "",
		"Spawner.start_timeout":             "",
		"OutpostSpawner.http_timeout":       "",
		"GitHubOAuthenticator.client_id":    "",
		"JupyterHub.template_vars":          "",
		"JupyterHub.authenticator_class":    "",
		"JupyterHub.last_activity_interval": "",
	} {
		class, trait, _ := strings.Cut(at, ".")
		document := nest([]string{"hub", "config", class, trait}, "sample")
		made, faults := checkIn(soundArgs())(document)
		if lost := values.Lost(made, document); lost != nil {
			t.Errorf("%s is lost", at)
		}
		var got []string
		for _, fault := range faults {
			got = append(got, fault.Error())
		}
		if want != "" {
			want = "hub.config." + at + ": " + want
		}
		if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", at, diff)
		}
	}
}

// TestConditionsAreMet holds that a value is taken once the other one that it depends on is set as its refusal says.
func TestConditionsAreMet(t *testing.T) {
	for _, leaf := range schematest.Leaves(t, schemaText, "sample") {
		if !strings.HasPrefix(unused.Unused(leaf.Path, nil), "has no effect while ") {
			continue
		}
		for _, document := range leaf.Documents {
			for _, c := range conditions {
				if values.Match(c.Pattern, leaf.Path) && c.At != leaf.Key() {
					at := strings.Split(c.At, ".")
					document = values.Merge(document, nest(at, c.Of[0]))
				}
			}
			if _, faults := checkIn(soundArgs())(document); len(faults) > 0 {
				t.Errorf("%v: %v", document, faults)
			}
		}
	}
}

// TestShownValuesAreAccepted holds that a file with all of the chart's defaults, as `helm show values` prints it,
// changes nothing, nor does each section of it alone, nor all but one; and that what is changed in it has its effect or
// is refused.
func TestShownValuesAreAccepted(t *testing.T) {
	shown := func() map[string]any {
		made := values.Parse(defaultsText)
		for _, image := range []string{
			"singleuser", "singleuser.networkTools", "proxy.traefik", "proxy.secretSync",
			"prePuller.hook", "prePuller.pause", "scheduling.userScheduler", "scheduling.userPlaceholder",
		} {
			at := append(strings.Split(image, "."), "image", "tag")
			made = values.Merge(made, nest(at, "of a release"))
		}
		return made
	}
	for _, exposed := range []Exposure{
		{Type: exposure.NodePort, NodePort: 30000},
		{Type: exposure.LoadBalancer},
		{},
		{Type: exposure.Ingress, Host: "hub.example.org", TLSSecret: "tls"},
	} {
		for _, image := range []Image{{}, {Name: "registry.example.org/hub", Tag: "1"}} {
			a := soundArgs()
			a.Exposure, a.Image = exposed, image
			want := a.values()
			parts := schematest.Parts(shown())
			if image.Name != "" {
				parts = map[string]map[string]any{"all": shown()}
			}
			for name, document := range parts {
				made, faults := checkIn(a)(document)
				if len(faults) > 0 {
					t.Errorf("%v, image %v, %s: %v", exposed, image, name, faults)
				}
				changed := append(values.Lost(made, want), values.Lost(want, made)...)
				changed = slices.DeleteFunc(changed, func(path []string) bool { // defaults where they have no effect
					added := values.At(want, path...) == nil
					return unused.Unused(path, made) != "" ||
						added && values.Equal(values.At(made, path...), values.At(unused.Defaults, path...))
				})
				if len(changed) > 0 {
					t.Errorf("%v, image %v: %s changes %v", exposed, image, name, changed)
				}
			}
		}
	}
	for _, tt := range []struct {
		at    string
		value any
		want  string
	}{
		{"hub.db.type", "postgres", ""},
		{"cull.every", 60, ""},
		{"singleuser.memory.limit", "2G", "singleuser.memory.limit: has no effect: outposts start the servers; " +
			"set mem_limit in outpost.config.spawner of each outpost"},
		{"hub.allowNamedServers", "never", "hub.allowNamedServers: is what systems need, and cannot be changed"},
		{"prePuller.hook.image.name", "mine", "prePuller.hook.image.name: has no effect"},
	} {
		document := values.Merge(shown(), nest(strings.Split(tt.at, "."), tt.value))
		made, faults := checkIn(soundArgs())(document)
		taken := len(faults) == 0 && values.Equal(values.At(made, strings.Split(tt.at, ".")...), tt.value)
		if tt.want == "" && !taken {
			t.Errorf("%s: %v is lost: %v", tt.at, tt.value, faults)
		}
		if tt.want != "" && (len(faults) == 0 || !strings.HasPrefix(faults[0].Error(), tt.want)) {
			t.Errorf("%s: %v", tt.at, faults)
		}
	}
	a := soundArgs()
	a.Values = shown()
	want := []string{
		"hub.config.JupyterHub.admin_access", "hub.config.JupyterHub.authenticator_class",
		"hub.consecutiveFailureLimit",
		"hub.networkPolicy.egressAllowRules.cloudMetadataServer",
		"proxy.chp.networkPolicy.egressAllowRules.cloudMetadataServer", "proxy.service.type",
		"cull.every", "cull.removeNamedServers",
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(a.Overruled()))); diff != "" {
		t.Errorf("keys with another value here (-want +got):\n%s", diff)
	}
}

// TestACopiedSectionOpensNothing holds that a section of `helm show values` brings back none of the chart's defaults
// that let people in, whatever of it is missing or changed, and that each of them can be had alone.
func TestACopiedSectionOpensNothing(t *testing.T) {
	section := func() map[string]any { return map[string]any{"hub": values.Parse(defaultsText)["hub"]} }
	short := section()
	delete(short["hub"].(map[string]any), "tolerations")
	delete(short["hub"].(map[string]any), "networkPolicy")
	config := values.At(section(), "hub", "config")
	kept := [][]string{
		{"hub", "config", "JupyterHub", "authenticator_class"},
		{"hub", "config", "JupyterHub", "admin_access"},
		{"hub", "cookieSecret"},
		{"hub", "consecutiveFailureLimit"},
	}
	want := soundArgs().values()
	for name, document := range map[string]map[string]any{
		"hub": section(), "a short hub": short, "hub.config": nest([]string{"hub", "config"}, config),
		"hub with changes": values.Merge(section(), values.Parse(`
hub: {db: {type: postgres}, baseUrl: /a/, labels: {a: b}}
`)),
		"hub with a class alone": values.Merge(short, values.Parse(`
hub: {config: {JupyterHub: {admin_access: null}}}
`)),
	} {
		made, faults := checkIn(soundArgs())(document)
		if len(faults) > 0 {
			t.Errorf("%s: %v", name, faults)
		}
		for _, path := range kept {
			if name == "hub with a class alone" && path[len(path)-1] == "admin_access" {
				continue
			}
			if diff := cmp.Diff(values.At(want, path...), values.At(made, path...)); diff != "" {
				t.Errorf("%s: %v (-without +with the copy):\n%s", name, path, diff)
			}
		}
	}
	for _, path := range kept {
		document := nest(path, values.At(unused.Defaults, path...))
		made, faults := checkIn(soundArgs())(document)
		if lost := values.Lost(made, document); lost != nil || faults != nil {
			t.Errorf("%v is lost: %v", document, faults)
		}
	}
}

// TestADefaultAloneIsMeant holds that a value which the chart has anyway is not a fault where it has no effect, and
// is judged like every other where this program sets something else.
func TestADefaultAloneIsMeant(t *testing.T) {
	for at, want := range map[string]string{
		"singleuser.uid":         "",
		"singleuser.events":      "",
		"proxy.traefik.hsts":     "",
		"scheduling.userPods":    "",
		"singleuser.profileList": "",
		"hub.allowNamedServers":  "hub.allowNamedServers: is what systems need, and cannot be changed; leave it out",
		"proxy.service.type":     "proxy.service.type: follows from how the hub is exposed; set hub.exposure",
		"prePuller.hook.enabled": "prePuller.hook.enabled: has no effect: no server runs in the hub's namespace; " +
			"set outpost.values.prePuller of each outpost",
	} {
		path := strings.Split(at, ".")
		_, faults := checkIn(soundArgs())(nest(path, values.At(unused.Defaults, path...)))
		var got []string
		for _, fault := range faults {
			got = append(got, fault.Error())
		}
		if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", at, diff)
		}
	}
	made, faults := checkIn(soundArgs())(map[string]any{"hub": map[string]any{"consecutiveFailureLimit": 5}})
	if values.At(made, "hub", "consecutiveFailureLimit") != 5 || faults != nil {
		t.Errorf("a default that this program changes is not taken back: %v", faults)
	}
}

func nest(path []string, value any) map[string]any {
	for _, key := range slices.Backward(path) {
		value = map[string]any{key: value}
	}
	return value.(map[string]any)
}

// TestRefusalsNameWhatThereIs holds the names in the table to what they are names of: options of the outposts' spawner,
// and the hooks of the hub's module.
func TestRefusalsNameWhatThereIs(t *testing.T) {
	named := regexp.MustCompile(`; set (.*) in outpost\.config\.spawner of each outpost$`)
	for _, r := range unused.Refusals {
		found := named.FindStringSubmatch(r.Text)
		if found == nil || found[1] == "it" || found[1] == "it as an option" {
			continue
		}
		for _, option := range regexp.MustCompile(` and | or `).Split(found[1], -1) {
			if !slices.Contains(options.Names(), option) {
				t.Errorf("%s: %s is not an option", r.Pattern, option)
			}
		}
	}
	outposts, err := module.ReadFile("outpost_hub/outposts.py")
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?s)    HOOKS = \((.*?)\)`).FindStringSubmatch(string(outposts))[1]
	var inModule []string
	for _, found := range regexp.MustCompile(`"(\w+)"`).FindAllStringSubmatch(text, -1) {
		inModule = append(inModule, found[1])
	}
	if diff := cmp.Diff(append(inModule, "svc_name_template"), hooks); diff != "" {
		t.Errorf("hooks (-module +table):\n%s", diff)
	}
}

// TestSettingsAreNotContradicted holds that a value which another setting decides is refused with that setting, unless
// both say the same.
func TestSettingsAreNotContradicted(t *testing.T) {
	for _, tt := range []struct {
		at    string
		value any
		want  string
	}{
		{"hub.image.tag", "2", "hub.image.tag: has another value in hub.image; leave one of them out"},
		{"hub.image.tag", "1", ""},
		{"hub.image.pullPolicy", "Always", ""},
		{
			"hub.config.OutpostSpawner.start_timeout", 301,
			"hub.config.OutpostSpawner.start_timeout: has another value in hub.startTimeout; leave one of them out",
		},
		{"hub.config.OutpostSpawner.start_timeout", 300.0, ""},
		{
			"proxy.service.type", "LoadBalancer",
			"proxy.service.type: follows from how the hub is exposed; set hub.exposure",
		},
		{
			"proxy.service.nodePorts.http", 30001,
			"proxy.service.nodePorts.http: follows from how the hub is exposed; set hub.exposure",
		},
		{"proxy.service.nodePorts.https", 30443, ""},
	} {
		a := soundArgs()
		a.StartTimeout = 300
		_, faults := checkIn(a)(nest(strings.Split(tt.at, "."), tt.value))
		var got []string
		for _, fault := range faults {
			got = append(got, fault.Error())
		}
		if diff := cmp.Diff(tt.want, strings.Join(got, "\n")); diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", tt.at, tt.value, diff)
		}
	}
}

// TestTakenNames holds that what systems need in the hub's pod keeps its name and place, and that the rest of a list is
// added to it.
func TestTakenNames(t *testing.T) {
	entry := func(field, name string) map[string]any { return map[string]any{field: name, "x": "y"} }
	list := func(entries ...any) []any { return entries }
	for _, tt := range []struct {
		name string
		hub  map[string]any
		want string
	}{
		{
			"a volume",
			map[string]any{"extraVolumes": list(entry("name", "a"), entry("name", "tmp"))},
			"values.hub.extraVolumes[1].name: tmp is what systems need; choose another",
		},
		{
			"a mount",
			map[string]any{"extraVolumeMounts": list(entry("mountPath", "/tmp"))},
			"values.hub.extraVolumeMounts[0].mountPath: /tmp is what systems need; choose another",
		},
		{
			"an init container",
			map[string]any{"initContainers": list(entry("name", "outpost-runtime"))},
			"values.hub.initContainers[0].name: outpost-runtime is what systems need; choose another",
		},
		{
			"a variable of a list",
			map[string]any{"extraEnv": list(entry("name", "PYTHONUSERBASE"))},
			"values.hub.extraEnv[0].name: PYTHONUSERBASE is what systems need; choose another",
		},
		{
			"a variable of a map",
			map[string]any{"extraEnv": map[string]any{"PYTHONUSERBASE": "/bin", "A": "b"}},
			"values.hub.extraEnv.PYTHONUSERBASE: is what systems need, and cannot be changed; leave it out",
		},
		{
			"the module",
			map[string]any{"extraConfig": map[string]any{"outposts": "", "mine": "pass"}},
			"values.hub.extraConfig.outposts: is what systems need, and cannot be changed; leave it out",
		},
		{
			"no volumes",
			map[string]any{"extraVolumes": nil},
			"values.hub.extraVolumes: is what systems need, and cannot be changed; leave it out",
		},
		{"others", map[string]any{
			"extraVolumes": list(entry("name", "a")), "extraVolumeMounts": list(entry("mountPath", "/a")),
			"initContainers": list(entry("name", "a")), "extraEnv": map[string]any{"A": "b"},
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := soundArgs()
			a.Image, a.Values = Image{}, map[string]any{"hub": tt.hub}
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
