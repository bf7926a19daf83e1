package values

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPathsOfADocument(t *testing.T) {
	document := map[string]any{
		"a": map[string]any{"b": []any{"x", map[string]any{"c": 1}}, "d": nil}, "e": map[string]any{}, "f": true,
	}
	want := [][]string{{"at", "a", "b", "0"}, {"at", "a", "b", "1", "c"}, {"at", "a", "d"}, {"at", "f"}}
	if diff := cmp.Diff(want, Leaves(document, "at")); diff != "" {
		t.Errorf("leaves (-want +got)\n%s", diff)
	}
	for _, c := range []struct {
		path []string
		want any
	}{
		{[]string{"a", "b", "1", "c"}, map[string]any{
			"a": map[string]any{"b": []any{"x", map[string]any{"c": "new"}}, "d": nil},
			"e": map[string]any{}, "f": true,
		}},
		{[]string{"f"}, map[string]any{"a": document["a"], "e": map[string]any{}, "f": "new"}},
		{[]string{"a", "b", "2"}, document},
		{[]string{"a", "b", "x"}, document},
		{[]string{"a", "x"}, document},
		{[]string{"f", "x"}, document},
		{nil, "new"},
	} {
		if diff := cmp.Diff(c.want, Replace(document, c.path, func(any) any { return "new" })); diff != "" {
			t.Errorf("%v replaced (-want +got)\n%s", c.path, diff)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern string
		path    []string
		want    bool
	}{
		{"a.b", []string{"a", "b"}, true},
		{"a.b", []string{"a", "b", "c"}, false},
		{"a.b", []string{"a"}, false},
		{"a.*.c", []string{"a", "0", "c"}, true},
		{"a.*", []string{"a", "b", "c"}, false},
		{"a.**", []string{"a", "b", "c"}, true},
		{"a.**", []string{"b", "a"}, false},
		{"**", []string{"a"}, true},
	} {
		if got := Match(c.pattern, c.path); got != c.want {
			t.Errorf("%s of %v: %v", c.pattern, c.path, got)
		}
	}
}
