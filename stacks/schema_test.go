package main

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSchemaAndConfigHaveTheSameKeys holds, at every depth, that what the schema accepts is read and what is read can
// be written. Free mappings, such as values of a chart, have schemas of their own.
func TestSchemaAndConfigHaveTheSameKeys(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal([]byte(schemaText), &schema); err != nil {
		t.Fatal(err)
	}
	compared := 0
	var compare func(where string, at map[string]any, of reflect.Type)
	compare = func(where string, at map[string]any, of reflect.Type) {
		if ref, ok := at["$ref"].(string); ok {
			definitions, _ := schema["$defs"].(map[string]any)
			at, _ = definitions[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		}
		switch of.Kind() {
		case reflect.Pointer:
			compare(where, at, of.Elem())
		case reflect.Slice:
			if items, ok := at["items"].(map[string]any); ok {
				compare(where+"[]", items, of.Elem())
			}
		case reflect.Map:
			if entries, ok := at["additionalProperties"].(map[string]any); ok {
				compare(where+".*", entries, of.Elem())
			}
		case reflect.Struct:
			described, _ := at["properties"].(map[string]any)
			read := keysOf(of)
			if diff := cmp.Diff(slices.Sorted(maps.Keys(described)), slices.Sorted(maps.Keys(read))); diff != "" {
				t.Errorf("keys of %s (-schema +read):\n%s", where, diff)
			}
			for key, field := range read {
				if inner, ok := described[key].(map[string]any); ok {
					compared++
					compare(where+"."+key, inner, field)
				}
			}
		}
	}
	compare(project, schema, reflect.TypeFor[Config]())
	if compared < 50 {
		t.Errorf("%d keys were compared", compared)
	}
}

// keysOf returns the JSON names of a struct's fields with their types, those of embedded structs among them.
func keysOf(of reflect.Type) map[string]reflect.Type {
	keys := map[string]reflect.Type{}
	for i := range of.NumField() {
		field := of.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous && name == "":
			maps.Copy(keys, keysOf(field.Type))
		case field.IsExported() && name != "-":
			keys[name] = field.Type
		}
	}
	return keys
}
