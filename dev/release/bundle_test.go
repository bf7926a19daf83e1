package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/dev/clusters/image"
)

// newBundler makes bundles of a release with an image and a program more.
func newBundler(t *testing.T) bundler {
	t.Helper()
	program := write(t, filepath.Join(t.TempDir(), "program"), []byte("#!/bin/false\n"))
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	return bundler{
		release: made(t, key, "program"), images: []string{hubImage(t, "a program")},
		charts: []string{"../../e2e/charts/hub"},
		files:  []string{"bin/program=" + program, "examples=../../docs/examples/nodeport"}, key: key, version: version,
	}
}

// hubImage is an archive with an image of the hub, around a program.
func hubImage(t *testing.T, program string) string {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "hub.tar")
	writeImage(t, archive, image.Spec{
		Reference: "localhost/outposts/hub:5.5.4-2.2.11", Execution: image.Execution{Entrypoint: []string{"/outpost"}},
	}, []byte(program))
	return archive
}

// unpacked makes a bundle and unpacks it, as a site does.
func unpacked(t *testing.T, b bundler) (file, dir string) {
	t.Helper()
	work := t.TempDir()
	file = filepath.Join(work, "outposts-"+version+"-linux-amd64.tar.gz")
	if err := b.run(file, io.Discard); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-xzf", file, "-C", work).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	if left, _ := filepath.Glob(filepath.Join(work, ".*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	return file, filepath.Join(work, "outposts-"+version+"-linux-amd64")
}

func TestBundle(t *testing.T) {
	b := newBundler(t)
	file, dir := unpacked(t, b)
	again, _ := unpacked(t, b)
	if one, two := read(t, file), read(t, again); one != two {
		t.Error("two makings differ")
	}
	v := verifier{version: version, key: &b.key.PublicKey, stdout: io.Discard}
	if err := v.folder(dir); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "bin/program")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("bin/program: %v, %v", info.Mode(), err)
	}
	for _, name := range []string{
		"charts/outpost/Chart.yaml", "charts/outposts-hub/module/__init__.py", "charts/hub-for-tests/Chart.yaml",
		"examples/Pulumi.local.yaml", "outpost-" + version + ".tgz",
	} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	// The charts that the stacks install are those of the release: they run its image.
	if about := read(t, filepath.Join(dir, "charts/outpost/Chart.yaml")); !strings.Contains(about, digestAnnotation) {
		t.Errorf("charts/outpost is of the sources:\n%s", about)
	}
	var references []string
	all, err := artifacts(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if !a.signs() {
			references = append(references, a.reference)
		}
	}
	want := []string{
		"outpost:" + version, "charts/outpost:" + version, "charts/outposts-hub:" + version,
		"hub:5.5.4-2.2.11-" + version,
	}
	if diff := cmp.Diff(want, references); diff != "" {
		t.Errorf("images and charts (-want +got):\n%s", diff)
	}
	// All of it comes to a registry, also where the release is already.
	to := served(t)
	for _, from := range []string{b.release, dir, dir} {
		if err := push(folder(from), to, io.Discard); err != nil {
			t.Error(err)
		}
	}
	for _, reference := range want {
		tag, err := to.tag(reference)
		if err != nil {
			t.Fatal(err)
		}
		is, err := to.digest(tag)
		i := slices.IndexFunc(all, func(a artifact) bool { return a.reference == reference })
		if err != nil || is != all[i].Digest {
			t.Errorf("%s is %s there, %v; want %s", reference, is, err, all[i].Digest)
		}
	}
}

