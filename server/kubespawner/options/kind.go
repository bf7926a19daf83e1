package options

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// A kind checks the value of an option (canonical JSON) and returns it in the one form that the rest of the
// package reads. The error says what it must be, without the option's name.
type kind func(v any) (any, error)

// maxSeconds limits what is given in seconds: a year.
const maxSeconds = 366 * 24 * 3600

func mustBe(what string, v any) error { return fmt.Errorf("must be %s, not %s", what, typeName(v)) }

// nullable lets null through: not set.
func nullable(k kind) kind {
	return func(v any) (any, error) {
		if v == nil {
			return nil, nil
		}
		return k(v)
	}
}

// nothing is for options that can only be Python functions.
func nothing(v any) (any, error) {
	if v != nil {
		return nil, errors.New("can only be a Python function there and is not possible here")
	}
	return nil, nil
}

func text(v any) (any, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	return nil, mustBe("a text", v)
}

func boolean(v any) (any, error) {
	if b, ok := v.(bool); ok {
		return b, nil
	}
	return nil, mustBe("true or false", v)
}

// integer differs from the peer's, which takes true for 1.
func integer(v any) (any, error) {
	if n, ok := v.(int64); ok {
		return n, nil
	}
	return nil, mustBe("a whole number", v)
}

func integerIn(low, high int64) kind {
	return func(v any) (any, error) {
		n, err := integer(v)
		if err == nil && (n.(int64) < low || n.(int64) > high) {
			return nil, fmt.Errorf("must be from %d to %d", low, high)
		}
		return n, err
	}
}

func oneOf(words ...string) kind {
	return func(v any) (any, error) {
		if s, ok := v.(string); ok && slices.Contains(words, s) {
			return s, nil
		}
		return nil, fmt.Errorf("must be one of %s", strings.Join(words, ", "))
	}
}

// folder is a path that is put before file names.
func folder(v any) (any, error) {
	s, ok := v.(string)
	switch {
	case !ok:
		return nil, mustBe("a text", v)
	case !strings.HasPrefix(s, "/") || !strings.HasSuffix(s, "/"):
		return nil, errors.New("must begin and end with /")
	}
	return s, nil
}

// textList takes one text for a list of one; it is never split.
func textList(v any) (any, error) {
	if s, ok := v.(string); ok {
		return []any{s}, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, mustBe("a list of texts", v)
	}
	for i, e := range list {
		if _, ok := e.(string); !ok {
			return nil, fmt.Errorf("element %d %w", i, mustBe("a text", e))
		}
	}
	return list, nil
}

func integerList(v any) (any, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, mustBe("a list of whole numbers", v)
	}
	for i, e := range list {
		if _, ok := e.(int64); !ok {
			return nil, fmt.Errorf("element %d %w", i, mustBe("a whole number", e))
		}
	}
	return list, nil
}

func mapping(v any) (any, error) {
	if m, ok := v.(map[string]any); ok {
		return m, nil
	}
	return nil, mustBe("a map", v)
}

// textMap is for labels, annotations and selectors.
func textMap(v any) (any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, mustBe("a map", v)
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if _, ok := m[k].(string); !ok {
			return nil, fmt.Errorf("the value of %q %w", k, mustBe("a text", m[k]))
		}
	}
	return m, nil
}

// environment takes texts, EnvVar objects, and null for a variable without a value.
func environment(v any) (any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, mustBe("a map", v)
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		switch m[k].(type) {
		case string, map[string]any, nil:
		default:
			return nil, fmt.Errorf("the value of %q %w", k, mustBe("a text or an object", m[k]))
		}
	}
	return m, nil
}

// pullSecrets takes names and {name: ...}, or one name.
func pullSecrets(v any) (any, error) {
	if s, ok := v.(string); ok {
		v = []any{s}
	}
	list, ok := v.([]any)
	if !ok {
		return nil, mustBe("a list of names", v)
	}
	out := make([]any, 0, len(list))
	for i, e := range list {
		switch e := e.(type) {
		case string:
			out = append(out, map[string]any{"name": e})
		case map[string]any:
			out = append(out, e)
		default:
			return nil, fmt.Errorf("element %d %w", i, mustBe("a name or {name: ...}", e))
		}
	}
	return out, nil
}

