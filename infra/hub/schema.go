package hub

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// schemaText is values.schema.json of chart 4.4.0 (ChartVersion), as it is in the chart. It is data of the
// zero-to-jupyterhub project (BSD 3-clause), used to say what is wrong with values before anything is applied.
//
//go:embed values.schema.json
var schemaText string

var schema = sync.OnceValue(func() *jsonschema.Schema {
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(schemaText))
	if err != nil {
		panic(err) // it is embedded
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("values.schema.json", document); err != nil {
		panic(err)
	}
	return compiler.MustCompile("values.schema.json")
})

// checkValues holds values to the chart's schema and names each wrong one.
func checkValues(values map[string]any) error {
	text, err := json.Marshal(values)
	if err != nil {
		return fmt.Errorf("values of the hub's chart: %w", err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		return fmt.Errorf("values of the hub's chart: %w", err)
	}
	err = schema().Validate(document)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	var errs []error
	printer := message.NewPrinter(language.English)
	var collect func(*jsonschema.ValidationError)
	collect = func(e *jsonschema.ValidationError) {
		switch e.ErrorKind.(type) {
		case *kind.Required:
			return // the chart's own values have it
		case *kind.OneOf, *kind.AnyOf:
			errs = append(errs, fmt.Errorf("hub.values: %s: has none of the forms that it may have", strings.Join(e.InstanceLocation, ".")))
			return
		}
		if len(e.Causes) == 0 {
			errs = append(errs, fmt.Errorf("hub.values: %s: %s", strings.Join(e.InstanceLocation, "."), e.ErrorKind.LocalizedString(printer)))
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
