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

// A kind checks the value of an option (canonical JSON) and returns it in the one form that the rest of the package
// reads. Its error says what the value must be, without the option's name.
type kind func(v any) (any, error)

// maxSeconds bounds options in seconds: a year.
const maxSeconds = 366 * 24 * 3600

func mustBe(what string, v any) error { return fmt.Errorf("must be %s, not %s", what, typeName(v)) }

// nullable accepts null for "not set".
func nullable(k kind) kind {
	return func(v any) (any, error) {
		if v == nil {
			return nil, nil
		}
		return k(v)
	}
}

// pythonOnly is for options that can only be Python functions.
func pythonOnly(v any) (any, error) {
	if v != nil {
		return nil, errors.New("must be a Python function, which an outpost cannot call")
	}
	return nil, nil
}

// of accepts values of one JSON type.
func of[T any](what string) kind {
	return func(v any) (any, error) {
		if t, ok := v.(T); ok {
			return t, nil
		}
		return nil, mustBe(what, v)
	}
}

var (
	str     = of[string]("a string")
	boolean = of[bool]("true or false")
	integer = of[int64]("an integer") // KubeSpawner's takes true for 1
	object  = of[map[string]any]("an object")
	mapping = of[map[string]any]("a map")
)

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
		return nil, mustBe("a string", v)
	case !strings.HasPrefix(s, "/") || !strings.HasSuffix(s, "/"):
		return nil, errors.New("must begin and end with /")
	}
	return s, nil
}

// listOf is a list of elements of one kind; plural names them.
func listOf(plural string, element kind) kind {
	return func(v any) (any, error) {
		list, ok := v.([]any)
		if !ok {
			return nil, mustBe("a list of "+plural, v)
		}
		out := make([]any, len(list))
		var faults faults
		for i, e := range list {
			checked, err := element(e)
			if err != nil {
				faults.addf("element %d %v", i, err)
			}
			out[i] = checked
		}
		return out, faults.err()
	}
}

// faults are what is wrong with the parts of a value, the first few.
type faults []string

const maxFaults = 10

func (f *faults) addf(format string, args ...any) {
	if len(*f) < maxFaults {
		*f = append(*f, fmt.Sprintf(format, args...))
	}
}

func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return errors.New(strings.Join(f, "; "))
}

// mapOf is a map whose values are of one kind.
func mapOf(value kind) kind {
	return func(v any) (any, error) {
		m, err := mapping(v)
		if err != nil {
			return nil, err
		}
		out := map[string]any{}
		var faults faults
		for _, name := range slices.Sorted(maps.Keys(m.(map[string]any))) {
			if out[name], err = value(m.(map[string]any)[name]); err != nil {
				faults.addf("the value of %q %v", name, err)
			}
		}
		return out, faults.err()
	}
}

// oneOrMore takes a single string for a list of one; it is never split.
func oneOrMore(list kind) kind {
	return func(v any) (any, error) {
		if s, ok := v.(string); ok {
			v = []any{s}
		}
		return list(v)
	}
}

var (
	stringList  = oneOrMore(listOf("strings", str))
	integerList = listOf("integers", integer)
	pullSecrets = oneOrMore(listOf("names", pullSecret))
	stringMap   = mapOf(str) // for labels, annotations and selectors
	environment = mapOf(variable)
	quantities  = mapOf(quantity)
)

// variable is a string, an EnvVar object, or null for a variable without a value.
func variable(v any) (any, error) {
	switch v.(type) {
	case string, map[string]any, nil:
		return v, nil
	}
	return nil, mustBe("a string or an object", v)
}

// pullSecret is a name or {name: ...}.
func pullSecret(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return map[string]any{"name": v}, nil
	case map[string]any:
		return v, nil
	}
	return nil, mustBe("a name or {name: ...}", v)
}

// quantity is a Kubernetes quantity, as a string or a number.
func quantity(v any) (any, error) {
	q := fmt.Sprint(v)
	switch n := v.(type) {
	case string, int64:
	case float64:
		q = strconv.FormatFloat(n, 'f', -1, 64)
	default:
		return nil, mustBe("a quantity", v)
	}
	if _, err := resource.ParseQuantity(q); err != nil {
		return nil, errors.New("must be a quantity such as 2, 500m or 4Gi")
	}
	return q, nil
}

// objectList is a list of objects, or a map of them whose values form the list, in the order of its keys. A map stays
// a map until all layers are merged.
func objectList(v any) (any, error) {
	list := v
	if m, ok := v.(map[string]any); ok {
		list = sortedValues(m)
	}
	if _, ok := list.([]any); !ok {
		return nil, mustBe("a list or a map of objects", v)
	}
	if _, err := listOf("objects", object)(list); err != nil {
		return nil, err
	}
	return v, nil
}

// sortedValues returns the values of m by plain string order of the keys, so "10" comes before "9".
func sortedValues(m map[string]any) []any {
	out := make([]any, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

var cpuPattern = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,9})?m?$`)

// cpu is a number of cores or, unlike KubeSpawner's, a quantity: "500m", "2". Null and 0 are not set.
func cpu(v any) (any, error) {
	var cores float64
	switch n := v.(type) {
	case int64:
		cores = float64(n)
	case float64:
		cores = n
	case string:
		if !cpuPattern.MatchString(n) {
			return nil, errors.New(`must be a number of cores such as 1.5 or "500m"`)
		}
		digits, milli := strings.CutSuffix(n, "m")
		cores, _ = strconv.ParseFloat(digits, 64) // what the pattern matches parses
		if milli {
			cores /= 1000
		}
	default:
		return nil, mustBe("a number of cores", v)
	}
	if cores < 0 || cores > math.MaxInt32 {
		return nil, errors.New("must be a number of cores, 0 or more")
	}
	return cores, nil
}

var memoryPattern = regexp.MustCompile(`^([0-9]{1,18}(?:\.[0-9]{1,9})?)([KMGTPE]i|[KMGT])$`)

// memory is a number of bytes or a string with K, M, G or T, all powers of 1024, or, unlike KubeSpawner's, with one of
// Kubernetes' binary suffixes: "1Gi". Strings without a suffix or with another one ("512", "1k", "1GB") are refused,
// because people mean different things by them; so are KubeSpawner's "1 G", "-1G" and "1e3M".
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
		m := memoryPattern.FindStringSubmatch(n)
		if m == nil {
			return nil, errors.New(`must be a number of bytes or a string such as "512M", "1.5G" or "2Gi"`)
		}
		bytes, _ = strconv.ParseFloat(m[1], 64) // what the pattern matches parses
		bytes *= math.Pow(1024, float64(1+strings.IndexByte("KMGTPE", m[2][0])))
	default:
		return nil, mustBe("a number of bytes or a string", v)
	}
	if bytes < 0 || bytes >= math.MaxInt64 || math.IsNaN(bytes) {
		return nil, errors.New("is out of range")
	}
	return int64(bytes), nil
}
