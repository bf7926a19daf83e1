// Package python writes values as Python does: rows of the Python outpost and messages that users know have that form.
// It also renders Python's format strings, as far as names of servers need them, and tells what is false to Python.
package python

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// Str is what Python's str makes of a JSON value: the text that an environment variable gets for it (protocol 1.6).
// Arrays and objects, which no client sends, become JSON without blanks.
func Str(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	switch text := string(raw); {
	case text == "" || text == "null":
		return "None"
	case text == "true":
		return "True"
	case text == "false":
		return "False"
	case raw[0] == '"':
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return s
		}
		return text
	case raw[0] == '[' || raw[0] == '{':
		var b bytes.Buffer
		if json.Compact(&b, raw) == nil {
			return b.String()
		}
		return text
	case strings.ContainsAny(text, ".eE"):
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return text
		}
		return float(f)
	default:
		return text
	}
}

// float is the shortest form of a number, with a point, and with an exponent only far from 1.
func float(f float64) string {
	if size := math.Abs(f); size != 0 && (size < 1e-4 || size >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// Repr is what Python's repr makes of a string.
func Repr(s string) string {
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		return `"` + inDoubleQuotes.Replace(s) + `"`
	}
	return "'" + inSingleQuotes.Replace(s) + "'"
}

// A replacer is made once: it takes some KiB.
var inSingleQuotes, inDoubleQuotes = escaper("'"), escaper(`"`)

func escaper(quote string) *strings.Replacer {
	return strings.NewReplacer(`\`, `\\`, quote, `\`+quote, "\n", `\n`, "\r", `\r`, "\t", `\t`)
}

// IsFalse reports whether a decoded JSON value is false to Python.
func IsFalse(v any) bool {
	switch v := reflect.ValueOf(v); v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() == 0
	default:
		return !v.IsValid() || v.IsZero()
	}
}
