package values

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMerge(t *testing.T) {
	base := map[string]any{"a": map[string]any{"b": 1, "c": []any{1, 2}}, "d": map[string]any{"e": 1}, "f": 1}
	override := map[string]any{
		"a": map[string]any{"b": 2, "c": []any{3}}, "d": "text", "f": map[string]any{"g": 1}, "h": nil,
	}
	before := [2]map[string]any{Merge(nil, base), Merge(nil, override)}
	want := map[string]any{
		"a": map[string]any{"b": 2, "c": []any{3}}, "d": "text", "f": map[string]any{"g": 1}, "h": nil,
	}
	if diff := cmp.Diff(want, Merge(base, override)); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, [2]map[string]any{base, override}); diff != "" {
		t.Errorf("an argument changed (-want +got):\n%s", diff)
	}
}

func TestAdd(t *testing.T) {
	base := map[string]any{"a": map[string]any{"b": 1, "c": []any{1, map[string]any{"d": 2}}}, "e": []any{1}, "f": 1}
	more := map[string]any{
		"a": map[string]any{"b": 2, "c": []any{map[string]any{"d": 2.0}, 3}}, "e": nil, "f": []any{2}, "g": []any{4},
	}
	before := [2]map[string]any{Merge(nil, base), Merge(nil, more)}
	want := map[string]any{
		"a": map[string]any{"b": 2, "c": []any{1, map[string]any{"d": 2}, 3}}, "e": nil, "f": []any{2}, "g": []any{4},
	}
	if diff := cmp.Diff(want, Add(base, more)); diff != "" {
		t.Errorf("added (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, [2]map[string]any{base, more}); diff != "" {
		t.Errorf("an argument changed (-want +got):\n%s", diff)
	}
}

func TestLost(t *testing.T) {
	made := map[string]any{"a": map[string]any{"b": 1.0, "c": []any{1, 2}}, "d": map[string]any{"e": 1}, "f": nil}
	document := map[string]any{
		"a": map[string]any{"b": 1, "c": []any{2, 3}, "x": map[string]any{"y": 1}}, "d": []any{}, "f": nil, "g": nil,
	}
	want := [][]string{{"a", "c", "1"}, {"a", "x"}, {"d"}, {"g"}}
	if diff := cmp.Diff(want, Lost(made, document)); diff != "" {
		t.Errorf("lost (-want +got):\n%s", diff)
	}
	if lost := Lost(Add(document, made), made); lost != nil {
		t.Errorf("what was laid over is lost: %v", lost)
	}
}

func TestAt(t *testing.T) {
	m := map[string]any{"a": map[string]any{"b": 1}}
	for _, tt := range []struct {
		name string
		path []string
		want any
	}{
		{"a value", []string{"a", "b"}, 1},
		{"no such key", []string{"a", "c"}, nil},
		{"a map expected", []string{"a", "b", "c"}, nil},
		{"no map at all", []string{"x", "y"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := At(m, tt.path...); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestOf(t *testing.T) {
	type image struct {
		Name string `json:"name,omitempty"`
		Tag  string `json:"tag,omitempty"`
		Port int    `json:"port"`
	}
	if diff := cmp.Diff(map[string]any{"name": "a", "port": 1.0}, Of(image{Name: "a", Port: 1})); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestGiven(t *testing.T) {
	got := Given(map[string]any{
		"text": "a", "number": 1, "switch": true, "list": []any{""}, "map": map[string]any{"a": nil},
		"nothing": nil, "no text": "", "zero": 0, "no list": []any{}, "nil list": []any(nil),
		"no map": map[string]any{},
	})
	want := map[string]any{
		"text": "a", "number": 1, "switch": true, "list": []any{""}, "map": map[string]any{"a": nil},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}
