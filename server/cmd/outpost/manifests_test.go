package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const renderedSite = `---
# Source: outpost/templates/configmap-config.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: outpost-config}
data:
  config.yaml: |
    spawner: {mem_limt: 1G}
---
apiVersion: v1
kind: Secret
metadata: {name: other}
stringData: {flavors.yaml: "no: {flavors: [1]}"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: outpost-flavors}
data:
  flavors.yaml: |
    flavors: {small: {max: many}}
`

// TestCheckConfigReadsManifests holds that check-config reads the files of what a chart renders, and not those that the
// process has.
func TestCheckConfigReadsManifests(t *testing.T) {
	for _, c := range []struct {
		name, manifests string
		code            int
		want            []string
	}{
		{"faults in two files", renderedSite, exitFailed, []string{
			"config.yaml: spawner.mem_limt: unknown option; did you mean mem_limit? (line 1)",
			"flavors.yaml: line 1: flavors.small.max: must be",
		}},
		{"nothing wrong", strings.NewReplacer("limt", "limit", "many", "3").Replace(renderedSite), 0, []string{
			"settings are valid; hubs: jupyterhub",
		}},
		{"no file of the outpost's", "kind: ConfigMap\ndata: {a: b}\n", exitUsage, []string{
			"no ConfigMap has a config.yaml",
		}},
		{"no YAML", "kind: [", exitUsage, []string{"yaml: "}},
		{"an empty file", "", exitUsage, []string{"no ConfigMap has a config.yaml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write := func(name, text string) string {
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				return path
			}
			t.Setenv("TMPDIR", dir)
			own := map[string]string{"OUTPOST_CONFIG_FILE": write("own.yaml", "not: read")}
			var stdout, stderr buffer
			path := write("manifests.yaml", c.manifests)
			setStdin(t, path)
			for _, args := range [][]string{{"check-config", "--manifests", path}, {"check-config", "--manifests=-"}} {
				if code := run(t.Context(), args, environment(dir, own), &stdout, &stderr); code != c.code {
					t.Errorf("%v: exit code %d, want %d", args, code, c.code)
				}
				for _, want := range c.want {
					if said := stdout.String() + stderr.String(); !strings.Contains(said, want) {
						t.Errorf("%v: no %q in\n%s", args, want, said)
					}
				}
				stdout, stderr = buffer{}, buffer{}
			}
			if left, err := filepath.Glob(filepath.Join(dir, "outpost-manifests-*")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// setStdin makes a file the standard input during a test.
func setStdin(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdin
	os.Stdin = file
	t.Cleanup(func() {
		os.Stdin = before
		file.Close()
	})
}
