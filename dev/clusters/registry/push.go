package registry

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/outposts-dev/outposts/dev/clusters/image"
)

// maxManifest bounds what a manifest may have (distribution-spec v1.1, "Pushing Manifests", suggests as much).
const maxManifest = 4 << 20

// pusher serves the push half of the OCI distribution API too (distribution-spec v1.1, end-4 to end-7). It asks nobody
// who they are: whoever reaches it decides what pods run.
type pusher struct {
	store Store
	pull  http.Handler

	mu      sync.Mutex
	uploads map[string]*sync.Mutex // by their ids; held while a part arrives
}

// PushHandler serves pushes beside what Handler serves. It is for listeners that only this machine reaches. What
// earlier ones have not finished is removed.
func PushHandler(store Store, logger *slog.Logger) (http.Handler, error) {
	p := &pusher{store: store, pull: Handler(store, logger), uploads: map[string]*sync.Mutex{}}
	left, err := filepath.Glob(p.upload("*"))
	for _, file := range left {
		err = errors.Join(err, os.Remove(file))
	}
	return p, err
}

func (p *pusher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	name, id, upload := strings.Cut(path, "/blobs/uploads/")
	manifestName, reference, manifest := strings.Cut(path, "/manifests/")
	var err error
	switch {
	case upload && validName.MatchString(name) && r.Method == http.MethodPost:
		err = p.begin(w, name)
	case upload && validName.MatchString(name) && (r.Method == http.MethodPatch || r.Method == http.MethodPut):
		err = p.receive(w, r, name, id)
	case manifest && validName.MatchString(manifestName) && r.Method == http.MethodPut:
		err = p.putManifest(w, r, manifestName, reference)
	default:
		p.pull.ServeHTTP(w, r)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "UNSUPPORTED", err.Error())
	}
}

// begin makes an upload: a file beside the blobs.
func (p *pusher) begin(w http.ResponseWriter, name string) error {
	id := rand.Text()
	if err := os.MkdirAll(filepath.Dir(p.upload(id)), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(p.upload(id), nil, 0o644); err != nil {
		return err
	}
	p.mu.Lock()
	p.uploads[id] = &sync.Mutex{}
	p.mu.Unlock()
	w.Header().Set("Location", "/v2/"+name+"/blobs/uploads/"+id)
	w.Header().Set("Range", "0-0")
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (p *pusher) upload(id string) string {
	return filepath.Join(p.store.Dir, "blobs", "sha256", ".upload-"+id)
}

// receive appends a part to an upload, and with PUT makes a blob of it.
func (p *pusher) receive(w http.ResponseWriter, r *http.Request, name, id string) error {
	p.mu.Lock()
	busy, known := p.uploads[id]
	p.mu.Unlock()
	if !known {
		return errors.New("no such upload")
	}
	busy.Lock()
	defer busy.Unlock()
	out, err := os.OpenFile(p.upload(id), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r.Body)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	if r.Method == http.MethodPut {
		return p.finish(w, r, name, id)
	}
	info, err := os.Stat(p.upload(id))
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v2/"+name+"/blobs/uploads/"+id)
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(info.Size(), 1)-1))
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// finish checks the digest of what was uploaded, and makes it a blob.
func (p *pusher) finish(w http.ResponseWriter, r *http.Request, name, id string) error {
	p.mu.Lock()
	delete(p.uploads, id)
	p.mu.Unlock()
	defer os.Remove(p.upload(id))
	digest := r.URL.Query().Get("digest")
	file, err := p.store.blob(digest)
	if err != nil {
		return err
	}
	in, err := os.Open(p.upload(id))
	if err != nil {
		return err
	}
	hash := sha256.New()
	_, err = io.Copy(hash, in)
	if err := errors.Join(err, in.Close()); err != nil {
		return err
	}
	if is := "sha256:" + hex.EncodeToString(hash.Sum(nil)); is != digest {
		return fmt.Errorf("what was uploaded has the digest %s, not %s", is, digest)
	}
	if err := os.Rename(p.upload(id), file); err != nil {
		return err
	}
	w.Header().Set("Location", "/v2/"+name+"/blobs/"+digest)
	w.Header().Set("Docker-Content-Digest", digest)
	w.WriteHeader(http.StatusCreated)
	return nil
}

// putManifest takes a manifest whose parts are there, under its digest or a tag.
func (p *pusher) putManifest(w http.ResponseWriter, r *http.Request, name, reference string) error {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxManifest))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	d := image.Descriptor{
		MediaType: r.Header.Get("Content-Type"), Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(text)),
	}
	byDigest := validDigest.MatchString(reference)
	switch {
	case byDigest && reference != d.Digest:
		return fmt.Errorf("the manifest has the digest %s, not %s", d.Digest, reference)
	case !byDigest && !validTag.MatchString(reference):
		return fmt.Errorf("%q is not a tag", reference)
	case !d.IsManifest():
		return fmt.Errorf("%s is not a manifest that is taken here", d.MediaType)
	}
	source := pushed{p.store, d.Digest, text}
	if byDigest {
		err = p.store.copy(source, d)
	} else {
		err = p.store.Add(Reference{Host: "localhost", Name: name, Tag: reference}, source, d)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v2/"+name+"/manifests/"+d.Digest)
	w.Header().Set("Docker-Content-Digest", d.Digest)
	w.WriteHeader(http.StatusCreated)
	return nil
}

// pushed is the source of an image whose parts were pushed before its manifest.
type pushed struct {
	store    Store
	digest   string // of the manifest
	manifest []byte
}

// Blob implements image.Source.
func (p pushed) Blob(digest string) (io.ReadCloser, error) {
	if digest == p.digest {
		return io.NopCloser(bytes.NewReader(p.manifest)), nil
	}
	file, err := p.store.blob(digest)
	if err != nil {
		return nil, err
	}
	return os.Open(file)
}
