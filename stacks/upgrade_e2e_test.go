//go:build e2e

package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/infra/infratest"
	"github.com/outposts-dev/outposts/infra/values"
)

// TestE2EUpgrade holds what the first up does to stacks that the program made when the charts' values had secrets among
// them: testdata/before has their states, as `pulumi stack export --show-secrets` prints them. Data and secrets stay,
// so that users stay logged in and rows are readable.
func TestE2EUpgrade(t *testing.T) {
	e := newEngine(t)
	var b strings.Builder
	for _, stack := range []string{"local", "remote"} {
		e.adopt(t, stack)
		before := e.secrets(t, stack)
		b.WriteString("== " + stack + "\n" + e.preview(t, stack) + "\n")
		e.up(t, stack)
		if diff := cmp.Diff(before, e.secrets(t, stack)); diff != "" {
			t.Errorf("%s: secrets (-before +after):\n%s", stack, diff)
		}
		if again := e.preview(t, stack); again != "" {
			t.Errorf("%s: the second up would\n%s", stack, again)
		}
	}
	infratest.Golden(t, "upgrade.golden.txt", []byte(b.String()))
}

// adopt makes the recorded state that of a stack.
func (e *engine) adopt(t *testing.T, stack string) {
	t.Helper()
	packed, err := os.Open(filepath.Join("testdata", "before", stack+".json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(e.dir, stack+".json")
	text = bytes.ReplaceAll(text, []byte("@PROJECT@"), []byte(e.dir))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	e.run(t, stack, "stack", "import", "--file", file)
}

// secrets are the data of the Secrets in a stack's state, by name; of the hub's own, what the chart has made of its
// values.
func (e *engine) secrets(t *testing.T, stack string) map[string]any {
	t.Helper()
	var state struct {
		Deployment struct {
			Resources []struct {
				URN, Type string
				Outputs   map[string]any
			}
		}
	}
	if err := json.Unmarshal([]byte(e.run(t, stack, "stack", "export", "--show-secrets")), &state); err != nil {
		t.Fatal(err)
	}
	found := map[string]any{}
	for _, r := range state.Deployment.Resources {
		if r.Type != "kubernetes:core/v1:Secret" {
			continue
		}
		text, _ := values.At(r.Outputs, "data", "plaintext").(string)
		var data map[string]any
		if err := json.Unmarshal([]byte(text), &data); err != nil {
			t.Fatalf("%s: %v", r.URN, err)
		}
		// The values are in other words, and the hub's module is in other files.
		maps.DeleteFunc(data, func(key string, _ any) bool {
			return key == "values.yaml" || strings.HasPrefix(key, "outpost_hub")
		})
		found[r.URN[strings.LastIndex(r.URN, "::")+2:]] = data
	}
	return found
}
