package registry

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/dev/clusters/image"
)

// Serve answers what handler does on address until ctx ends.
func Serve(ctx context.Context, address string, handler http.Handler) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
	}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Handler serves the pull half of the OCI distribution API (distribution-spec v1.1, end-1 to end-3). containerd asks
// for an image of any registry here and names the registry in the query `ns`.
func Handler(store Store, logger *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "images come in by `clusters load`")
			return
		}
		path := strings.TrimPrefix(r.URL.Path, "/v2/")
		if path == "" || path == r.URL.Path {
			w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
			return
		}
		host := r.URL.Query().Get("ns")
		if host == "" {
			host = "localhost"
		}
		if name, digest, found := strings.Cut(path, "/blobs/"); found && name != "" {
			store.serveBlob(w, r, image.Descriptor{MediaType: "application/octet-stream", Digest: digest})
			return
		}
		name, tag, found := strings.Cut(path, "/manifests/")
		if !found || !validName.MatchString(name) || !validHost.MatchString(host) {
			refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "no such path")
			return
		}
		if validDigest.MatchString(tag) {
			store.serveManifest(w, r, tag)
			return
		}
		if !validTag.MatchString(tag) {
			refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "no such tag")
			return
		}
		reference := Reference{Host: host, Name: name, Tag: tag}
		descriptor, err := store.Resolve(reference)
		if err != nil {
			logger.Info("no such image", "image", reference.String(), "err", err)
			refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN",
				"image "+reference.String()+" was not loaded: clusters load FILE --ref "+reference.String())
			return
		}
		store.serveBlob(w, r, descriptor)
	})
}

// serveManifest answers a manifest by digest; it carries its own media type.
func (s Store) serveManifest(w http.ResponseWriter, r *http.Request, digest string) {
	file, err := s.blob(digest)
	if err != nil {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", err.Error())
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "no manifest "+digest)
		return
	}
	s.serveBlob(w, r, image.Descriptor{MediaType: image.MediaType(text), Digest: digest})
}

func (s Store) serveBlob(w http.ResponseWriter, r *http.Request, d image.Descriptor) {
	path, err := s.blob(d.Digest)
	if err != nil {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", err.Error())
		return
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "no blob "+d.Digest)
		return
	}
	if err != nil {
		refuse(w, http.StatusInternalServerError, "UNKNOWN", "blob cannot be read")
		return
	}
	defer file.Close()
	w.Header().Set("Content-Type", d.MediaType)
	w.Header().Set("Docker-Content-Digest", d.Digest)
	w.Header().Set("Etag", strconv.Quote(d.Digest))
	http.ServeContent(w, r, "", time.Time{}, file)
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}
