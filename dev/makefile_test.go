package dev

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// keeper runs make's targets for the keys of a stack, with a Pulumi whose stack has the state "state".
type keeper struct{ file, state, pulumi string }

func newKeeper(t *testing.T) keeper {
	t.Helper()
	folder := t.TempDir()
	k := keeper{
		file: filepath.Join(folder, "local.keys.json"), state: filepath.Join(folder, "state"),
		pulumi: filepath.Join(folder, "pulumi"),
	}
	k.exports(t, "echo state")
	write(t, filepath.Join(k.state, "bin", "stacks"),
		"#!/bin/bash\nread -r state; [ \"$state\" = state ] && echo keys\n")
	return k
}

// exports says what `pulumi stack export` does, in shell.
func (k keeper) exports(t *testing.T, lines string) {
	t.Helper()
	write(t, k.pulumi, "#!/bin/bash\nif [ \"$1 $2\" = 'stack export' ]; then\n"+lines+"\nfi\n")
}

// make returns what make says of a target, and whether it succeeded. It builds nothing.
func (k keeper) make(t *testing.T, target string, args ...string) (string, bool) {
	t.Helper()
	run := exec.Command("make", append([]string{
		"-C", "..", "-o", "stacks", target, "STACK=local", "STATE=" + k.state, "PULUMI=" + k.pulumi, "FILE=" + k.file,
	}, args...)...)
	out, err := run.CombinedOutput()
	return string(out), err == nil
}

// left are the files beside that of the keys, with their texts.
func (k keeper) left(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(k.file + "*")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(file)] = string(text)
	}
	return texts
}

// TestExportKeys holds that the state, which has more than the keys, is left nowhere, also after a failure.
func TestExportKeys(t *testing.T) {
	k := newKeeper(t)
	if out, ok := k.make(t, "export-keys"); !ok {
		t.Fatal(out)
	}
	keys := map[string]string{"local.keys.json": "keys\n"}
	if diff := cmp.Diff(keys, k.left(t)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for _, lines := range []string{"echo half; exit 3", "echo another"} {
		k.exports(t, lines)
		out, ok := k.make(t, "export-keys")
		if diff := cmp.Diff(keys, k.left(t)); diff != "" || ok {
			t.Errorf("export that does %q: success %t, %s; files (-want +got):\n%s", lines, ok, out, diff)
		}
	}
	if out, ok := k.make(t, "export-keys", "FILE="); ok || !strings.Contains(out, "usage: make export-keys STACK=") {
		t.Errorf("without a file: success %t, %s", ok, out)
	}
}

// TestImportKeys holds that a second import keeps the state that the first one replaced.
func TestImportKeys(t *testing.T) {
	k := newKeeper(t)
	if out, ok := k.make(t, "import-keys"); ok || !strings.Contains(out, "does not exist or is empty") {
		t.Errorf("without keys: success %t, %s", ok, out)
	}
	write(t, k.file, "keys\n")
	k.exports(t, "echo half; exit 3")
	if out, ok := k.make(t, "import-keys"); ok {
		t.Errorf("accepted an export that failed: %s", out)
	}
	k.exports(t, "echo state")
	if out, ok := k.make(t, "import-keys"); !ok {
		t.Fatal(out)
	}
	k.exports(t, "echo keys")
	if out, ok := k.make(t, "import-keys"); ok || !strings.Contains(out, "Move it away first") {
		t.Errorf("again: success %t, %s", ok, out)
	}
	want := map[string]string{"local.keys.json": "keys\n", "local.keys.json.replaced": "state\n"}
	if diff := cmp.Diff(want, k.left(t)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}
