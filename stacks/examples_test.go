package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestExamples holds that the documented examples are sound, and that the one by node ports says what the local
// clusters use.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(projectRoot(t), "docs", "examples", "*", "Pulumi.*.yaml"))
	if err != nil || len(files) != 4 {
		t.Fatalf("examples: %v, %v; want 4", files, err)
	}
	configs := map[string]Config{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		config, err := LoadConfig(configFrom(t, string(text)), "/")
		if err != nil {
			t.Errorf("%s:\n%v", file, err)
		}
		configs[filepath.Base(filepath.Dir(file))+" "+filepath.Base(file)] = config
	}
	committed, err := LoadConfig(committedConfig(t, "local"), "/")
	if err != nil {
		t.Fatal(err)
	}
	example := configs["nodeport Pulumi.local.yaml"]
	if diff := cmp.Diff(committed.Outposts[1].Exposure, example.Outposts[1].Exposure); diff != "" {
		t.Errorf("exposure by node ports (-committed +example):\n%s", diff)
	}
}
