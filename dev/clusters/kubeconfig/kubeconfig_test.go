package kubeconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	foreign = `apiVersion: v1
clusters:
- cluster:
    server: https://example.test
  name: work
contexts:
- context:
    cluster: work
    user: me
  name: work
current-context: work
kind: Config
preferences:
  colors: true
users:
- name: me
  user:
    token: secret
`
	ours = `apiVersion: v1
kind: Config
current-context: local
clusters: [{name: local, cluster: {server: "https://10.77.0.2:6443"}}]
contexts: [{name: local, context: {cluster: local, user: local-admin}}]
users: [{name: local-admin, user: {}}]
`
)

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestMergeAndRemove holds that what others have in the file survives both, to the letter.
func TestMergeAndRemove(t *testing.T) {
	file := write(t, foreign)
	if err := Merge(file, write(t, ours)); err != nil {
		t.Fatal(err)
	}
	once := read(t, file)
	for _, want := range []string{
		"current-context: work", "name: local-admin", "server: https://10.77.0.2:6443",
		"token: secret", "colors: true",
	} {
		if !strings.Contains(once, want) {
			t.Errorf("%q is not in:\n%s", want, once)
		}
	}
	if err := Merge(file, write(t, strings.Replace(ours, "10.77.0.2", "10.77.0.9", 1))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Replace(once, "10.77.0.2", "10.77.0.9", 1), read(t, file)); diff != "" {
		t.Errorf("merged again (-want +got):\n%s", diff)
	}
	if err := Remove(file, "local", "nothere"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(foreign, read(t, file)); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
}

func TestMergeIntoNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "config")
	if err := Merge(file, write(t, ours)); err != nil {
		t.Fatal(err)
	}
	if text := read(t, file); !strings.Contains(text, "current-context: local") {
		t.Errorf("config:\n%s", text)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := Remove(filepath.Join(t.TempDir(), "none"), "local"); err != nil {
		t.Errorf("Remove from a file that is not there: %v", err)
	}
}

func TestMergeRefusesWhatIsNoKubeconfig(t *testing.T) {
	for _, text := range []string{"- a\n- b\n", "clusters: {a: b}\n", "\t\n"} {
		file := write(t, text)
		if err := Merge(file, write(t, ours)); err == nil || !strings.Contains(err.Error(), "not a kubeconfig") {
			t.Errorf("Merge into %q: %v", text, err)
		}
		if got := read(t, file); got != text {
			t.Errorf("the file was changed to %q", got)
		}
	}
}
