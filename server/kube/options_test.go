package kube

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/outposts-dev/outposts/server/outpost"
)

// optionVectors is options.json.
type optionVectors struct {
	Options []struct {
		Name     string   `json:"name"`
		Default  any      `json:"default"`
		Priority string   `json:"priority"`
		Accepts  []string `json:"accepts"`
	} `json:"options"`
	Aliases []struct {
		Old string `json:"old"`
		New string `json:"new"`
	} `json:"deprecated_aliases"`
	Broken []string `json:"documented_but_broken_aliases"`
}

// samples are values of the kinds that the peer's options were tried with.
var samples = map[string]any{
	"null": nil, "bool": true, "int": 3, "float": 1.5, "string": "x", "numeric string": "3", "memory string": "1G",
	"list of strings": []any{"x"}, "list of objects": []any{map[string]any{"name": "x"}}, "object": map[string]any{"name": "x"},
}

func TestOptionsTakeWhatThePeerTakes(t *testing.T) {
	var v optionVectors
	loadVectors(t, "options", &v)
	if len(v.Options) < 113 {
		t.Fatalf("only %d options", len(v.Options))
	}
	// What is taken there and refused here, and the other way round, by option or for all.
	stricter := func(name, kind string, number bool) bool {
		switch {
		case kind == "bool" && number: // true is not a number
			return true
		case kind == "list of strings" && objectLists[name], kind == "list of objects" && slices.Contains([]string{
			"env_keep", "storage_access_modes", "supplemental_gids", "image_pull_secrets",
		}, name):
			return true // the peer finds out when it makes the pod
		case name == "supplemental_gids" && kind == "list of strings":
			return true
		case name == "secret_mount_path":
			return true // must be a folder
		}
		return false
	}
	kinder := func(name, kind string) bool {
		cpus := name == "cpu_limit" || name == "cpu_guarantee"
		return cpus && kind == "numeric string" || // a quantity
			name == "internal_ssl"
	}
	for _, o := range v.Options {
		own, known := options[o.Name]
		if !known {
			t.Errorf("%s is not known", o.Name)
			continue
		}
		important := strings.HasPrefix(o.Priority, "must") || strings.HasPrefix(o.Priority, "should")
		pythonOnly := slices.Contains([]string{"modify_pod_hook", "pre_spawn_hook", "delete_pvc", "remember_pvc_name"}, o.Name)
		if important && own.idle && !pythonOnly {
			t.Errorf("%s has no effect", o.Name)
		}
		if own.kind == nil || o.Name == "slug_scheme" {
			continue
		}
		for kind, value := range samples {
			switch object := any(map[string]any{"k": samples["object"]}); {
			case kind == "object" && (objectLists[o.Name] || o.Name == "profile_list"):
				value = object
			case kind == "object" && strings.HasPrefix(o.Name, "extra_resource_"):
				value = map[string]any{"nvidia.com/gpu": 1}
			}
			_, err := own.kind(mustCanonical(t, value))
			switch accepts := slices.Contains(o.Accepts, kind); {
			case accepts && err != nil && !stricter(o.Name, kind, slices.Contains(o.Accepts, "int")):
				t.Errorf("%s refuses %s: %v", o.Name, kind, err)
			case !accepts && err == nil && !kinder(o.Name, kind):
				t.Errorf("%s takes %s, the peer does not", o.Name, kind)
			}
		}
	}
	for _, alias := range v.Aliases {
		if oldNames[alias.Old] != alias.New {
			t.Errorf("old name %s is for %s, want %s", alias.Old, oldNames[alias.Old], alias.New)
		}
	}
	for _, name := range v.Broken {
		if oldNames[name] == "" {
			t.Errorf("old name %s is not known", name)
		}
	}
}

func TestDefaultsAreThePeers(t *testing.T) {
	var v optionVectors
	loadVectors(t, "options", &v)
	s, err := newSettings(nil, defaults("jhub"))
	if err != nil {
		t.Fatal(err)
	}
	got := settingsAsOptions(t, s)
	differs := []string{
		"namespace", "k8s_api_request_timeout", "slow_spawn_message", // see defaults
		"port",                // taken from the hub's URL, 8888 without one
		"delete_grace_period", // see gracePeriod
	}
	for _, o := range v.Options {
		have, has := got[o.Name]
		if !has || slices.Contains(differs, o.Name) {
			continue
		}
		a, err1 := json.Marshal(have)
		b, err2 := json.Marshal(o.Default)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if string(a) != string(b) && !bothEmpty(have, o.Default) {
			t.Errorf("%s is %s, the peer's is %s", o.Name, a, b)
		}
	}
}

