package registry

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outposts-dev/outposts/dev/clusters/image"
)

// pushing is a registry that takes pushes.
type pushing struct {
	t      *testing.T
	server *httptest.Server
	store  Store
}

func newPushing(t *testing.T) pushing {
	t.Helper()
	p := pushing{t: t, store: Store{Dir: t.TempDir()}}
	handler, err := PushHandler(p.store, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p.server = httptest.NewServer(handler)
	t.Cleanup(p.server.Close)
	return p
}

// do sends a request and returns where the answer leads, and its body.
func (p pushing) do(method, path, kind string, body []byte, status int) (location, text string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.server.URL+path, bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	response, err := p.server.Client().Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	out, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != status {
		p.t.Fatalf("%s %s: %s, want %d: %s", method, path, response.Status, status, out)
	}
	return response.Header.Get("Location"), string(out)
}

// blob pushes a blob in two parts.
func (p pushing) blob(content []byte, digest string, status int) string {
	p.t.Helper()
	location, _ := p.do(http.MethodPost, "/v2/a/b/blobs/uploads/", "", nil, 202)
	half := len(content) / 2
	location, _ = p.do(http.MethodPatch, location, "", content[:half], 202)
	_, text := p.do(http.MethodPut, location+"?digest="+digest, "", content[half:], status)
	return text
}

func read(t *testing.T, source image.Source, digest string) []byte {
	t.Helper()
	in, err := source.Blob(digest)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	content, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestPush(t *testing.T) {
	p, b := newPushing(t), built(t, "one")
	text := read(t, b, b.Manifest.Digest)
	var manifest image.Manifest
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	name := "/v2/a/b/manifests/"
	// Before its parts are there, a manifest is refused.
	_, refusal := p.do(http.MethodPut, name+"1", image.TypeManifest, text, 400)
	if !strings.Contains(refusal, "image localhost/a/b:1: blob ") {
		t.Errorf("refused with %s", refusal)
	}
	for _, part := range append(manifest.Layers, manifest.Config) {
		p.blob(read(t, b, part.Digest), part.Digest, 201)
	}
	p.do(http.MethodPut, name+b.Manifest.Digest, image.TypeManifest, text, 201)
	if all, err := p.store.References(); err != nil || len(all) != 0 {
		t.Errorf("a manifest without a tag has the names %v, %v", all, err)
	}
	p.do(http.MethodPut, name+"1", image.TypeManifest, text, 201)
	if d, err := p.store.Resolve(reference(t, "localhost/a/b:1")); err != nil || d.Digest != b.Manifest.Digest {
		t.Errorf("the tag is %v, %v", d, err)
	}
	if _, is := p.do(http.MethodGet, name+"1", "", nil, 200); is != string(text) {
		t.Errorf("pulled %s", is)
	}
	if left, _ := filepath.Glob(filepath.Join(p.store.Dir, "blobs", "sha256", ".*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestPushRefuses(t *testing.T) {
	p := newPushing(t)
	zero := "sha256:" + strings.Repeat("0", 64)
	if text := p.blob([]byte("text"), zero, 400); !strings.Contains(text, "what was uploaded has the digest sha256:") {
		t.Errorf("refused with %s", text)
	}
	p.blob([]byte("text"), "../../x", 400)
	for _, c := range []struct{ method, path, kind, body, want string }{
		{"PUT", "/v2/a/b/blobs/uploads/../x", "", "", "no such upload"},
		{"PUT", "/v2/a/b/blobs/uploads/absent?digest=" + zero, "", "", "no such upload"},
		{"PATCH", "/v2/a/b/blobs/uploads/..%2fx", "", "", "no such upload"},
		{"PUT", "/v2/a/b/manifests/" + zero, image.TypeManifest, "{}", "the manifest has the digest"},
		{"PUT", "/v2/a/b/manifests/a%20b", image.TypeManifest, "{}", "is not a tag"},
		{"PUT", "/v2/a/b/manifests/1", "text/plain", "{}", "is not a manifest that is taken here"},
		{"PUT", "/v2/a/b/manifests/1", image.TypeManifest, "{}", "refers to nothing"},
		{"PUT", "/v2/a/b/manifests/1", image.TypeManifest, `{"layers":[{"digest":"../x"}]}`, "not sha256"},
	} {
		if _, text := p.do(c.method, c.path, c.kind, []byte(c.body), 400); !strings.Contains(text, c.want) {
			t.Errorf("%s %s: %s, want it to say %q", c.method, c.path, text, c.want)
		}
	}
	p.do(http.MethodDelete, "/v2/a/b/manifests/1", "", nil, 405)
	if all, err := p.store.References(); err != nil || len(all) != 0 {
		t.Errorf("there is %v, %v", all, err)
	}
	if _, err := os.Stat(filepath.Join(p.store.Dir, "x")); err == nil {
		t.Error("a path led out of the blobs")
	}
}

func TestUnfinishedUploadsAreRemoved(t *testing.T) {
	p := newPushing(t)
	p.do(http.MethodPost, "/v2/a/b/blobs/uploads/", "", nil, 202)
	uploads := filepath.Join(p.store.Dir, "blobs", "sha256", ".upload-*")
	if begun, err := filepath.Glob(uploads); err != nil || len(begun) != 1 {
		t.Fatalf("begun: %v, %v", begun, err)
	}
	if _, err := PushHandler(p.store, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(uploads); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
