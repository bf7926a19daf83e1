package charts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/schema/schematest"
	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// compiled has schemas of charts by their texts. Helm compiles a schema each time, which takes longer than all else
// that it does to render a chart.
var compiled = map[string]*jsonschema.Schema{}

// schemaAddress is where a compiler has the schema of a chart.
const schemaAddress = "file:///values.schema.json"

func newCompiler(schema string) (*jsonschema.Compiler, error) {
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	return compiler, compiler.AddResource(schemaAddress, document)
}

// checkValues checks values with those of the chart below them against the chart's schema, with Helm's library and in
// its words.
func checkValues(c *chart.Chart, values chartutil.Values) error {
	schema := compiled[string(c.Schema)]
	if schema == nil {
		compiler, err := newCompiler(string(c.Schema))
		if err != nil {
			return err
		}
		if schema, err = compiler.Compile(schemaAddress); err != nil {
			return err
		}
		compiled[string(c.Schema)] = schema
	}
	err := schema.Validate(values.AsMap())
	if err == nil {
		return nil
	}
	_, text, _ := strings.Cut(err.Error(), "\n")
	return errors.New("values don't meet the specifications of the schema(s) in the following chart(s):\n" +
		c.Name() + ":\n" + text + "\n")
}

// TestChecksAreHelms holds that checkValues says of each value set, as it is and with an unknown key, what Helm says.
func TestChecksAreHelms(t *testing.T) {
	for folder := range schemas {
		c := load(t, folder)
		for _, path := range valueSetsOf(t, folder) {
			sound, faulty := readValues(t, path), readValues(t, path)
			faulty[schematest.UnknownKey] = true
			for _, values := range []map[string]any{sound, faulty} {
				release := chartutil.ReleaseOptions{Name: "a", Namespace: "b", Revision: 1, IsInstall: true}
				_, want := chartutil.ToRenderValues(c, values, release, newestKubernetes())
				top, err := chartutil.ToRenderValuesWithSchemaValidation(c, values, release, newestKubernetes(), true)
				if err != nil {
					t.Fatal(err)
				}
				got := checkValues(c, top["Values"].(chartutil.Values))
				if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(got)); diff != "" {
					t.Errorf("%s (-Helm +checkValues):\n%s", path, diff)
				}
				if (want == nil) != (values[schematest.UnknownKey] == nil) {
					t.Errorf("%s: Helm says %v", path, want)
				}
			}
		}
	}
}

// definitions compiles the schema and returns a validator of one of its definitions.
func definitions(t *testing.T) func(name string, value any) error {
	t.Helper()
	compiler, err := newCompiler(OutpostSchema)
	if err != nil {
		t.Fatal(err)
	}
	return func(name string, value any) error {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return compiler.MustCompile(schemaAddress + "#/definitions/" + name).Validate(instance)
	}
}

func TestSchemaHasEveryOption(t *testing.T) {
	var schema struct {
		Definitions map[string]struct{ Properties map[string]any }
	}
	if err := json.Unmarshal([]byte(OutpostSchema), &schema); err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(maps.Keys(schema.Definitions["spawner"].Properties))
	if diff := cmp.Diff(options.Names(), got); diff != "" {
		t.Errorf("options (-server +schema):\n%s", diff)
	}
	override := schema.Definitions["unlistedChoice"].Properties["kubespawner_override"].(map[string]any)
	got = slices.Sorted(maps.Keys(override["properties"].(map[string]any)))
	if diff := cmp.Diff(options.Names(), got); diff != "" {
		t.Errorf("options of unlisted choices (-server +schema):\n%s", diff)
	}
}

// The schema refuses nothing that the server takes, and what it cannot express is listed here.
func TestSchemaAndServerAgreeAboutOptions(t *testing.T) {
	check := definitions(t)
	values := []any{
		nil, true, false, 0, 1, -1, 70000, 1.5, "", "text", "1G", "1.5", "500m", "2Gi", "1 G", "512", "/a/", "/", "a",
		"safe", "all",
		[]any{},
		[]any{"a"},
		[]any{1},
		[]any{map[string]any{}},
		map[string]any{},
		map[string]any{"a": "b"},
		map[string]any{"a": 1},
		map[string]any{"a": nil},
		map[string]any{"a": map[string]any{}},
		"False",
	}
	beyond := func(name string, value any) bool { // what a schema cannot say
		switch m := value.(type) {
		case map[string]any: // null removes a key in a profile, and quantities have their own syntax
			return m["a"] == nil || m["a"] == "b" || name == "profile_list" // display_name or slug
		case []any:
			return name == "profile_list"
		}
		return false
	}
	for _, name := range options.Names() {
		for _, value := range values {
			layer := map[string]any{name: value}
			var p options.Problems
			options.Check(layer, &p)
			byServer, bySchema := p.Err(), check("spawner", layer)
			if bySchema != nil && byServer == nil {
				t.Errorf("%s: %v is refused by the schema alone: %v", name, value, bySchema)
			}
			if bySchema == nil && byServer != nil && !beyond(name, value) {
				t.Errorf("%s: %#v is refused by the server alone: %v", name, value, byServer)
			}
		}
	}
}

