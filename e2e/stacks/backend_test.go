//go:build e2e

package stacks

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestE2EPulumiWithoutClouds holds that the Pulumi of the local clusters refuses by name, and with the way out, the
// backends and secrets providers that it is built without, and keeps secrets by a passphrase.
func TestE2EPulumiWithoutClouds(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	project := t.TempDir()
	program := filepath.Join(project, "Pulumi.yaml")
	if err := os.WriteFile(program, []byte("name: x\nruntime: go\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const lacks = "the pulumi that is built for the local clusters has no %s; install Pulumi 3.200 or newer"
	stack := func(name, provider string) []string {
		return []string{"-C", project, "stack", "init", name, "--secrets-provider", provider}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"login", "gs://bucket"}, fmt.Sprintf(lacks, "gs://")},
		{[]string{"login", "azblob://bucket"}, fmt.Sprintf(lacks, "azblob://")},
		{stack("a", "gcpkms://a"), fmt.Sprintf(lacks, "gcpkms://")},
		{stack("b", "azurekeyvault://a"), fmt.Sprintf(lacks, "azurekeyvault://")},
		{stack("c", "passphrase"), "Created stack 'c'"},
	} {
		args := append([]string{"pulumi"}, c.args...)
		cmd := exec.CommandContext(t.Context(), filepath.Join(root, "dev", "run"), args...)
		cmd.Env = append(os.Environ(), "OUTPOSTS_PULUMI=own", "PULUMI_BACKEND_URL=file://"+project,
			"PULUMI_CONFIG_PASSPHRASE=of the test", "PULUMI_CREDENTIALS_PATH="+t.TempDir())
		if out, err := cmd.CombinedOutput(); !strings.Contains(string(out), c.want) {
			t.Errorf("pulumi %s: %v, want %q, got:\n%s", strings.Join(c.args, " "), err, c.want, out)
		}
	}
}

// s3Backend is an operator whose backend is a bucket, to which the stacks have moved.
func (s *site) s3Backend(t *testing.T, from *site) *site {
	t.Helper()
	const bucket = "outposts"
	o := *from
	o.env = append(slices.Clone(from.env),
		"PULUMI_BACKEND_URL=s3://"+bucket+"?region=us-east-1&s3ForcePathStyle=true&endpoint=http://"+s.s3(t, bucket),
		"AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=any",
		"AWS_RESPONSE_CHECKSUM_VALIDATION=when_required") // the server here sends none
	for _, stack := range []string{"local", "remote"} {
		o.pulumi(t, stack, "stack", "init")
		o.pulumi(t, stack, "stack", "import", "--file", file(t, stack, from.exportText(t, stack, true)))
	}
	return &o
}

// s3 starts an object store with the API of S3, with one bucket, and returns its address.
func (s *site) s3(t *testing.T, bucket string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "s3")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", filepath.Join(s.root, "dev", "s3"), "-o", program)
	build.Env = append(os.Environ(), "GOTOOLCHAIN=auto")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the S3 server: %v\n%s", err, said)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, program, bucket)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait() // it was killed
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the S3 server: %v", err)
	}
	return strings.TrimSpace(address)
}
