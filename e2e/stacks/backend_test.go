//go:build e2e

package stacks

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

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
