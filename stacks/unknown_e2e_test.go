//go:build e2e

package main

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/outposts-dev/outposts/infra/schema/schematest"
)

// levels counts the maps of a document whose keys are not the operator's to choose.
func levels(document map[string]any) (n int) {
	for _, planted := range schematest.Plant(document) {
		if !isOperators(planted.Level) {
			n++
		}
	}
	return n
}

// TestE2EUnknownKeysInExamples previews each example and committed config with an unknown key at every level at once:
// the engine hands the program what LoadConfig is given in TestUnknownKeysInExamples, and shows all that it refuses.
func TestE2EUnknownKeysInExamples(t *testing.T) {
	e := newEngine(t)
	written := writtenConfigs(t)
	for _, file := range slices.Sorted(maps.Keys(written)) {
		t.Run(strings.TrimPrefix(file, projectRoot(t)), func(t *testing.T) {
			planted := rawConfig(t, schematest.PlantAll(written[file]))
			_, err := LoadConfig(planted, e.dir)
			if err == nil {
				t.Fatal("unknown keys are accepted")
			}
			stack := strings.Split(filepath.Base(file), ".")[1]
			e.configs[stack] = planted
			e.save(t, stack)
			_, refusal := e.try(t, stack, "preview")
			if refusal == nil {
				t.Fatal("the preview succeeds")
			}
			named := 0
			for fault := range strings.Lines(err.Error()) {
				fault = strings.TrimSpace(fault)
				if !strings.Contains(refusal.Error(), fault) {
					t.Errorf("the preview does not say %q", fault)
				}
				if strings.Contains(fault, schematest.UnknownKey) {
					named++
				}
			}
			if want := levels(written[file]); named != want {
				t.Errorf("%d unknown keys are named, want %d in\n%v", named, want, refusal)
			}
		})
	}
}