// TestNextBundleComesBesideTheOneBefore holds that a registry takes the next version's bundle too, also where its
// images are for the same versions of Python packages and have another content, or are the very same.
func TestNextBundleComesBesideTheOneBefore(t *testing.T) {
	b := newBundler(t)
	to := served(t)
	for _, c := range []struct{ version, hub string }{{"1.0.0", "one"}, {"1.1.0", "another"}, {"1.2.0", "another"}} {
		m := newMaker(t, b.key, "program")
		m.version = c.version
		next := b
		next.version, next.release = c.version, filepath.Join(t.TempDir(), c.version)
		next.images = []string{hubImage(t, c.hub)}
		if err := m.run(t.Context(), next.release, io.Discard); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "unpacked")
		if err := os.CopyFS(dir, os.DirFS(next.release)); err != nil {
			t.Fatal(err)
		}
		if err := next.fill(dir, t.TempDir()); err != nil {
			t.Fatal(err)
		}
		if err := push(folder(dir), to, io.Discard); err != nil {
			t.Errorf("push of %s: %v", c.version, err)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestBundleRefuses(t *testing.T) {
	b := newBundler(t)
	out := filepath.Join(t.TempDir(), "bundle.tar.gz")
	for _, c := range []struct {
		name   string
		change func(*bundler)
		want   string
	}{
		{"another's release", func(b *bundler) { b.key = newKey(t) }, "the signature is not by this key"},
		{"another version", func(b *bundler) { b.version = "9.9.9" }, "outpost:9.9.9 is not in"},
		{"no release", func(b *bundler) { b.release = t.TempDir() }, "is neither a release nor a bundle"},
		{"no image", func(b *bundler) { b.images = []string{os.Args[0]} }, "is not an OCI archive"},
		{"no chart", func(b *bundler) { b.charts = []string{t.TempDir()} }, "Chart.yaml file is missing"},
		{"a place outside", func(b *bundler) { b.files = []string{"../x=" + os.Args[0]} }, "leads out of the bundle"},
		{"a file that is not there", func(b *bundler) { b.files = []string{"x=/nowhere"} }, "no such file"},
		{
			"an image twice", func(b *bundler) { b.images = append(b.images, b.images[0]) },
			"the bundle has hub:5.5.4-2.2.11-" + version + " already",
		},
		{"a chart twice", func(b *bundler) { b.charts = append(b.charts, b.charts[0]) }, "hub-for-tests: file exists"},
		{
			"a chart that is called as one of ours", func(b *bundler) { b.charts = []string{"../../charts/outpost"} },
			"charts/outpost: file exists",
		},
		{"a file twice", func(b *bundler) { b.files = append(b.files, b.files[0]) }, "file exists"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := b
			c.change(&changed)
			refused(t, changed.run(out, io.Discard), c.want)
		})
	}
	if left, _ := os.ReadDir(filepath.Dir(out)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestBundleOfAnotherCommitIsRefused holds that what is built of another commit is not signed beside a release.
func TestBundleOfAnotherCommitIsRefused(t *testing.T) {
	checkout := committed(t)
	revision, err := revisionOf(t.Context(), checkout)
	if err != nil {
		t.Fatal(err)
	}
	m := newMaker(t, newKey(t), "program")
	m.revision = revision
	b := bundler{release: filepath.Join(t.TempDir(), version), version: version}
	if err := m.run(t.Context(), b.release, io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := b.checkRevision(t.Context(), checkout); err != nil {
		t.Error(err)
	}
	another := bundler{release: made(t, newKey(t), "program"), version: version}
	refused(t, another.checkRevision(t.Context(), checkout), "is of commit abc, and the checkout is "+revision)
	write(t, filepath.Join(checkout, "new.go"), []byte("package new\n"))
	refused(t, b.checkRevision(t.Context(), checkout), "the checkout differs from its commit")
}

// TestChangedBundleIsNotPushed holds that a registry gets nothing of a bundle that was changed on its way.
func TestChangedBundleIsNotPushed(t *testing.T) {
	b := newBundler(t)
	_, dir := unpacked(t, b)
	write(t, filepath.Join(dir, "bin/program"), []byte("#!/bin/true\n"))
	public := filepath.Join(t.TempDir(), "outposts.pub")
	write(t, public, publicOf(t, b.key))
	to := served(t)
	args := []string{"push", "-public", public, "-version", version, dir, to.base}
	refused(t, run(t.Context(), args, io.Discard), "bin/program differs")
	if tags := tagsOf(t, to); len(tags) > 0 {
		t.Errorf("there is %v", tags)
	}
	write(t, filepath.Join(dir, "bin/program"), []byte("#!/bin/false\n"))
	if err := run(t.Context(), args, io.Discard); err != nil {
		t.Error(err)
	}
	for _, where := range []string{dir, to.base} {
		var out strings.Builder
		err := run(t.Context(), []string{"verify", "-public", public, "-version", version, where}, &out)
		if err != nil {
			t.Error(err)
		}
		if strings.Count(out.String(), "verified ") != 3 {
			t.Errorf("verified %s: %s", where, out.String())
		}
	}
}

// TestGoOfABundle holds what Pulumi's language host gets where there is no Go: a version, and, as from Go outside of
// all modules, no module. A complaint would be among the messages of each preview and up.
func TestGoOfABundle(t *testing.T) {
	for _, c := range []struct {
		words, want string
		fails       bool
	}{
		{"version", "go version go1.26.0 linux/amd64\n", false},
		{"list -m -f {{.GoMod}}", "", false},
		{"build", "go: this bundle has programs that are built already, and no Go\n", true},
	} {
		got, err := exec.Command("files/go", strings.Fields(c.words)...).CombinedOutput()
		if string(got) != c.want || (err != nil) != c.fails {
			t.Errorf("go %s: %q, %v; want %q", c.words, got, err, c.want)
		}
	}
}
