package python_test

import (
	"encoding/json"
	"testing"

	"github.com/outposts-dev/outposts/server/python"
)

// The wants are what str(json.loads(text)) gives in Python 3.13.
func TestStr(t *testing.T) {
	for text, want := range map[string]string{
		`"a\u00eb"`: "aë", `""`: "", `true`: "True", ` false `: "False", `null`: "None",
		`17`: "17", `-3`: "-3", `123456789012345678901`: "123456789012345678901",
		`1.50`: "1.5", `1e5`: "100000.0", `1E-5`: "1e-05",
		`1e16`: "1e+16", `0.0001`: "0.0001", `0.0`: "0.0", `2.0`: "2.0",
		`[1, "a"]`: `[1,"a"]`, `{"a": {"b": null}}`: `{"a":{"b":null}}`,
	} {
		if got := python.Str(json.RawMessage(text)); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

// The wants are what repr gives in Python 3.13.
func TestRepr(t *testing.T) {
	for text, want := range map[string]string{
		"tiny": "'tiny'", "": "''", "it's": `"it's"`, `a"b'c`: `'a"b\'c'`, "a\\b\n\t": `'a\\b\n\t'`,
	} {
		if got := python.Repr(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
