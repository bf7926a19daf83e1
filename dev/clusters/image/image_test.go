package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tree writes files into a new folder: name to text.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func spec(dir string) Spec {
	return Spec{
		Reference: "localhost/test:1",
		Layers: []Layer{{Files: []File{
			{Source: filepath.Join(dir, "app"), Target: "/usr/bin/app", Mode: 0o755},
			{Source: filepath.Join(dir, "etc"), Target: "/etc/app"},
		}}},
		Execution: Execution{Entrypoint: []string{"/usr/bin/app"}, User: "65532:65532", WorkingDir: "/"},
	}
}

func build(t *testing.T, s Spec) *Built {
	t.Helper()
	built, err := Build(s, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := built.Close(); err != nil {
			t.Error(err)
		}
	})
	return built
}

// The digest stands here in full: whoever changes what is written, and with it the digest of every image,
// has to change it on purpose.
func TestBuildIsReproducible(t *testing.T) {
	files := map[string]string{"app": "program", "etc/a.conf": "a", "etc/sub/b.conf": "b"}
	const want = "sha256:2078edf81f4d97dc44c0b5ed7c347a646e5f3ad29712c5d028990f9f96d52adc"
	for range 2 {
		dir := tree(t, files)
		if err := os.Chtimes(filepath.Join(dir, "app"), time.Now(), time.Now()); err != nil {
			t.Fatal(err)
		}
		if got := build(t, spec(dir)).Manifest.Digest; got != want {
			t.Errorf("digest %s, want %s", got, want)
		}
	}
	changed := build(t, spec(tree(t, map[string]string{"app": "Program", "etc/a.conf": "a", "etc/sub/b.conf": "b"})))
	if changed.Manifest.Digest == want {
		t.Error("another program has the same digest")
	}
}

type entry struct {
	Name, Text, Link string
	Mode             int64
	UID, GID         int
	Time             int64
}

func entries(t *testing.T, in io.Reader) []entry {
	t.Helper()
	var all []entry
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{h.Name, string(text), h.Linkname, h.Mode, h.Uid, h.Gid, h.ModTime.Unix()})
	}
}

