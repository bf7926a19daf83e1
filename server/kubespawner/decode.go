package kubespawner

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode"

	kjson "sigs.k8s.io/json"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// decodeInto reads one object of an option into a Kubernetes type. Keys of its first level may be camelCase or
// the snake_case of the Python client; any key that the type does not have, at any depth, is a problem.
func decodeInto(dst any, object map[string]any, path string, p *options.Problems) {
	known := jsonNames(reflect.TypeOf(dst).Elem())
	camel := make(map[string]any, len(object))
	for key, value := range object {
		name, ok := known[key]
		if !ok {
			p.Addf(path, "unknown key %q", quoted(key))
			continue
		}
		camel[name.json] = value
	}
	data, err := json.Marshal(camel)
	if err != nil {
		p.Addf(path, "%v", err)
		return
	}
	strict, err := kjson.UnmarshalStrict(data, dst)
	if err != nil {
		p.Addf(path, "%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	for _, e := range strict {
		p.Addf(path, "%v", e)
	}
}

// decodeList reads a list of objects with decodeInto.
func decodeList[T any](list []any, path string, p *options.Problems) []T {
	if len(list) == 0 {
		return nil
	}
	out := make([]T, len(list))
	for i, e := range list {
		object, ok := e.(map[string]any)
		if !ok {
			p.Addf(path, "element %d must be an object", i)
			continue
		}
		decodeInto(&out[i], object, fmt.Sprintf("%s[%d]", path, i), p)
	}
	return out
}

// replaceFields sets each key of object, camelCase or snake_case, as a whole field of dst: what was there is
// gone, nothing is merged. Null clears a field.
func replaceFields(dst any, object map[string]any, path string, p *options.Problems) {
	known := jsonNames(reflect.TypeOf(dst).Elem())
	for key, value := range object {
		name, ok := known[key]
		if !ok {
			p.Addf(path, "unknown key %q", quoted(key))
			continue
		}
		reflect.ValueOf(dst).Elem().FieldByIndex(name.index).SetZero()
		if value != nil {
			decodeInto(dst, map[string]any{name.json: value}, path, p)
		}
	}
}

// jsonName is one field of a Kubernetes type.
type jsonName struct {
	json  string
	index []int
}

var jsonNameCache sync.Map // reflect.Type to map[string]jsonName

// jsonNames returns the fields of a struct by their JSON names and by the snake_case of these, as the Python client
// has them. Embedded structs without a name of their own count as part of it.
func jsonNames(t reflect.Type) map[string]jsonName {
	if cached, ok := jsonNameCache.Load(t); ok {
		return cached.(map[string]jsonName)
	}
	names := map[string]jsonName{}
	addJSONNames(names, t, nil)
	jsonNameCache.Store(t, names)
	return names
}

func addJSONNames(names map[string]jsonName, t reflect.Type, parent []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(slices.Clone(parent), i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case tag == "-":
		case tag == "" && f.Anonymous && f.Type.Kind() == reflect.Struct:
			addJSONNames(names, f.Type, index)
		case tag != "":
			n := jsonName{json: tag, index: index}
			names[tag] = n
			names[snakeCase(tag)] = n
		}
	}
}

// snakeCase writes hostIPC as host_ipc and setHostnameAsFQDN as set_hostname_as_fqdn.
func snakeCase(s string) string {
	var b strings.Builder
	r := []rune(s)
	for i, c := range r {
		if unicode.IsUpper(c) {
			beforeLower := i+1 < len(r) && unicode.IsLower(r[i+1])
			if i > 0 && (unicode.IsLower(r[i-1]) || beforeLower) {
				b.WriteByte('_')
			}
			c = unicode.ToLower(c)
		}
		b.WriteRune(c)
	}
	return b.String()
}
