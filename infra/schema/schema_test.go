package schema

import (
	"fmt"
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
    "list": {"type": "array", "items": {
      "type": "object", "properties": {"count": {"type": "integer", "minimum": 1}}, "required": ["count"]
    }},
    "word": {"$ref": "#/$defs/word"},
    "form": {"anyOf": [{"type": "null"}, {"type": "integer"}]},
    "names": {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}},
    "unique": {"type": "array", "uniqueItems": true},
    "even": {"format": "even"},
    "open": {"type": "object", "additionalProperties": false, "patternProperties": {"^a": {}}}
  },
  "$defs": {"word": {
    "title": "a word or a list of words", "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
  }}
}`, Format{"even", func(text string) error {
	if len(text)%2 != 0 {
		return fmt.Errorf("has %d letters, want an even number", len(text))
	}
	return nil
}})

func TestCheck(t *testing.T) {
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name     string
		document map[string]any
		want     []string
	}{
		{"sound", map[string]any{"name": "a", "word": []string{"b"}, "form": nil}, nil},
		{"missing", map[string]any{"list": []any{map[string]any{}}}, []string{"list[0].count is missing", "name is missing"}},
		{"unknown", map[string]any{"name": "a", "nam": 1, "open": map[string]any{"b": 1}, "names": map[string]any{"B": 1}}, []string{
			`"B" is not an accepted name of a key`,
			"nam: unknown key; known keys: code, even, form, list, name, names, open, unique, word", "open.b: unknown key",
		}},
		{"wrong type", map[string]any{"name": 3, "list": []any{map[string]any{"count": 0}}}, []string{
			"list[0].count: minimum: got 0, want 1", "name: want lower-case letters",
		}},
		{"pattern", map[string]any{"name": "A", "code": "A secret"}, []string{"code: does not match ^[a-z]+$", "name: want lower-case letters"}},
		{"form", map[string]any{"name": "a", "word": 1, "form": "x"}, []string{
			"form: matches none of the accepted forms", "word: want a word or a list of words",
		}},
		{"format", map[string]any{"name": "a", "even": "abc"}, []string{"even: has 3 letters, want an even number"}},
		{"format of another type", map[string]any{"name": "a", "even": 1}, nil},
		{"listed twice", map[string]any{"name": "a", "unique": []string{"a", "b", "a"}}, []string{"unique[2]: is listed twice"}},
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

// TestNullTakesAwayDefaults holds what null may stand for among values of a chart, and nowhere else.
func TestNullTakesAwayDefaults(t *testing.T) {
	chart := Parse(`{"type": "object", "additionalProperties": false, "properties": {
		"text": {"type": "string"}, "one": {"enum": ["a", "b"]}, "map": {"type": "object"}, "form": {"oneOf": [
			{"type": "string"}, {"type": "array"}]}
	}}`)
	nulls := map[string]any{"text": nil, "one": nil, "map": nil, "form": nil}
	if got := chart.CheckValues(nulls); len(got) > 0 {
		t.Errorf("refused: %v", got)
	}
	if got := chart.Check(nulls); len(got) != len(nulls) {
		t.Errorf("in another document: %v", got)
	}
	want := []Fault{{Path: []string{"txet"}, Text: "unknown key; known keys: form, map, one, text"}}
	if diff := cmp.Diff(want, chart.CheckValues(map[string]any{"txet": nil})); diff != "" {
		t.Errorf("a key that there is not (-want +got):\n%s", diff)
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
