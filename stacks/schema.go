package main

import (
	_ "embed"
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

// configSchema describes every key of a stack's config; it is also what editors may be given.
//
//go:embed config.schema.json
var configSchema string

var compiledSchema = sync.OnceValue(func() *jsonschema.Schema {
	return schemaAt("config.schema.json")
})

// schemaAt compiles the part of the schema that a URL names.
func schemaAt(url string) *jsonschema.Schema {
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(configSchema))
	if err != nil {
		panic(err) // it is embedded
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("config.schema.json", document); err != nil {
		panic(err)
	}
	return compiler.MustCompile(url)
}

// checkSchema names each key that is unknown, missing or of the wrong type.
func checkSchema(document map[string]any) error {
	text, err := json.Marshal(document)
	if err != nil {
		return err
	}
	instance, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		return err
	}
	err = compiledSchema().Validate(instance)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	var errs []error
	printer := message.NewPrinter(language.English)
	var collect func(*jsonschema.ValidationError)
	collect = func(e *jsonschema.ValidationError) {
		switch k := e.ErrorKind.(type) {
		case *kind.AdditionalProperties:
			known := strings.Join(slices.Sorted(maps.Keys(schemaAt(e.SchemaURL).Properties)), ", ")
			for _, name := range k.Properties {
				errs = append(errs, fmt.Errorf("%s: there is no such key; there are: %s", typed(slices.Concat(e.InstanceLocation, []string{name})), known))
			}
			return
		case *kind.Required:
			for _, name := range k.Missing {
				errs = append(errs, fmt.Errorf("%s is missing", typed(slices.Concat(e.InstanceLocation, []string{name}))))
			}
			return
		case *kind.OneOf: // a rotation word: which of its forms was meant, nobody knows
			errs = append(errs, fmt.Errorf("%s: want a word or a list of words", typed(e.InstanceLocation)))
			return
		}
		if len(e.Causes) == 0 {
			errs = append(errs, fmt.Errorf("%s: %s", typed(e.InstanceLocation), e.ErrorKind.LocalizedString(printer)))
		}
		for _, cause := range e.Causes {
			collect(cause)
		}
	}
	collect(invalid)
	// The validator walks maps in no order.
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// typed is a place in the document as the operator typed it: outposts:outposts[1].exposure.type.
func typed(path []string) string {
	var b strings.Builder
	b.WriteString(project + ":")
	for i, part := range path {
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
