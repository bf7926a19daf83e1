package schema

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

var sound = Parse(`{
  "type": "object",
  "additionalProperties": false,
  "required": ["name"],
  "properties": {
    "name": {"title": "lower-case letters", "type": "string", "pattern": "^[a-z]+$"},
    "code": {"type": "string", "pattern": "^[a-z]+$"},
    "list": {"type": "array", "items": {"type": "object", "properties": {"count": {"type": "integer", "minimum": 1}}, "required": ["count"]}},
    "word": {"$ref": "#/$defs/word"},
    "form": {"anyOf": [{"type": "null"}, {"type": "integer"}]},
    "names": {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}},
    "open": {"type": "object", "additionalProperties": false, "patternProperties": {"^a": {}}}
  },
  "$defs": {"word": {"title": "a word or a list of words", "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}}
}`)

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name     string
		document map[string]any
		want     []string
	}{
		{"sound", map[string]any{"name": "a", "word": []string{"b"}, "form": nil}, nil},
		{"missing", map[string]any{"list": []any{map[string]any{}}}, []string{"list[0].count is missing", "name is missing"}},
		{"unknown", map[string]any{"name": "a", "nam": 1, "open": map[string]any{"b": 1}, "names": map[string]any{"B": 1}}, []string{
			"nam: there is no such key; there are: code, form, list, name, names, open, word",
			`no key may be called "B"`, "open.b: there is no such key",
		}},
		{"wrong type", map[string]any{"name": 3, "list": []any{map[string]any{"count": 0}}}, []string{
			"list[0].count: minimum: got 0, want 1", "name: got number, want string",
		}},
		{"pattern", map[string]any{"name": "A", "code": "A secret"}, []string{"code: does not match ^[a-z]+$", "name: want lower-case letters"}},
		{"form", map[string]any{"name": "a", "word": 1, "form": "x"}, []string{"form: has none of the forms that it may have", "word: want a word or a list of words"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, fault := range sound.Check(tt.document) {
				got = append(got, fault.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCheckRefuses holds that a document without a form in JSON is not taken for a sound one.
func TestCheckRefuses(t *testing.T) {
	if len(sound.Check(map[string]any{"name": func() {}})) == 0 {
		t.Error("accepted a function")
	}
}

func TestBelow(t *testing.T) {
	if got, want := (Fault{Path: []string{"b", "1"}}).Below("a").Error(), "a.b[1] is missing"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
