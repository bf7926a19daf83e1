package values

import (
	"fmt"
	"reflect"
	"strconv"
)

// Plain returns a document as plain values of YAML: map[string]any, []any, string, bool, int64, uint64, float64 and
// nil. Whatever else Go calls a map, a list, a string or a number becomes one of these. An error names the place of
// what can be none of them, such as an output of Pulumi: a chart must be given what is known before anything is made.
func Plain(document map[string]any) (map[string]any, error) {
	if document == nil {
		return nil, nil
	}
	made, err := plain(reflect.ValueOf(document), "")
	if err != nil {
		return nil, err
	}
	return made.(map[string]any), nil
}

func plain(v reflect.Value, at string) (any, error) {
	switch v.Kind() {
	case reflect.Invalid:
		return nil, nil
	case reflect.Interface, reflect.Pointer:
		return plain(v.Elem(), at)
	case reflect.Map:
		return plainMap(v, at)
	case reflect.Slice, reflect.Array:
		made := make([]any, v.Len())
		for i := range made {
			var err error
			if made[i], err = plain(v.Index(i), at+"["+strconv.Itoa(i)+"]"); err != nil {
				return nil, err
			}
		}
		return made, nil
	case reflect.String:
		return v.String(), nil
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.Float32, reflect.Float64:
		return v.Float(), nil
	default:
		switch {
		case v.CanInt():
			return v.Int(), nil
		case v.CanUint():
			return v.Uint(), nil
		}
		return nil, fmt.Errorf("%s: a %s is not a value of YAML; give a plain value", at, v.Type())
	}
}

func plainMap(v reflect.Value, at string) (any, error) {
	if v.Type().Key().Kind() != reflect.String {
		return nil, fmt.Errorf("%s: keys of a %s are not strings", at, v.Type())
	}
	if v.IsNil() {
		return nil, nil
	}
	made := map[string]any{}
	for key, value := range v.Seq2() {
		below := key.String()
		if at != "" {
			below = at + "." + below
		}
		one, err := plain(value, below)
		if err != nil {
			return nil, err
		}
		made[key.String()] = one
	}
	return made, nil
}