func TestPack(t *testing.T) {
	dir := tree(t, map[string]string{"app": "program", "etc/b.conf": "b", "etc/a.conf": "a"})
	if err := os.Symlink("a.conf", filepath.Join(dir, "etc", "link")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := pack(&out, []File{
		{Source: filepath.Join(dir, "etc"), Target: "/etc/app/", UID: 7, GID: 8},
		{Source: filepath.Join(dir, "app"), Target: "/bin/app", Mode: 0o755},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []entry{
		{Name: "bin/", Mode: 0o755},
		{Name: "bin/app", Text: "program", Mode: 0o755},
		{Name: "etc/", Mode: 0o755},
		{Name: "etc/app/", Mode: 0o755, UID: 7, GID: 8},
		{Name: "etc/app/a.conf", Text: "a", Mode: 0o644, UID: 7, GID: 8},
		{Name: "etc/app/b.conf", Text: "b", Mode: 0o644, UID: 7, GID: 8},
		{Name: "etc/app/link", Link: "a.conf", Mode: 0o777, UID: 7, GID: 8},
	}
	if diff := cmp.Diff(want, entries(t, &out)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBuildRefuses(t *testing.T) {
	dir := tree(t, map[string]string{"app": "program", "text.tar": "this is no tar", "zip.tar": "\x1f\x8b\x08\x00"})
	if err := exec.Command("mkfifo", filepath.Join(dir, "pipe")).Run(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		layers []Layer
		want   string
	}{
		{"no layer", nil, "at least one layer"},
		{"no such file", []Layer{{Files: []File{{Source: filepath.Join(dir, "none"), Target: "/x"}}}}, "no such file"},
		{
			"relative target",
			[]Layer{{Files: []File{{Source: filepath.Join(dir, "app"), Target: "x"}}}},
			"must be an absolute path",
		},
		{
			"file as root",
			[]Layer{{Files: []File{{Source: filepath.Join(dir, "app"), Target: "/"}}}},
			"must be an absolute path",
		},
		{
			"pipe",
			[]Layer{{Files: []File{{Source: filepath.Join(dir, "pipe"), Target: "/x"}}}},
			"neither file, folder nor link",
		},
		{"no tar", []Layer{{Tar: filepath.Join(dir, "text.tar")}}, "not an uncompressed tar"},
		{"compressed", []Layer{{Tar: filepath.Join(dir, "zip.tar")}}, "not an uncompressed tar"},
		{"no such tar", []Layer{{Tar: filepath.Join(dir, "none.tar")}}, "no such file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			temporary := t.TempDir()
			_, err := Build(Spec{Layers: test.layers}, temporary)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if left, _ := os.ReadDir(temporary); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// TestArchive writes an archive and reads it back, as a tar and unpacked.
func TestArchive(t *testing.T) {
	for _, compress := range []bool{false, true} {
		s := spec(tree(t, map[string]string{"app": "program", "etc/a.conf": "a"}))
		s.Compress = compress
		built := build(t, s)
		archive := filepath.Join(t.TempDir(), "image.tar")
		if err := built.Archive(archive); err != nil {
			t.Fatal(err)
		}
		folder := t.TempDir()
		if out, err := exec.Command("tar", "-xf", archive, "-C", folder).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, name := range []string{archive, folder} {
			layout, err := Open(name)
			if err != nil {
				t.Fatal(err)
			}
			d, reference, err := layout.Image("")
			if err != nil || reference != "localhost/test:1" {
				t.Fatalf("image %q: %v", reference, err)
			}
			var manifest Manifest
			readJSON(t, layout, d, &manifest)
			var config Config
			readJSON(t, layout, manifest.Config, &config)
			want := Config{
				Created: "1970-01-01T00:00:00Z", Architecture: runtime.GOARCH, OS: "linux",
				Config: Execution{
					Entrypoint: []string{"/usr/bin/app"}, User: "65532:65532",
					WorkingDir: "/", Env: []string{DefaultPath},
				},
				RootFS: RootFS{Type: "layers", DiffIDs: config.RootFS.DiffIDs},
			}
			if diff := cmp.Diff(want, config); diff != "" || len(config.RootFS.DiffIDs) != 1 {
				t.Errorf("config (-want +got):\n%s", diff)
			}
			if layer := manifest.Layers[0]; (layer.MediaType == TypeLayerGzip) != compress ||
				(layer.Digest == config.RootFS.DiffIDs[0]) == compress {
				t.Errorf("layer %+v, diff id %s", layer, config.RootFS.DiffIDs[0])
			}
			if err := layout.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func readJSON(t *testing.T, source Source, d Descriptor, out any) {
	t.Helper()
	in, err := source.Blob(d.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := json.NewDecoder(in).Decode(out); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := tree(t, map[string]string{
		"empty.tar": "", "text.tar": strings.Repeat("no tar ", 200), "folder/oci-layout": "{}",
		"noimage/index.json": `{"manifests": []}`, "badjson/index.json": "{",
	})
	for name, want := range map[string]string{
		"empty.tar": "not an OCI layout", "text.tar": "not an OCI archive, or a broken one",
		"folder":  "not an OCI layout",
		"noimage": "names no image", "badjson": "index.json", "absent": "no such file",
	} {
		if _, err := Open(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%s): %v, want %q", name, err, want)
		}
	}
}

func TestImageAmongSeveral(t *testing.T) {
	named := func(annotations map[string]string) Descriptor {
		return Descriptor{Digest: annotations["digest"], Annotations: annotations}
	}
	two := &Layout{name: "two.tar", Index: Index{Manifests: []Descriptor{
		named(map[string]string{"digest": "1", AnnotationName: "localhost/a:1"}),
		named(map[string]string{"digest": "2", AnnotationRef: "localhost/b:1"}),
	}}}
	one := &Layout{
		name:  "one.tar",
		Index: Index{Manifests: []Descriptor{named(map[string]string{"digest": "3", AnnotationRef: "1.0"})}},
	}
	for _, test := range []struct {
		layout    *Layout
		reference string
		want      string // digest and name, or part of the error
	}{
		{two, "localhost/b:1", "2 localhost/b:1"},
		{two, "", "holds 2 images; choose one with --ref: localhost/a:1, localhost/b:1"},
		{two, "localhost/c:1", "holds 2 images"},
		{one, "", "give --ref"}, // a tag alone is not a name
		{one, "localhost/c:1", "3 localhost/c:1"},
	} {
		d, name, err := test.layout.Image(test.reference)
		got := d.Digest + " " + name
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("Image(%q) of %s: %q, want %q", test.reference, test.layout.name, got, test.want)
		}
	}
}

func TestBlobStaysInside(t *testing.T) {
	dir := tree(t, map[string]string{"index.json": `{"manifests": [{"digest": "sha256:x"}]}`, "secret": "s"})
	layout, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, digest := range []string{"sha256:../../secret", "../secret:x", "secret", ""} {
		if _, err := layout.Blob(digest); err == nil {
			t.Errorf("Blob(%q) was opened", digest)
		}
	}
	if _, err := layout.Blob("sha256:absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent blob: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	app := filepath.Join(dir, "app")
	if err := os.WriteFile(app, []byte("program"), 0o600); err != nil {
		f.Fatal(err)
	}
	built, err := Build(Spec{Reference: "a:1", Layers: []Layer{{Files: []File{{Source: app, Target: "/app"}}}}}, dir)
	if err != nil {
		f.Fatal(err)
	}
	archive := filepath.Join(dir, "seed.tar")
	if err := errors.Join(built.Archive(archive), built.Close()); err != nil {
		f.Fatal(err)
	}
	seed, err := os.ReadFile(archive)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(seed[:2000])
	f.Add([]byte("no tar"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(t.TempDir(), "image.tar")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		layout, err := Open(file)
		if err != nil {
			return
		}
		defer layout.Close()
		if d, _, err := layout.Image("a:1"); err == nil {
			if in, err := layout.Blob(d.Digest); err == nil {
				_, _ = io.Copy(io.Discard, in)
				in.Close()
			}
		}
	})
}

// TestUnpackOne holds that an archive of one image is unpacked whole, and into its folder alone.
func TestUnpackOne(t *testing.T) {
	built := build(t, spec(tree(t, map[string]string{"app": "program", "etc/a.conf": "a"})))
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := built.Archive(file); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new")
	d, err := UnpackOne(file, dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(built.Manifest, d); diff != "" {
		t.Errorf("the image (-want +got):\n%s", diff)
	}
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Descriptor{built.Manifest}, again.Index.Manifests); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if in, err := again.Blob(built.Manifest.Digest); err != nil || in.Close() != nil {
		t.Error(err)
	}
	inner := filepath.Join(t.TempDir(), "inner")
	for _, c := range []struct {
		files map[string]string
		want  string
	}{
		{map[string]string{"index.json": `{"manifests":[{"digest":"sha256:1"}]}`, "../outside": "text"}, "unpack "},
		{map[string]string{"index.json": `{"manifests":[{}, {}]}`}, "holds 2 images, not one"},
	} {
		var text bytes.Buffer
		w := tar.NewWriter(&text)
		for name, content := range c.files {
			header := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}
			if err := w.WriteHeader(&header); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, content); err != nil {
				t.Fatal(err)
			}
		}
		evil := filepath.Join(t.TempDir(), "evil.tar")
		if err := errors.Join(w.Close(), os.WriteFile(evil, text.Bytes(), 0o644)); err != nil {
			t.Fatal(err)
		}
		if _, err := UnpackOne(evil, inner); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("UnpackOne of %v: %v, want %q", c.files, err, c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(inner, "..", "outside")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it wrote outside of its folder: %v", err)
	}
}
