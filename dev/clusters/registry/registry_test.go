package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/dev/clusters/image"
)

func TestParseReference(t *testing.T) {
	for s, want := range map[string]string{
		"localhost/outposts/outpost:dev": "localhost/outposts/outpost:dev",
		"python":                         "docker.io/library/python:latest",
		"python:3":                       "docker.io/library/python:3",
		"jupyterhub/k8s-hub:4.4.0":       "docker.io/jupyterhub/k8s-hub:4.4.0",
		"quay.io/a/b/c:1":                "quay.io/a/b/c:1",
		"registry.example.test:5000/a:1": "registry.example.test:5000/a:1",
		"":                               "",
		"UPPER/case:1":                   "",
		"a/../b:1":                       "",
		"a:b c":                          "",
		"quay.io/a@sha256:" + strings.Repeat("a", 64): "",
		"/a:1":        "",
		"..:5000/a:1": "",
		"quay.io/" + "a:" + strings.Repeat("x", 129): "",
	} {
		r, err := ParseReference(s)
		got := r.String()
		if err != nil {
			got = ""
			if !strings.Contains(err.Error(), s) {
				t.Errorf("error of %q does not name it: %v", s, err)
			}
		}
		if got != want {
			t.Errorf("ParseReference(%q) is %q, want %q", s, got, want)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	for _, seed := range []string{"python:3", "localhost/a/b:1", "a:5000/b", "../../x:1", "a/%2e%2e/b:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		store := Store{Dir: "/store"}
		if file := store.refFile(r); !strings.HasPrefix(file, "/store/refs/") || filepath.Clean(file) != file {
			t.Errorf("%q is kept in %s", s, file)
		}
		if again, err := ParseReference(r.String()); err != nil || again != r {
			t.Errorf("%q became %+v, and that %+v, %v", s, r, again, err)
		}
	})
}

// built makes an image with one file.
func built(t *testing.T, text string) *image.Built {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := image.Build(image.Spec{Layers: []image.Layer{{Files: []image.File{{Source: file, Target: "/file"}}}}},
		t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func reference(t *testing.T, s string) Reference {
	t.Helper()
	r, err := ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPull does what containerd does: the manifest by tag with the registry it means, the manifest by
// digest, then config and layers.
func TestPull(t *testing.T) {
	store := Store{Dir: t.TempDir()}
	b := built(t, "one")
	if err := store.Add(reference(t, "quay.io/a/b:1"), b, b.Manifest); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(Handler(store, slog.New(slog.DiscardHandler)))
	defer server.Close()
	get := func(method, path string, status int) (http.Header, []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != status {
			t.Fatalf("%s %s: %s, want %d: %s", method, path, response.Status, status, text)
		}
		return response.Header, text
	}
	get(http.MethodGet, "/v2/", 200)
	head, _ := get(http.MethodHead, "/v2/a/b/manifests/1?ns=quay.io", 200)
	if got := head.Get("Docker-Content-Digest"); got != b.Manifest.Digest ||
		head.Get("Content-Type") != image.TypeManifest || head.Get("Content-Length") != fmt.Sprint(b.Manifest.Size) {
		t.Errorf("HEAD: %v", head)
	}
	byDigest, text := get(http.MethodGet, "/v2/a/b/manifests/"+b.Manifest.Digest+"?ns=quay.io", 200)
	if byDigest.Get("Content-Type") != image.TypeManifest {
		t.Errorf("by digest: %v", byDigest)
	}
	var manifest image.Manifest
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	for _, part := range append(manifest.Layers, manifest.Config) {
		_, blob := get(http.MethodGet, "/v2/a/b/blobs/"+part.Digest+"?ns=quay.io", 200)
		if int64(len(blob)) != part.Size {
			t.Errorf("blob %s has %d bytes, want %d", part.Digest, len(blob), part.Size)
		}
	}
	// The same name in another registry is another image.
	_, text = get(http.MethodGet, "/v2/a/b/manifests/1?ns=ghcr.io", 404)
	if !bytes.Contains(text, []byte("image ghcr.io/a/b:1 was not loaded")) {
		t.Errorf("error: %s", text)
	}
	for _, path := range []string{
		"/v2/a/b/manifests/2?ns=quay.io", "/v2/a/b/manifests/..%2f1?ns=quay.io", "/v2/a/b/manifests/1?ns=../quay.io",
		"/v2/a/b/blobs/sha256:x", "/v2/a/b/blobs/..", "/v2/a/b",
		"/v2/a/b/blobs/sha256:" + strings.Repeat("0", 64), "/v2/a/b/manifests/sha256:" + strings.Repeat("0", 64),
	} {
		get(http.MethodGet, path, 404)
	}
	get(http.MethodPut, "/v2/a/b/manifests/1?ns=quay.io", 405)
}

func TestAddReplacesAndLists(t *testing.T) {
	store := Store{Dir: t.TempDir()}
	if all, err := store.References(); err != nil || len(all) != 0 {
		t.Errorf("empty store: %v, %v", all, err)
	}
	first, second := built(t, "one"), built(t, "two")
	for _, add := range []struct {
		name  string
		image *image.Built
	}{{"localhost/a:1", first}, {"python:3", first}, {"localhost/a:1", second}} {
		if err := store.Add(reference(t, add.name), add.image, add.image.Manifest); err != nil {
			t.Fatal(err)
		}
	}
	all, err := store.References()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range all {
		d, err := store.Resolve(r)
		if err != nil {
			t.Fatal(err)
		}
		got[r.String()] = d.Digest
	}
	want := map[string]string{
		"localhost/a:1":              second.Manifest.Digest,
		"docker.io/library/python:3": first.Manifest.Digest,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// broken gives out an image of which one blob is missing or has other content.
type broken struct {
	image.Source
	digest string
	text   *string
}

func (b broken) Blob(digest string) (io.ReadCloser, error) {
	switch {
	case digest != b.digest:
		return b.Source.Blob(digest)
	case b.text == nil:
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(strings.NewReader(*b.text)), nil
}

func TestAddRefusesABrokenImage(t *testing.T) {
	good := built(t, "one")
	in, err := good.Blob(good.Manifest.Digest)
	if err != nil {
		t.Fatal(err)
	}
	var manifest image.Manifest
	if err := json.NewDecoder(in).Decode(&manifest); err != nil {
		t.Fatal(err)
	}
	same := strings.Repeat("x", int(manifest.Layers[0].Size))
	short := same[1:]
	for name, source := range map[string]image.Source{
		"layer missing":       broken{good, manifest.Layers[0].Digest, nil},
		"layer too short":     broken{good, manifest.Layers[0].Digest, &short},
		"layer other content": broken{good, manifest.Layers[0].Digest, &same},
		"config missing":      broken{good, manifest.Config.Digest, nil},
		"manifest missing":    broken{good, good.Manifest.Digest, nil},
		"manifest other":      broken{good, good.Manifest.Digest, &short},
	} {
		t.Run(name, func(t *testing.T) {
			store := Store{Dir: t.TempDir()}
			r := reference(t, "localhost/a:1")
			if err := store.Add(r, source, good.Manifest); err == nil ||
				!strings.Contains(err.Error(), "image localhost/a:1: ") {
				t.Errorf("Add: %v", err)
			}
			if _, err := store.Resolve(r); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it has the name all the same: %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(store.Dir, "blobs", "sha256", ".new-*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}
