package effect

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/infra/values"
)

// TestFaults holds what each part of a table does, and that nothing is said twice.
func TestFaults(t *testing.T) {
	table := Table{
		Refusals: []Refusal{
			Refuse("pods.name", ""), Refuse("pods.**", "has no effect; set servers"),
			Refuse("kept.**", "is kept; leave it out"),
		},
		Conditions: []Condition{While("route.**", "route.enabled", true), While("size", "claim", "")},
		Conflicts:  []Refusal{Refuse("key", "is made; leave it out")},
		Defaults:   map[string]any{"route": map[string]any{"enabled": false}, "claim": ""},
	}
	defaults := map[string]any{"free": 1}
	needed := map[string]any{
		"key": "ours", "kept": map[string]any{"a": 1}, "list": []any{"ours"}, "deep": map[string]any{"x": 1},
	}
	for _, tt := range []struct {
		name string
		own  map[string]any
		want []string
	}{
		{"nothing", nil, nil},
		{"a default", map[string]any{"free": 2}, nil},
		{"what holds anyway", map[string]any{"key": "ours", "kept": map[string]any{"a": 1.0}}, nil},
		{"more of a list", map[string]any{"list": []any{"theirs"}}, nil},
		{"an excepted key", map[string]any{"pods": map[string]any{"name": "a"}}, nil},
		{"list without effect", map[string]any{"pods": map[string]any{"list": []any{"a", map[string]any{}}}}, []string{
			"pods.list: has no effect; set servers",
		}},
		{"no list", map[string]any{"list": "theirs"}, []string{
			"list: must be a list: systems need entries of their own there",
		}},
		{"no list at all", map[string]any{"list": nil}, []string{
			"list: is what systems need, and cannot be changed; leave it out",
		}},
		{"no map", map[string]any{"deep": "theirs"}, []string{
			"deep: must be a map: systems need entries of their own there",
		}},
		{"a section", map[string]any{"deep": nil}, []string{
			"deep: is what systems need, and cannot be changed; leave it out",
		}},
		{"what is kept", map[string]any{"kept": map[string]any{"a": 2, "b": 1}}, []string{
			"kept.a: is kept; leave it out", "kept.b: is kept; leave it out",
		}},
		{"a conflict", map[string]any{"key": "theirs"}, []string{"key: is made; leave it out"}},
		{"a condition of the chart", map[string]any{"route": map[string]any{"a": 1}}, []string{
			"route.a: has no effect while values.route.enabled is false; set that to true, or leave this out",
		}},
		{"a condition that is met", map[string]any{"route": map[string]any{"a": 1, "enabled": true}}, nil},
		{"the switch alone", map[string]any{"route": map[string]any{"enabled": false}}, nil},
		{"a condition of emptiness", map[string]any{"claim": "mine", "size": 1}, []string{
			`size: has no effect while values.claim is mine; set that to "", or leave this out`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, fault := range table.Faults(tt.own, needed, values.Add(values.Merge(defaults, needed), tt.own)) {
				got = append(got, fault.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMeant holds that a section which repeats most of the chart's defaults means only its changes, and every other one
// all that it says.
func TestMeant(t *testing.T) {
	table := Table{Defaults: values.Parse(`
a: 1
b: {c: [], d: x, e: {f: true, i: 1}, j: null}
g: null
k: ""
login: {class: dummy, admin: true}
one: {two: {three: 3}}
`)}
	needed := values.Parse("{k: ours, g: ours}")
	for _, tt := range []struct{ name, own, want string }{
		{"a value", `{a: 1}`, `{a: 1}`},
		{"half of a section", `{b: {e: {f: true}}}`, `{b: {e: {f: true}}}`},
		{"one of two", `{login: {class: dummy}}`, `{login: {class: dummy}}`},
		{"all of a section of one", `{one: {two: {three: 3}}}`, `{one: {two: {three: 3}}}`},
		{"a whole section", `{login: {class: dummy, admin: true}}`, `{}`},
		{"a whole section with more", `{login: {class: dummy, admin: true, other: 1}}`, `{login: {other: 1}}`},
		{"most of a section", `{b: {c: [], d: x, e: {f: true}}}`, `{}`},
		{"most of a section with changes", `{b: {c: [], d: y, e: {f: true}, j: null}}`, `{b: {d: y}}`},
		{"null for a list", `{b: {c: null, d: x, e: {f: true}}}`, `{}`},
		{"a small section in a copy", `{b: {c: [], d: x, j: null, e: {i: 1, f: null}}}`, `{b: {e: {f: null}}}`},
		{"null that is a change", `{login: {class: null, admin: true}}`, `{login: {class: null, admin: true}}`},
		{
			"all with changes",
			`{a: 2, b: {c: [], d: x, e: {f: null, h: 1}, j: null}, g: null, k: "", login: {class: dummy}, l: 1}`,
			`{a: 2, b: {e: {f: null, h: 1}}, l: 1}`,
		},
		{
			"all but a section",
			`{a: 1, b: {c: [], d: x, e: {f: true, i: 1}, j: null}, g: null, k: "", one: {two: {three: 3}}}`, `{}`,
		},
		{"all but a value", `{b: {c: [], d: x, e: {f: true, i: 1}, j: null}, k: "", login: {class: dummy}}`, `{}`},
		{"empty where another value is needed", `{k: "", g: null}`, `{}`},
		{"null where another value is needed", `{k: null, a: 1}`, `{k: null, a: 1}`},
	} {
		if diff := cmp.Diff(values.Parse(tt.want), table.Meant(values.Parse(tt.own), needed)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if got := table.Meant(nil, needed); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}
