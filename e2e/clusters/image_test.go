//go:build e2e

package clusters

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// testImages holds that an image that was loaded starts under its name whatever registry it names, also when it is
// always pulled; that a folder does as well as an archive; and that an image that nobody loaded is said to be missing.
func (tb *testbed) testImages(t *testing.T) {
	c, ns := tb.t2, "images"
	c.namespace(t, ns)
	folder := t.TempDir()
	archive := filepath.Join(folder, "archive.tar")
	tb.mustRun(t, "image", "-o", archive, "--add", tb.hello+":/hello:755", "--entrypoint", "/hello",
		"--user", "1000", "--compress")
	layout := filepath.Join(folder, "layout")
	if err := os.Mkdir(layout, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-xf", archive, "-C", layout).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := tb.run(t, "load", layout); err == nil || !strings.Contains(out, "give --ref") {
		t.Errorf("load of an image without a name: %v %s", err, out)
	}
	tb.mustRun(t, "load", layout, "--ref", "registry.example.test:5000/a/b/hello:v1", "--ref", "hello:v2")
	for i, name := range []string{"registry.example.test:5000/a/b/hello:v1", "docker.io/library/hello:v2", "hello:v2"} {
		pod := strings.ReplaceAll(helloPod(fmt.Sprintf("pod%d", i), "role: found", "imagePullPolicy: Always", "8080"),
			helloImage, name)
		c.kubectl(t, pod, "-n", ns, "apply", "-f", "-")
	}
	c.ready(t, ns, "role=found")

	c.kubectl(t,
		strings.ReplaceAll(helloPod("lost", "role: lost", "", "8080"), helloImage, "ghcr.io/nobody/loaded:this"),
		"-n", ns, "apply", "-f", "-")
	eventually(t, "the reason why it does not start", func() error {
		got := c.kubectl(t, "", "-n", ns, "get", "pod", "lost", "-o",
			"jsonpath={.status.containerStatuses[0].state.waiting.message}")
		return want(nil, got, "ghcr.io/nobody/loaded:this")
	})

	// A broken image is refused, and the one of that name stays.
	blobs, err := filepath.Glob(filepath.Join(layout, "blobs", "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, blob := range blobs {
		if info, err := os.Stat(blob); err == nil && info.Size() > 1<<16 {
			if err := os.Truncate(blob, info.Size()-1); err != nil {
				t.Fatal(err)
			}
		}
	}
	out, err := tb.run(t, "load", layout, "--ref", "hello:v2", "--state", filepath.Join(folder, "clusters"))
	if err == nil || !strings.Contains(out, "is broken") {
		t.Errorf("load of a broken image: %v %s", err, out)
	}
	for _, cut := range []struct {
		size   int64
		wanted string
	}{{3000, "is not an OCI archive, or a broken one"}, {2048, "file does not exist"}} { // inside a file, between two
		if err := os.Truncate(archive, cut.size); err != nil {
			t.Fatal(err)
		}
		if out, err := tb.run(t, "load", archive, "--ref", "hello:v2"); err == nil ||
			!strings.Contains(out, cut.wanted) {
			t.Errorf("load of the first %d bytes of an archive: %v %s", cut.size, err, out)
		}
	}
}

// testRenew holds that a name means the image that was loaded last under it: for new pods at once, for Deployments
// after `renew`, and for no other pod that runs.
func (tb *testbed) testRenew(t *testing.T) {
	c, ns := tb.t2, tb.t2.namespace(t, "renew")
	const name = "localhost/e2e/again:1"
	load := func(generation string) (digest string) {
		archive := filepath.Join(t.TempDir(), generation+".tar")
		out := tb.mustRun(t, "image", "-o", archive, "--ref", name, "--add", tb.hello+":/hello:755",
			"--entrypoint", "/hello", "--user", "1000", "--env", "GENERATION="+generation)
		tb.mustRun(t, "load", archive)
		return strings.Fields(out)[1]
	}
	apply := func(object string) {
		c.kubectl(t, strings.ReplaceAll(object, helloImage, name), "-n", ns, "apply", "-f", "-")
	}
	runs := func(app, digest string) {
		t.Helper()
		eventually(t, app+" runs "+digest, func() error {
			got := c.kubectl(t, "", "-n", ns, "get", "pod", "-l", "app="+app, "-o",
				"jsonpath={.items[*].status.containerStatuses[0].imageID}")
			return want(nil, got, "localhost/e2e/again@"+digest)
		})
	}
	first := load("first")
	apply(helloPod("users", "role: users", "", "8080"))
	c.kubectl(t, "", "-n", ns, "create", "deployment", "program", "--image="+name)
	c.ready(t, ns, "role=users")
	c.ready(t, ns, "app=program")
	runs("users", first)
	runs("program", first)

	second := load("second")
	apply(helloPod("later", "role: later", "", "8080"))
	runs("later", second)
	runs("program", first)
	for _, said := range []string{
		"Deployment renew/program runs the image that was loaded", "nothing runs an older image",
	} {
		if out := tb.mustRun(t, "renew", "t2"); !strings.Contains(out, said) {
			t.Errorf("renew says %q, want %q in it", out, said)
		}
	}
	runs("program", second)
	runs("users", first)
}
