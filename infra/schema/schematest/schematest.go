// Package schematest lists what a JSON schema describes, with values to try: for tests that hold what becomes of every
// key that an operator may write.
package schematest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/outposts-dev/outposts/infra/schema"
	"github.com/outposts-dev/outposts/infra/values"
)

// Leaf is a key of a document below which the schema describes no keys.
type Leaf struct {
	Path []string
	// Documents have this leaf alone: one for each type that it may have, and for each value of an enumeration.
	Documents []map[string]any
}

// Key is the path as it is typed.
func (l Leaf) Key() string { return strings.Join(l.Path, ".") }

// Leaves returns the leaves of a schema in the order of their keys. name is the key that stands for all keys of a map
// that the schema leaves to the operator.
func Leaves(t testing.TB, text, name string) []Leaf {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	w := walk{t: t, name: name, root: document.(map[string]any), compiler: jsonschema.NewCompiler()}
	if err := w.compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	w.visit(place{schema: w.root}, nil, nil)
	return w.leaves
}

// Refused sets each leaf alone and returns those that are refused, a line each: key and reason. It fails the test for a
// leaf that is neither whole in what is made nor refused by name, with what to do. check returns what is made of a
// document, and the faults found in it, named by their place in the document.
func Refused(
	t testing.TB, leaves []Leaf, check func(document map[string]any) (made map[string]any, faults []schema.Fault),
) string {
	t.Helper()
	refused := map[string]bool{}
	for _, leaf := range leaves {
		for _, document := range leaf.Documents {
			made, faults := check(document)
			if lost := values.Lost(made, document); len(faults) == 0 && len(lost) > 0 {
				t.Errorf("%v is accepted, but is not in what is made of it: %v", document, lost)
			}
			at := (schema.Fault{Path: leaf.Path}).Key()
			for _, fault := range faults {
				if !strings.Contains(fault.Error(), at) {
					t.Errorf("%v is refused as %q, which does not name %s", document, fault.Error(), at)
				}
				if !says(fault.Text) {
					t.Errorf("%v is refused without saying what to do: %v", document, fault.Error())
				}
				refused[fault.Error()+"\n"] = true
			}
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(refused)), "")
}

// says reports whether a reason says what to do instead.
func says(reason string) bool {
	return slices.ContainsFunc([]string{"set ", "leave ", "write ", "choose "}, func(word string) bool {
		return strings.Contains(reason, word)
	})
}

// place is a part of the schema, and the JSON pointer that leads to it.
type place struct {
	schema  map[string]any
	pointer string
}

func (p place) at(parts ...string) (place, bool) {
	for _, part := range parts {
		below, isMap := p.schema[part].(map[string]any)
		if !isMap {
			return place{}, false
		}
		escaped := strings.NewReplacer("~", "~0", "/", "~1").Replace(part)
		p = place{below, p.pointer + "/" + escaped}
	}
	return p, true
}

type walk struct {
	t        testing.TB
	name     string
	root     map[string]any
	compiler *jsonschema.Compiler
	leaves   []Leaf
}

// visit collects the leaves at a place. within are the definitions that it is in: one inside itself is a leaf.
func (w *walk) visit(p place, path, within []string) {
	if ref, isRef := p.schema["$ref"].(string); isRef {
		if slices.Contains(within, ref) {
			return
		}
		p, within = w.resolve(p), append(slices.Clip(within), ref)
	}
	properties, described := p.at("properties")
	for _, key := range slices.Sorted(maps.Keys(properties.schema)) {
		below, _ := properties.at(key)
		w.visit(below, append(slices.Clip(path), key), within)
	}
	if described {
		return
	}
	if below, isMap := p.at("additionalProperties"); isMap && w.resolve(below).schema["properties"] != nil {
		w.visit(below, append(slices.Clip(path), w.name), within)
		return
	}
	leaf := Leaf{Path: path}
	for _, value := range w.samples(p) {
		leaf.Documents = append(leaf.Documents, nest(path, value))
	}
	if len(leaf.Documents) == 0 && !slices.Contains(typesOf(p), "null") {
		w.t.Errorf("no value was found for %s", leaf.Key())
	}
	w.leaves = append(w.leaves, leaf)
}