// objectList takes a list of objects, or a map of them of which the values count, in the order of its keys. A
// map stays a map until all layers are merged.
func objectList(v any) (any, error) {
	var elements []any
	switch v := v.(type) {
	case []any:
		elements = v
	case map[string]any:
		elements = sortedValues(v)
	default:
		return nil, mustBe("a list or a map of objects", v)
	}
	for i, e := range elements {
		if _, ok := e.(map[string]any); !ok {
			return nil, fmt.Errorf("element %d %w", i, mustBe("an object", e))
		}
	}
	return v, nil
}

// profileList is objectList; what is inside is checked where profiles are read.
func profileList(v any) (any, error) { return objectList(v) }

// sortedValues returns the values of m by plain string order of the keys, so "10" comes before "9".
func sortedValues(m map[string]any) []any {
	out := make([]any, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

// quantities takes Kubernetes quantities, as text or number.
func quantities(v any) (any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, mustBe("a map", v)
	}
	out := make(map[string]any, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		q := fmt.Sprint(m[k])
		switch n := m[k].(type) {
		case string, int64:
		case float64:
			q = strconv.FormatFloat(n, 'f', -1, 64)
		default:
			return nil, fmt.Errorf("the value of %q %w", k, mustBe("a quantity", m[k]))
		}
		if _, err := resource.ParseQuantity(q); err != nil {
			return nil, fmt.Errorf("the value of %q must be a quantity such as 2 or 500m or 4Gi", k)
		}
		out[k] = q
	}
	return out, nil
}

var cpuText = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,9})?m?$`)

// cpu takes cores as a number and, unlike the peer, as a quantity: "500m", "2". Null and 0 are not set.
func cpu(v any) (any, error) {
	var cores float64
	switch n := v.(type) {
	case int64:
		cores = float64(n)
	case float64:
		cores = n
	case string:
		if !cpuText.MatchString(n) {
			return nil, errors.New(`must be a number of cores such as 1.5 or "500m"`)
		}
		digits, milli := strings.CutSuffix(n, "m")
		cores, _ = strconv.ParseFloat(digits, 64) // the pattern leaves nothing that can fail
		if milli {
			cores /= 1000
		}
	default:
		return nil, mustBe("a number of cores", v)
	}
	if cores < 0 || cores > math.MaxInt32 {
		return nil, errors.New("must be a number of cores that is not negative")
	}
	return cores, nil
}

var memoryText = regexp.MustCompile(`^([0-9]{1,18}(?:\.[0-9]{1,9})?)([KMGTPE]i|[KMGT])$`)

// memory takes bytes as a number and texts with K, M, G or T, all powers of 1024, and unlike the peer
// Kubernetes' binary suffixes: "1Gi". Texts without a suffix and with others ("512", "1k", "1GB") stay refused,
// because people mean different things by them; so are the peer's "1 G", "-1G" and "1e3M".
func memory(v any) (any, error) {
	var bytes float64
	switch n := v.(type) {
	case int64:
		if n < 0 {
			return nil, errors.New("must not be negative")
		}
		return n, nil
	case float64:
		bytes = n
	case string:
		m := memoryText.FindStringSubmatch(n)
		if m == nil {
			return nil, errors.New(`must be bytes as a number, or a text such as "512M", "1.5G" or "2Gi"`)
		}
		bytes, _ = strconv.ParseFloat(m[1], 64) // the pattern leaves nothing that can fail
		bytes *= math.Pow(1024, float64(1+strings.IndexByte("KMGTPE", m[2][0])))
	default:
		return nil, mustBe("bytes or a text", v)
	}
	if bytes < 0 || bytes >= math.MaxInt64 || math.IsNaN(bytes) {
		return nil, errors.New("is out of range")
	}
	return int64(bytes), nil
}
