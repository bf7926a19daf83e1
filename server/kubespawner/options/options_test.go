package options

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/kubespawner/kubespawnertest"
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

// samples are values of the kinds that KubeSpawner's options were tried with.
var samples = map[string]any{
	"null":           nil,
	"bool":           true,
	"int":            3,
	"float":          1.5,
	"string":         "x",
	"numeric string": "3",
	"memory string":  "1G",
	"list of strings": []any{
		"x",
	},
	"list of objects": []any{map[string]any{"name": "x"}},
	"object":          map[string]any{"name": "x"},
}

// stricter reports whether an option refuses a kind of value that KubeSpawner accepts; number is for options of
// numbers.
func stricter(name, kind string, number bool) bool {
	switch {
	case kind == "bool" && number: // true is not a number
		return true
	case kind == "list of strings" && byName[name].list, kind == "list of objects" && slices.Contains([]string{
		"env_keep", "storage_access_modes", "supplemental_gids", "image_pull_secrets",
	}, name):
		return true // KubeSpawner finds out when it makes the pod
	case name == "supplemental_gids" && kind == "list of strings":
		return true
	}
	return name == "secret_mount_path" // must be a folder
}

// kinder reports whether an option accepts a kind of value that KubeSpawner refuses.
func kinder(name, kind string) bool {
	cpus := name == "cpu_limit" || name == "cpu_guarantee"
	return cpus && kind == "numeric string" || // a quantity
		name == "internal_ssl"
}

// sample is a value of a kind as the option has it.
func sample(o option, kind string) any {
	switch {
	case kind == "object" && (o.list || o.name == "profile_list"):
		return map[string]any{"k": samples["object"]}
	case kind == "object" && strings.HasPrefix(o.name, "extra_resource_"):
		return map[string]any{"nvidia.com/gpu": 1}
	}
	return samples[kind]
}

func TestOptionsAcceptWhatKubeSpawnerAccepts(t *testing.T) {
	var v optionVectors
	kubespawnertest.Load(t, "options", &v)
	if len(v.Options) < 113 {
		t.Fatalf("only %d options", len(v.Options))
	}
	for _, o := range v.Options {
		own, known := byName[o.Name]
		if !known {
			t.Errorf("%s is not known", o.Name)
			continue
		}
		important := strings.HasPrefix(o.Priority, "must") || strings.HasPrefix(o.Priority, "should")
		pythonOnly := slices.Contains(
			[]string{"modify_pod_hook", "pre_spawn_hook", "delete_pvc", "remember_pvc_name"},
			o.Name,
		)
		if important && own.idle && !pythonOnly {
			t.Errorf("%s has no effect", o.Name)
		}
		if own.kind == nil || o.Name == "slug_scheme" {
			continue
		}
		for kind := range samples {
			_, err := own.kind(mustCanonical(t, sample(own, kind)))
			switch accepts := slices.Contains(o.Accepts, kind); {
			case accepts && err != nil && !stricter(o.Name, kind, slices.Contains(o.Accepts, "int")):
				t.Errorf("%s refuses %s: %v", o.Name, kind, err)
			case !accepts && err == nil && !kinder(o.Name, kind):
				t.Errorf("%s accepts %s, KubeSpawner does not", o.Name, kind)
			}
		}
	}
}

func TestOldNamesAreKubeSpawners(t *testing.T) {
	var v optionVectors
	kubespawnertest.Load(t, "options", &v)
	if len(v.Aliases) == 0 || len(v.Broken) == 0 {
		t.Error("no old names")
	}
	for _, alias := range v.Aliases {
		if oldNames[alias.Old] != alias.New {
			t.Errorf("old name %s means %s, want %s", alias.Old, oldNames[alias.Old], alias.New)
		}
	}
	for _, name := range v.Broken {
		if oldNames[name] == "" {
			t.Errorf("old name %s is not known", name)
		}
	}
}

