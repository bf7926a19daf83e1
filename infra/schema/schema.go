// Package schema checks a document against a JSON schema and says in words what is wrong with it, each fault by the
// path of its key: stack config and the values of charts are checked alike.
package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// address is the name of the schema in the compiler; nothing is fetched from it.
const address = "schema.json"

// Schema is a JSON schema. It is safe for concurrent use.
type Schema struct {
	compiled func() *jsonschema.Schema
	mu       sync.Mutex // over compiler
	compiler func() *jsonschema.Compiler
}

// Format is a value of the keyword "format" in a schema: what a pattern cannot say of a string.
type Format struct {
	Name string
	// Validate returns what is wrong with a string, such as "is not a Fernet key". The text follows the key and ": ".
	Validate func(text string) error
}

// Parse takes the text of a schema that is part of the program: an invalid one panics at its first use. The title of a
// part, "a word or a list of words", says what is wanted where a type, a pattern or a choice of forms is not met.
func Parse(text string, formats ...Format) *Schema {
	s := &Schema{compiler: sync.OnceValue(func() *jsonschema.Compiler { return newCompiler(text, formats) })}
	s.compiled = sync.OnceValue(func() *jsonschema.Schema { return s.part(address) })
	return s
}

func newCompiler(text string, formats []Format) *jsonschema.Compiler {
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		panic(err) // it is embedded
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(address, document); err != nil {
		panic(err)
	}
	for _, format := range formats {
		compiler.AssertFormat()
		compiler.RegisterFormat(&jsonschema.Format{Name: format.Name, Validate: func(v any) error {
			if text, isText := v.(string); isText {
				return format.Validate(text)
			}
			return nil
		}})
	}
	return compiler
}

// part returns the part of the schema at a URL, as faults have it. The compiler keeps each part once it has compiled
// it: to compile those of a chart's schema takes most of the time that a check does.
func (s *Schema) part(url string) *jsonschema.Schema {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.compiler().MustCompile(url)
}

// Has reports whether the schema describes a key of the document itself.
func (s *Schema) Has(key string) bool { return s.compiled().Properties[key] != nil }

// Fault is one thing that is wrong with a document.
type Fault struct {
	// Path leads to the key: keys of maps, and indexes of lists. Empty for the document itself.
	Path []string
	// Text says what is wrong with it; empty if it is missing.
	Text string
}

// Faults are what is wrong with a document, as it is found.
type Faults []Fault

// Add adds what is wrong with a key of the document itself; without text the key is missing.
func (f *Faults) Add(key, format string, args ...any) {
	*f = append(*f, Fault{Path: []string{key}, Text: fmt.Sprintf(format, args...)})
}

// Missing reports whether the fault is that the key is absent.
func (f Fault) Missing() bool { return f.Text == "" }

// Error is the fault by its key: "a.b[1].c: got string, want integer".
func (f Fault) Error() string {
	if f.Missing() {
		return f.Key() + " is missing"
	}
	if len(f.Path) == 0 {
		return f.Text
	}
	return f.Key() + ": " + f.Text
}

// Key is the path as it is typed: "a.b[1].c".
func (f Fault) Key() string {
	var b strings.Builder
	for i, part := range f.Path {
		switch {
		case i > 0 && strings.Trim(part, "0123456789") == "" && part != "":
			b.WriteString("[" + part + "]")
		case i > 0:
			b.WriteString("." + part)
		default:
			b.WriteString(part)
		}
	}
	return b.String()
}

// Below returns the fault of a document that is itself a part of another one, at a path of that.
func (f Fault) Below(path ...string) Fault {
	return Fault{Path: slices.Concat(path, f.Path), Text: f.Text}
}

// Check finds all faults of a document, in the order of their keys. The document is anything that JSON can express;
// anything else is a fault.
func (s *Schema) Check(document any) []Fault { return s.check(document, false) }

// CheckValues is Check for values that are laid over those of a chart: null may stand for anything, since it takes away
// what the chart has there.
func (s *Schema) CheckValues(document map[string]any) []Fault { return s.check(document, true) }

func (s *Schema) check(document any, nulls bool) []Fault {
	text, err := json.Marshal(document)
	if err != nil {
		return []Fault{{Text: err.Error()}}
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return []Fault{{Text: err.Error()}}
	}
	err = s.compiled().Validate(instance)
	var invalid *jsonschema.ValidationError
	if err != nil && !errors.As(err, &invalid) {
		return []Fault{{Text: err.Error()}}
	}
	if invalid == nil {
		return nil
	}
	w := walk{
		schema: s, instance: instance, nulls: nulls, printer: message.NewPrinter(language.English),
	}
	w.collect(invalid)
	// The validator walks maps in no order.
	slices.SortFunc(w.faults, func(a, b Fault) int { return strings.Compare(a.Error(), b.Error()) })
	return w.faults
}

// isNull reports whether there is a null at a path of a document.
func isNull(document any, path []string) bool {
	for _, part := range path {
		switch v := document.(type) {
		case map[string]any:
			document = v[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i >= len(v) {
				return false
			}
			document = v[i]
		default:
			return false
		}
	}
	return document == nil
}

// walk collects the faults in what the validator found.
type walk struct {
	schema   *Schema
	instance any
	nulls    bool // null may stand for anything
	printer  *message.Printer
	faults   []Fault
}

func (w *walk) add(at []string, text string) {
	w.faults = append(w.faults, Fault{Path: at, Text: text})
}

func (w *walk) collect(e *jsonschema.ValidationError) {
	at := e.InstanceLocation
	if w.nulls && isNull(w.instance, at) {
		return
	}
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		text := "unknown key"
		if known := w.schema.part(e.SchemaURL).Properties; len(known) > 0 {
			text += "; known keys: " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")
		}
		for _, name := range k.Properties {
			w.add(slices.Concat(at, []string{name}), text)
		}
	case *kind.Required:
		for _, name := range k.Missing {
			w.add(slices.Concat(at, []string{name}), "")
		}
	case *kind.PropertyNames: // without its place, which the validator does not keep
		w.add(nil, fmt.Sprintf("%q is not an accepted name of a key", k.Property))
	case *kind.OneOf, *kind.AnyOf: // which of the forms was meant is unknown
		w.add(at, w.wanted(e, "matches none of the accepted forms"))
	case *kind.Type, *kind.MaxLength:
		w.add(at, w.wanted(e, k.LocalizedString(w.printer)))
	case *kind.Pattern: // without the value, which may be a password
		w.add(at, w.wanted(e, "does not match "+k.Want))
	case *kind.Format:
		w.add(at, k.Err.Error())
	case *kind.UniqueItems: // without the value, likewise
		w.add(slices.Concat(at, []string{strconv.Itoa(k.Duplicates[1])}), "is listed twice")
	default:
		if len(e.Causes) == 0 {
			w.add(at, k.LocalizedString(w.printer))
		}
		for _, cause := range e.Causes {
			w.collect(cause)
		}
	}
}

// wanted is what the title of the schema says is wanted; without a title, another text.
func (w *walk) wanted(e *jsonschema.ValidationError, other string) string {
	if title := w.schema.part(e.SchemaURL).Title; title != "" {
		return "want " + title
	}
	return other
}