// What profiles and flavors must not have is refused by both.
func TestSchemaAndServerAgreeAboutFiles(t *testing.T) {
	check := definitions(t)
	parse := func(text string) map[string]any {
		var value map[string]any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		return value
	}
	//nolint:lll // a case a line
	for text, sound := range map[string]bool{
		"{display_name: P}": true,
		"{display_name: P, default: \"true\", description: {a: b}, x-form: 1}":                                                        true,
		"{display_name: P, default: \"no\"}":                                                                                          false,
		"{display_name: P, default: [true]}":                                                                                          false,
		"{display_name: P, slug: \"\"}":                                                                                               false,
		"{display_name: P, users: [alice]}":                                                                                           false,
		"{display_name: P, mem_limit: 1G}":                                                                                            false,
		"{display_name: P, kubespawner_override: null}":                                                                               false,
		"{display_name: P, kubespawner_override: {mem_limt: 1G}}":                                                                     false,
		"{display_name: P, kubespawner_override: {node_selector: {a: null}}}":                                                         true,
		"{display_name: P, profile_options: null}":                                                                                    false,
		"{display_name: P, profile_options: {o: {choices: {c: {}}}}}":                                                                 true,
		"{display_name: P, profile_options: {o: {choices: {c: null}}}}":                                                               false,
		"{display_name: P, profile_options: {o: {choices: {c: {defautl: true}}}}}":                                                    false,
		"{display_name: P, profile_options: {o: {choices: {c: {}}, unlisted_choice: null}}}":                                          false,
		"{display_name: P, profile_options: {o: {unlisted_choice: {enabled: true, kubespawner_override: {mem_limit: \"{value}\"}}}}}": true,
		"{display_name: P, profile_options: {o: {unlisted_choice: {enabled: true, kubespawner_override: {mem_limt: \"{value}\"}}}}}":  false,
		"{display_name: P, profile_options: {o: {unlisted_choice: {enabled: true, validation_regx: a}}}}":                             false,
	} {
		layer := map[string]any{"profile_list": []any{parse(text)}}
		var p options.Problems
		options.Check(layer, &p)
		if err := p.Err(); (err == nil) != sound {
			t.Errorf("profile %s: the server says %v", text, err)
		}
		if err := check("spawner", layer); (err == nil) != sound {
			t.Errorf("profile %s: the schema says %v", text, err)
		}
	}
	const everyKey = "flavors: {a: {max: 1, maxPerUser: -1, runtime: {hours: 2}, " +
		"resources: {mem_limit: 1G}, x-form: {}}}"
	//nolint:lll // a case a line
	for text, sound := range map[string]bool{
		everyKey:                             true,
		"flavors: {a: null}":                 true,
		"flavors: {a: {max: null}}":          false,
		"flavors: {a: {max: -2}}":            false,
		"flavors: {a: {max: 1.5}}":           false,
		"flavors: {a: {maxPerUsr: 1}}":       false,
		"flavors: {a: {users: [alice]}}":     false,
		"flavors: {a: {runtime: {hour: 1}}}": false,
		"flavors: {a: {runtime: {}}}":        false,
		"flavors: {a: {resources: null}}":    false,
		"flavors: {a: []}":                   false,
		"hub: {}":                            false,
		"hubs: null":                         false,
		"hubs: {a: {jupyterhub_name: [h], weight: 1, flavors: []}}": true,
		"hubs: {a: {jupyterhub_name: h*}}":                          true,
		"hubs: {a: {weight: 1}}":                                    false,
		"hubs: {a: {jupyterhub_name: h, flavours: []}}":             false,
		"users: {a: {hubs: [h], authentication: {groups: [g], name: x}, negate_authentication: true, forbidden: false}}": true,
		"users: {a: {forbidden: null}}":                                        false,
		"users: {a: {authentication: null}}":                                   false,
		"users: {a: {authentications: {}}}":                                    false,
		"{flavors: {a: {}}, users: {a: {flavorsOverride: {a: {max: 1}}}}}":     true,
		"{flavors: {a: {}}, users: {a: {flavorsOverride: {a: {maximum: 1}}}}}": false,
	} {
		if _, err := flavor.Parse([]byte(text)); (err == nil) != sound {
			t.Errorf("flavors %s: the server says %v", text, err)
		}
		if err := check("flavorsFile", parse(text)); (err == nil) != sound {
			t.Errorf("flavors %s: the schema says %v", text, err)
		}
	}
}
