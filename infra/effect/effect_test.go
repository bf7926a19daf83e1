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
		Conditions: []Condition{While("route.**", "route.enabled", false, true), While("size", "claim", "", "")},
		Conflicts:  []Refusal{Refuse("key", "is made; leave it out")},
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

// TestMeant holds that a file with all of the chart's defaults means only its changes, and every other one all that it
// says.
func TestMeant(t *testing.T) {
	table := Table{Defaults: map[string]any{
		"a": 1, "b": map[string]any{"c": []any{}, "d": "x", "e": map[string]any{"f": true}}, "g": nil,
	}}
	part := map[string]any{"a": 1, "b": map[string]any{"d": "x"}}
	for _, tt := range []struct {
		name      string
		own, want map[string]any
	}{
		{"nothing", nil, nil},
		{"a part", part, part},
		{"all", values.Merge(table.Defaults, map[string]any{"a": 1.0}), map[string]any{}},
		{
			"null for a list", values.Merge(table.Defaults, map[string]any{"b": map[string]any{"c": nil}}),
			map[string]any{},
		},
		{
			"all with changes",
			map[string]any{
				"a": 2, "b": map[string]any{"d": "x", "e": map[string]any{"f": nil, "h": 1}}, "g": nil, "i": 1,
			},
			map[string]any{"a": 2, "b": map[string]any{"e": map[string]any{"f": nil, "h": 1}}, "i": 1},
		},
	} {
		if diff := cmp.Diff(tt.want, table.Meant(tt.own)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
