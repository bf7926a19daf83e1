//go:build e2e

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// otherPulumiVariable names a folder with another release of Pulumi: its program and its language host for Go.
const otherPulumiVariable = "E2E_PULUMI"

// TestE2EStateOfAnotherRelease holds that a state has the form that every Pulumi from 3.200 on reads, and, given
// another release, that each finds nothing to do where the other has applied a stack.
func TestE2EStateOfAnotherRelease(t *testing.T) {
	e := newEngine(t)
	e.env = append(e.env, "OUTPOSTS_PULUMI=own")
	e.up(t, "local")
	release := e.wrote(t, "local")

	folder := os.Getenv(otherPulumiVariable)
	if folder == "" {
		t.Skip(otherPulumiVariable + " names no folder with another release")
	}
	other := e.by(t, folder)
	if steps := other.preview(t, "local"); steps != "" {
		t.Errorf("the other release, after ours:\n%s", steps)
	}
	e.set(t, "local", "hub.rotation.cookieSecret", `"2"`)
	other.up(t, "local")
	if another := e.wrote(t, "local"); another == release {
		t.Errorf("%s has %s too", folder, another)
	}
	if steps := e.preview(t, "local"); steps != "" {
		t.Errorf("ours, after the other release:\n%s", steps)
	}
}

// wrote is the release of Pulumi that wrote the state of a stack, which has the form that it always has.
func (e *engine) wrote(t *testing.T, stack string) string {
	t.Helper()
	type form struct {
		Version  int
		Features []string
	}
	var state struct {
		form
		Deployment struct{ Manifest struct{ Version string } }
	}
	if err := json.Unmarshal([]byte(e.run(t, stack, "stack", "export")), &state); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(form{Version: 3}, state.form); diff != "" {
		t.Errorf("form of the state (-want +got):\n%s", diff)
	}
	return state.Deployment.Manifest.Version
}

// by is the project with the Pulumi of a folder, and our plugins.
func (e *engine) by(t *testing.T, folder string) *engine {
	t.Helper()
	ours, err := exec.CommandContext(t.Context(), filepath.Join(projectRoot(t), "dev", "cache"), "pulumi").Output()
	if err != nil {
		t.Fatal(err)
	}
	other := *e
	other.env = append(slices.Clone(e.env), "OUTPOSTS_PULUMI=", "PATH="+folder+":"+os.Getenv("PATH"),
		"PULUMI_HOME="+filepath.Join(strings.TrimSpace(string(ours)), "home"), "PULUMI_SKIP_UPDATE_CHECK=true")
	return &other
}
