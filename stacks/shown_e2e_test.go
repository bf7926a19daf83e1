//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/charts"
)

// TestE2EShownValues holds that files of `helm show values`, with the nulls in them as the engine reads them from a
// stack file, change nothing of a stack that is up.
func TestE2EShownValues(t *testing.T) {
	e := newEngine(t)
	change(t, e.configs["local"], "hub.values", "{}")
	change(t, e.configs["local"], "outpost.values", "{}")
	e.save(t, "local")
	e.up(t, "local")
	text, err := os.ReadFile(filepath.Join(projectRoot(t), "infra", "hub", "defaults.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	change(t, e.configs["local"], "outpost.values", charts.OutpostValues)
	e.set(t, "local", "hub.values", string(text))
	if diff := cmp.Diff("", e.preview(t, "local")); diff != "" {
		t.Errorf("steps (-without +with the files):\n%s", diff)
	}
}
