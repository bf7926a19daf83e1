package deployed

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Project makes the folder dir what a checkout is, as far as Pulumi needs it, with the program built and a backend of
// its own; the stacks' files are the caller's to add. It returns the environment in which Pulumi runs there. root is
// the checkout.
func Project(t testing.TB, root, dir string) []string {
	t.Helper()
	build := exec.CommandContext(t.Context(), "go", "build", "-o",
		filepath.Join(dir, ".state", "bin", "stacks"), "./stacks")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	project, err := os.ReadFile(filepath.Join(root, "Pulumi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	project = bytes.Replace(project, []byte("buildTarget:"), []byte("binary:"), 1) // there are no sources here
	if err := os.WriteFile(filepath.Join(dir, "Pulumi.yaml"), project, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"charts", "e2e", "dev", "Makefile"} {
		if err := os.Symlink(filepath.Join(root, link), filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	backend := filepath.Join(dir, ".state", "pulumi")
	for _, folder := range []string{filepath.Join(dir, "stacks"), backend} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return append(os.Environ(), Backend(backend)...)
}
