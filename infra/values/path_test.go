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