func TestEveryWrongOptionIsNamedAtOnce(t *testing.T) {
	err := CheckOptions(map[string]any{
		"image": 5, "cpu_limit": "lots", "singleuser_uid": 1000, "no_such": true, "volumes": "x", "port": 70000,
		"common_labels": map[string]any{"a": 1}, "secret_mount_path": "/etc", "modify_pod_hook": "def f(): pass",
		"mem_limit": "512", "uid": true, "image_pull_secrets": []any{1},
	})
	const want = `common_labels: the value of "a" must be a text, not a whole number; ` +
		`cpu_limit: must be a number of cores such as 1.5 or "500m"; image: must be a text, not a whole number; ` +
		`image_pull_secrets: element 0 must be a name or {name: ...}, not a whole number; ` +
		`mem_limit: must be bytes as a number, or a text such as "512M", "1.5G" or "2Gi"; ` +
		`modify_pod_hook: can only be a Python function there and is not possible here; no_such: no such option; ` +
		`port: must be from 0 to 65535; secret_mount_path: must begin and end with /; ` +
		`singleuser_uid: this name is no longer used; write uid; uid: must be a whole number, not true or false; ` +
		`volumes: must be a list or a map of objects, not a text`
	if err == nil || err.Error() != want || outpost.KindOf(err) != outpost.KindInvalid {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if _, err := New(nil, "jhub", Options{Spawner: map[string]any{"image": 5}}); outpost.KindOf(err) != outpost.KindInvalid {
		t.Errorf("New: %v", err)
	}
}

func plan(t testing.TB, s *Spawner, hub outpost.Hub, flavor outpost.Flavor, misc map[string]any) (*objects, error) {
	t.Helper()
	raw := map[string]json.RawMessage{}
	for name, value := range misc {
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		raw[name] = data
	}
	p, err := s.Plan(t.Context(), hub, outpost.StartRequest{
		Key: outpost.Key{Hub: hub.Name, Name: "lab", StartID: "s1"}, Flavor: "small",
		Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "alice"}, Misc: raw},
	}, flavor)
	o, _ := p.Objects.(*objects)
	return o, err
}

