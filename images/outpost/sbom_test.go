package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// cycloneDX is the schema of CycloneDX 1.6, which comes with the module that writes the list.
func cycloneDX(t *testing.T) *jsonschema.Schema {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}",
		"github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	var first string
	for _, file := range []string{"bom-1.6.schema.json", "spdx.schema.json", "jsf-0.82.schemax.json"} {
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "schema", file))
		if err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		var about struct {
			ID string `json:"$id"`
		}
		if err := json.Unmarshal(text, &about); err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource(about.ID, document); err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = about.ID
		}
	}
	schema, err := compiler.Compile(first)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestSBOMIsCycloneDX holds that other tools can read the list: that it is of the format that it says.
func TestSBOMIsCycloneDX(t *testing.T) {
	schema := cycloneDX(t)
	list, err := sbom(os.Args[0], "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(text string) error {
		t.Helper()
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(document)
	}
	if err := validate(string(list)); err != nil {
		t.Errorf("%v\n%s", err, list)
	}
	wrong := strings.Replace(string(list), `"type": "application"`, `"type": "program"`, 1)
	if err := validate(wrong); err == nil || !strings.Contains(err.Error(), "/metadata/component/type") {
		t.Errorf("a type that there is not: %v", err)
	}
}
