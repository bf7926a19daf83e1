//go:build e2e

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/infra/infratest"
)

// TestE2EMove holds that a hub comes to another cluster, and to another backend, with its keys alone: every secret is
// the one from before, and the stack of an outpost has nothing to do.
func TestE2EMove(t *testing.T) {
	const first = "11111111-2222-3333-4444-555555555555" // of testWorld
	const second = "99999999-8888-7777-6666-555555555555"
	e := newEngine(t)
	for _, stack := range []string{"local", "remote"} {
		e.up(t, stack)
		e.needs(t, stack)
	}
	before := e.secrets(t, "local")
	exported := e.run(t, "local", "stack", "export")
	var keys bytes.Buffer
	if err := writeKeys(strings.NewReader(exported), &keys); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"loginPassword", "verifyToken"} {
		text := strings.TrimSpace(e.run(t, "local", "stack", "output", "--show-secrets", secret))
		if text == "" || strings.Contains(keys.String(), text) {
			t.Errorf("%s is in clear in the keys", secret)
		}
	}
	file := filepath.Join(e.dir, "keys.json")
	if err := os.WriteFile(file, keys.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	e.run(t, "local", "stack", "rm", "--yes", "--force", "--preserve-config")
	e.run(t, "local", "stack", "init")
	e.save(t, "local")
	e.run(t, "local", "stack", "import", "--file", file)

	there := *e
	there.env = append(e.env, clusterVariable+"="+second)
	want := "its namespace kube-system has uid " + second + ", this stack was made in " + first
	if _, err := there.try(t, "local", "preview"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("without cluster.adopt: %v, want %s", err, want)
	}
	there.set(t, "local", "cluster.adopt", second)
	text := "== from keys: local\n" + there.preview(t, "local")
	there.up(t, "local")
	if diff := cmp.Diff(before, there.secrets(t, "local")); diff != "" {
		t.Errorf("secrets (-before +after):\n%s", diff)
	}
	there.set(t, "local", "cluster.adopt", "-")
	text += "\n== once more: local\n" + there.preview(t, "local")
	text += "\n== its outpost: remote\n" + e.preview(t, "remote")
	infratest.Golden(t, "move.golden.txt", []byte(text))
}