func TestDefaultsAreKubeSpawners(t *testing.T) {
	var v optionVectors
	kubespawnertest.Load(t, "options", &v)
	s, err := NewSettings(nil, Defaults("jhub", 0))
	if err != nil {
		t.Fatal(err)
	}
	got := settingsAsOptions(t, s)
	differs := []string{
		"namespace", "k8s_api_request_timeout", "slow_spawn_message", // see table
		"port",                // taken from the hub's URL, 8888 without one
		"delete_grace_period", // see Objects.gracePeriod
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
			t.Errorf("%s is %s, KubeSpawner's is %s", o.Name, a, b)
		}
	}
}

func TestCheckNamesEveryWrongOption(t *testing.T) {
	err := checkAll(map[string]any{
		"image": 5, "cpu_limit": "lots", "singleuser_uid": 1000, "no_such": true, "volumes": "x", "port": 70000,
		"common_labels": map[string]any{"a": 1}, "secret_mount_path": "/etc", "modify_pod_hook": "def f(): pass",
		"mem_limit": "512", "uid": true, "image_pull_secrets": []any{1},
	})
	const want = `common_labels: the value of "a" must be a string, not an integer; ` +
		`cpu_limit: must be a number of cores such as 1.5 or "500m"; image: must be a string, not an integer; ` +
		`image_pull_secrets: element 0 must be a name or {name: ...}, not an integer; ` +
		`mem_limit: must be a number of bytes or a string such as "512M", "1.5G" or "2Gi"; ` +
		`modify_pod_hook: must be a Python function, which an outpost cannot call; no_such: unknown option; ` +
		`port: must be from 0 to 65535; secret_mount_path: must begin and end with /; ` +
		`singleuser_uid: renamed; use uid; uid: must be an integer, not true or false; ` +
		`volumes: must be a list or a map of objects, not a string`
	if err == nil || err.Error() != want || outpost.KindOf(err) != outpost.KindInvalid {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// checkAll is what is wrong with the options of a layer.
func checkAll(values map[string]any) error {
	var p Problems
	Check(values, &p)
	return p.Err()
}

// A wrong part of a value hides no other: of a list, of a map, of profiles.
func TestCheckNamesEveryWrongPart(t *testing.T) {
	profiles := []any{
		nil,
		map[string]any{"display_name": "A", "kubespawner_override": map[string]any{"mem_limt": "1G"}},
		"x",
		map[string]any{"display_nam": "B"},
	}
	for _, c := range []struct {
		values map[string]any
		want   []string
	}{
		{map[string]any{"profile_list": profiles}, []string{
			"profile_list: element 0 must be an object, not null; element 2 must be an object, not a string",
			"profile_list[3].display_nam: unknown key; did you mean display_name?",
			"profile_list[3].display_name: is missing; it is what users read, and the slug is made from it",
			"profile_list[1].kubespawner_override.mem_limt: unknown option; did you mean mem_limit?",
		}},
		{map[string]any{"profile_list": map[string]any{"a": nil, "b": profiles[1]}}, []string{
			"profile_list: element 0 must be an object, not null",
			"profile_list.b.kubespawner_override.mem_limt: unknown option; did you mean mem_limit?",
		}},
		{map[string]any{"profile_list": "x"}, []string{
			"profile_list: must be a list or a map of objects, not a string",
		}},
		{map[string]any{"volumes": []any{nil, map[string]any{}, 3}}, []string{
			"volumes: element 0 must be an object, not null; element 2 must be an object, not an integer",
		}},
		{map[string]any{"node_selector": map[string]any{"a": nil, "b": "x", "c": true}}, []string{
			`node_selector: the value of "a" must be a string, not null; ` +
				`the value of "c" must be a string, not true or false`,
		}},
		{map[string]any{"supplemental_gids": make([]any, 2)}, []string{
			"supplemental_gids: element 0 must be an integer, not null; element 1 must be an integer, not null",
		}},
	} {
		var p Problems
		Check(c.values, &p)
		var got []string
		for _, one := range p.All() {
			got = append(got, one.String())
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.values, diff)
		}
	}
}
