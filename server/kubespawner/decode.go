package kubespawner

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	kjson "sigs.k8s.io/json"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// decodeInto reads one object of an option into a Kubernetes type. Keys of its first level may be camelCase or
// the snake_case of the Python client; any key that the type does not have, at any depth, is a problem. It reports
// whether all values are of the right types; otherwise dst must not be used.
func decodeInto(dst any, object map[string]any, path string, p *options.Problems) bool {
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
		return false
	}
	strict, err := kjson.UnmarshalStrict(data, dst)
	if err != nil {
		text := strings.TrimPrefix(err.Error(), "json: ")
		p.Addf(path, "%s", wrongNumber.ReplaceAllString(text, "cannot unmarshal this number into"))
	}
	for _, e := range strict {
		p.Addf(path, "%v", e)
	}
	return err == nil
}

// wrongNumber is how an error begins that quotes a number, which is not as it was written if it is large.
var wrongNumber = regexp.MustCompile(`cannot unmarshal number \S+ into`)

// decodeList reads a list of objects with decodeInto. Of those that cannot be read, it leaves out what has no name, so
// that no other check finds the same again.
func decodeList[T any](list []any, path string, p *options.Problems) (out []T) {
	for i, e := range list {
		object, ok := e.(map[string]any)
		if !ok {
			p.Addf(path, "element %d must be an object", i)
			continue
		}
		var one T
		_, named := object["name"].(string)
		if decodeInto(&one, object, fmt.Sprintf("%s[%d]", path, i), p) || named {
			out = append(out, one)
		}
	}
	return out
}

// replaceFields sets each key of object, camelCase or snake_case, as a whole field of dst: what was there is
// gone, nothing is merged. Null clears a field. What cannot be read changes nothing.
func replaceFields(dst any, object map[string]any, path string, p *options.Problems) {
	known := jsonNames(reflect.TypeOf(dst).Elem())
	for key, value := range object {
		name, ok := known[key]
		if !ok {
			p.Addf(path, "unknown key %q", quoted(key))
			continue
		}
		field := reflect.ValueOf(dst).Elem().FieldByIndex(name.index)
		before := reflect.New(field.Type()).Elem()
		before.Set(field)
		field.SetZero()
		if value != nil && !decodeInto(dst, map[string]any{name.json: value}, path, p) {
			field.Set(before)
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
