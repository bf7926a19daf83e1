// Package schema holds a document to a JSON schema and says in words what is wrong with it, each fault by the path of its
// key: stack config and the values of charts are checked alike.
package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// address is what the compiler calls the schema; it is fetched from nowhere.
const address = "schema.json"

// Schema is a JSON schema. It may be used by several goroutines.
type Schema struct {
	text     string
	compiled func() *jsonschema.Schema
}

// Parse takes the text of a schema, which the program brings along: a wrong one panics at its first use. The title of a
// part, "a word or a list of words", says what is wanted where a pattern or a choice of forms is not met.
func Parse(text string) *Schema {
	s := &Schema{text: text}
	s.compiled = sync.OnceValue(func() *jsonschema.Schema { return s.compiler().MustCompile(address) })
	return s
}

func (s *Schema) compiler() *jsonschema.Compiler {
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(s.text))
	if err != nil {
		panic(err) // it is embedded
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(address, document); err != nil {
		panic(err)
	}
	return compiler
}

// Has tells whether the schema describes a key of the document itself.
func (s *Schema) Has(key string) bool { return s.compiled().Properties[key] != nil }

// Fault is one thing that is wrong with a document.
type Fault struct {
	// Path leads to the key: keys of maps, and indexes of lists. Empty for the document itself.
	Path []string
	// Text says what is wrong with it; empty if it is missing.
	Text string
}

// Missing tells whether the fault is that the key is not there.
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

// Key is the path as one types it: "a.b[1].c".
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

// Below is the fault of a document that is itself at a place of another one.
func (f Fault) Below(path ...string) Fault {
	return Fault{Path: slices.Concat(path, f.Path), Text: f.Text}
}

// Check finds all faults of a document, in the order of their keys. The document is anything that has a form in JSON; that
// it has none is a fault too.
func (s *Schema) Check(document any) []Fault {
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
	w := walk{compiler: s.compiler(), printer: message.NewPrinter(language.English)}
	w.collect(invalid)
	// The validator walks maps in no order.
	slices.SortFunc(w.faults, func(a, b Fault) int { return strings.Compare(a.Error(), b.Error()) })
	return w.faults
}

// walk collects the faults in what the validator found.
type walk struct {
	compiler *jsonschema.Compiler
	printer  *message.Printer
	faults   []Fault
}

func (w *walk) add(at []string, text string) {
	w.faults = append(w.faults, Fault{Path: at, Text: text})
}

func (w *walk) collect(e *jsonschema.ValidationError) {
	at := e.InstanceLocation
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		text := "there is no such key"
		if known := w.compiler.MustCompile(e.SchemaURL).Properties; len(known) > 0 {
			text += "; there are: " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")
		}
		for _, name := range k.Properties {
			w.add(slices.Concat(at, []string{name}), text)
		}
		return
	case *kind.Required:
		for _, name := range k.Missing {
			w.add(slices.Concat(at, []string{name}), "")
		}
		return
	case *kind.PropertyNames: // where it is, the validator does not keep: others write over it
		w.add(nil, fmt.Sprintf("no key may be called %q", k.Property))
		return
	case *kind.OneOf, *kind.AnyOf: // which of the forms was meant, nobody knows
		text := "has none of the forms that it may have"
		if title := w.compiler.MustCompile(e.SchemaURL).Title; title != "" {
			text = "want " + title
		}
		w.add(at, text)
		return
	case *kind.Pattern: // not what it is: it may be a password
		text := "does not match " + k.Want
		if title := w.compiler.MustCompile(e.SchemaURL).Title; title != "" {
			text = "want " + title
		}
		w.add(at, text)
		return
	}
	if len(e.Causes) == 0 {
		w.add(at, e.ErrorKind.LocalizedString(w.printer))
	}
	for _, cause := range e.Causes {
		w.collect(cause)
	}
}