func TestWhatAHubSetsIsChecked(t *testing.T) {
	s := testSpawner(t, "outpost", Options{})
	for _, c := range []struct {
		name string
		hub  outpost.Hub
		misc map[string]any
		want string // empty: allowed
	}{
		{"what the client always sends", outpost.Hub{}, map[string]any{
			"dns_name_template": "{name}.{namespace}.svc.cluster.local", "pod_name_template": "jupyter-{username}", "internal_ssl": false,
			"port": 4000, "ip": "0.0.0.0", "services_enabled": true, "extra_labels": map[string]any{},
		}, ""},
		{
			"credentials are the hub's variables",
			outpost.Hub{AllowedOptions: []string{"*"}},
			map[string]any{"environment": map[string]any{"JUPYTERHUB_API_TOKEN": "x"}},
			"environment.JUPYTERHUB_API_TOKEN: only the hub may set it",
		},
		{
			"a label that Kubernetes refuses",
			outpost.Hub{},
			map[string]any{"extra_labels": map[string]any{"a b": "c"}},
			`extra_labels and common_labels: label a b="c": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
		},
		{"a template with an unknown field", outpost.Hub{}, map[string]any{"pod_name_template": "{nope}"}, "pod_name_template: unknown field {nope} in template; write {{ and }} for braces"},
		{
			"a name that is none",
			outpost.Hub{},
			map[string]any{"pod_name_template": "Jupyter_{username}"},
			`pod_name_template: makes the name "Jupyter_alice": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`,
		},
		{"TLS without certificates", outpost.Hub{}, map[string]any{"internal_ssl": true}, "internal_ssl: the request has no keyfile, certfile or cafile in certs"},
		{
			"an unknown field of a volume",
			outpost.Hub{AllowedOptions: []string{"*"}},
			map[string]any{"volumes": []any{map[string]any{"name": "x", "emptyDir": map[string]any{"medum": "Memory"}}}},
			`volumes[0]: unknown field "emptyDir.medum"`,
		},
		{"storage without a size", outpost.Hub{AllowedOptions: []string{"*"}}, map[string]any{"storage_pvc_ensure": true}, "storage_capacity: must be a quantity such as 10Gi"},
	} {
		c.hub.Name = "h"
		_, err := plan(t, s, c.hub, nil, c.misc)
		got := ""
		if err != nil {
			got = err.Error()
			if outpost.KindOf(err) != outpost.KindInvalid {
				t.Errorf("%s: kind %v", c.name, outpost.KindOf(err))
			}
		}
		if got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// A wrong value takes nothing with it (the peer drops the operator's limit with the hub's wrong one), and each
// layer wins over the ones before.
func TestLayersOfOptions(t *testing.T) {
	s := testSpawner(t, "outpost", Options{Spawner: map[string]any{
		"image": "general", "mem_limit": "1G", "cpu_limit": 1, "node_selector": map[string]any{"a": "general", "b": "general"},
	}})
	hub := outpost.Hub{Name: "h", AllowedOptions: []string{"*"}, Options: map[string]any{"image": "hub", "node_selector": map[string]any{"b": "hub"}}}
	flavor := outpost.Flavor{"resources": map[string]any{"cpu_limit": 2, "mem_limit": "2Gi", "cpu_guarantee": "250m"}}
	o, err := plan(t, s, hub, flavor, map[string]any{"cpu_limit": 3, "node_selector": map[string]any{"c": "misc"}})
	if err != nil {
		t.Fatal(err)
	}
	c := o.pod.Spec.Containers[0]
	if c.Image != "hub" || c.Resources.Limits.Cpu().Value() != 3 || c.Resources.Limits.Memory().Value() != 2<<30 || c.Resources.Requests.Cpu().MilliValue() != 250 {
		t.Errorf("image %s, resources %+v", c.Image, c.Resources)
	}
	if want := map[string]string{"a": "general", "b": "hub", "c": "misc"}; !maps.Equal(o.pod.Spec.NodeSelector, want) {
		t.Errorf("node selector %v, want %v", o.pod.Spec.NodeSelector, want)
	}
	for source, change := range map[string]func(){
		"configuration of hub h": func() { hub.Options = map[string]any{"mem_limit": "x"} },
		"flavor small":           func() { flavor["resources"] = map[string]any{"mem_limit": "x"} },
	} {
		change()
		if _, err := plan(t, s, hub, flavor, nil); err == nil || !strings.Contains(err.Error(), "mem_limit ("+source+"): must be bytes") {
			t.Errorf("%s: %v", source, err)
		}
	}
}

func FuzzMisc(f *testing.F) {
	for _, seed := range []string{
		`{"image":"x"}`, `{"volumes":{"a":{"name":"{username}"}}}`, `{"extra_pod_config":{"tolerations":null}}`, `{"pod_overlay":{"spec":{"containers":[{"name":"notebook","image":"y"}]}}}`,
		`{"profile_list":[{"slug":"p","profile_options":{"o":{"choices":{"c":{}}}}}]}`, `{"environment":{"A":{"value_from":{}}}}`, `{"port":1e9}`, `{"pod_name_template":"{{{username:>900}"}`,
		`{"lifecycle_hooks":{"preStop":null}}`, `{"extra_container_config":{"ports":[]},"services_enabled":true}`, `{"extra_pod_config":{"containers":[]}}`, `{"pod_overlay":{"spec":{"containers":[{"$patch":"delete","name":"notebook"}]}}}`,
	} {
		f.Add([]byte(seed))
	}
	s := testSpawner(f, "outpost", Options{})
	f.Fuzz(func(t *testing.T, data []byte) {
		var misc map[string]json.RawMessage
		if json.Unmarshal(data, &misc) != nil {
			return
		}
		p, err := s.Plan(t.Context(), outpost.Hub{Name: "h", AllowedOptions: []string{"*"}}, outpost.StartRequest{
			Key:  outpost.Key{Hub: "h", StartID: "s"},
			Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "alice"}, Misc: misc},
		}, nil)
		if err != nil {
			return
		}
		o := p.Objects.(*objects)
		if o.service != nil && !hostPattern.MatchString(o.names.DNS) {
			t.Errorf("%s: host %q", data, o.names.DNS)
		}
		if _, err := json.Marshal(o.pod); err != nil {
			t.Errorf("%s: %v", data, err)
		}
	})
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"{username}", "{{", "}", "{userid:+05d}", "{username!r:^20.3}", "{username:é<9}", "{:}", "{userid:x}", "{username.__class__}", "{a{b}}"} {
		f.Add(seed)
	}
	fields := nameFields(subject{User: "Alice", Server: "lab", UserID: 7}, schemeSafe)
	f.Fuzz(func(t *testing.T, template string) {
		out, err := fields.expand(template)
		if err == nil && len(out) > len(template)*(4*maxWidth+100) {
			t.Errorf("%q makes %d bytes", template, len(out))
		}
	})
}