func (w *walk) resolve(p place) place {
	if ref, isRef := p.schema["$ref"].(string); isRef {
		p, _ = place{schema: w.root}.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	return p
}

func nest(path []string, value any) map[string]any {
	for i := len(path) - 1; i >= 0; i-- {
		value = map[string]any{path[i]: value}
	}
	return value.(map[string]any)
}

// texts are tried where a string is wanted.
var texts = []string{
	"/sample", "sample", "/sample/", "1Gi", "1", "10s", "10.1.0.0/16", "sha256:" + strings.Repeat("0", 64),
	"01234567-89ab-cdef-0123-456789abcdef", "https://sample.example.org/hub/api", "20000-29999",
	"2026-05-04T18:00:00Z", "http://sample.example.org", "@daily",
}

// samples returns values that the schema accepts at a place, none of them null or empty.
func (w *walk) samples(p place) (all []any) {
	p = w.resolve(p)
	validator := w.compiler.MustCompile("schema.json#" + p.pointer)
	first := func(candidates ...any) {
		for _, one := range candidates {
			if validator.Validate(normal(one)) == nil {
				all = append(all, one)
				return
			}
		}
	}
	if enum, isEnum := p.schema["enum"].([]any); isEnum {
		return slices.DeleteFunc(slices.Clone(enum), func(one any) bool { return one == nil || one == "" })
	}
	for _, kind := range typesOf(p) {
		switch kind {
		case "string":
			strs := make([]any, len(texts))
			for i, text := range texts {
				strs[i] = text
			}
			first(strs...)
		case "boolean":
			all = append(all, true, false)
		case "integer", "number":
			first(7.0, 30080.0)
		case "array":
			items := []any{"/sample"}
			if below, isMap := p.at("items"); isMap {
				items = w.samples(below)
			}
			for _, one := range items {
				first([]any{one})
			}
		case "object":
			first(w.object(p))
		}
	}
	return all
}

// typesOf are the types that a place may have; those of its alternatives, if it says none itself.
func typesOf(p place) (kinds []string) {
	switch kind := p.schema["type"].(type) {
	case string:
		return []string{kind}
	case []any:
		for _, one := range kind {
			kinds = append(kinds, one.(string))
		}
		return kinds
	}
	for _, keyword := range []string{"anyOf", "oneOf"} {
		forms, _ := p.schema[keyword].([]any)
		for _, form := range forms {
			kinds = append(kinds, typesOf(place{schema: form.(map[string]any)})...)
		}
	}
	if len(kinds) == 0 {
		return []string{"string", "object"}
	}
	return kinds
}

// object returns an object with the required keys of a place, at least one key.
func (w *walk) object(p place) map[string]any {
	made := map[string]any{}
	for _, sub := range []string{"patternProperties", "additionalProperties"} {
		below, isMap := p.at(sub)
		if sub == "patternProperties" && isMap {
			below, isMap = below.at(slices.Sorted(maps.Keys(below.schema))[0])
		}
		if values := []any(nil); isMap {
			if values = w.samples(below); len(values) > 0 {
				made[w.name] = values[0]
			}
		}
	}
	for _, part := range []place{p, firstForm(p, "oneOf"), firstForm(p, "then")} {
		required, _ := part.schema["required"].([]any)
		for _, key := range required {
			made[key.(string)] = w.required(p, key.(string))
		}
	}
	if properties, described := p.at("properties"); len(made) == 0 && described {
		for key := range properties.schema {
			made[key] = w.required(p, key)
		}
	}
	if len(made) == 0 {
		made[w.name] = "/sample"
	}
	return made
}

// required returns a value for a required key.
func (w *walk) required(p place, key string) any {
	if below, described := p.at("properties", key); described {
		if values := w.samples(below); len(values) > 0 {
			return values[0]
		}
	}
	if key == "create" || key == "enabled" {
		return true
	}
	return "sample"
}

// firstForm is the first of the alternatives of a place.
func firstForm(p place, keyword string) place {
	if forms, isList := p.schema[keyword].([]any); isList && len(forms) > 0 {
		if form, isMap := forms[0].(map[string]any); isMap {
			return place{form, fmt.Sprintf("%s/%s/0", p.pointer, keyword)}
		}
	}
	below, _ := p.at(keyword)
	return below
}

// normal is a value as the validator wants it.
func normal(value any) any {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	made, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		panic(err)
	}
	return made
}
