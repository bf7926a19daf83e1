package outpost

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// EnvText is the text that an environment variable gets for a JSON value: what Python's str makes of it, as the Python
// peer fills the environment. Arrays and objects, which no client sends, become JSON without blanks.
func EnvText(raw json.RawMessage) string {
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
		return pythonFloat(f)
	default:
		return text
	}
}

// pythonFloat writes a number as Python does: shortest, with a point, and with an exponent only far from 1.
func pythonFloat(f float64) string {
	if size := math.Abs(f); size != 0 && (size < 1e-4 || size >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}
