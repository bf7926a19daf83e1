// Package registry keeps images on disk and serves them to containerd under every image name there is.
// A folder of blobs and one small file for each reference: what `load` writes, the nodes can pull at
// once, and it survives restarts.
package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/outposts-dev/outposts/dev/clusters/image"
)

// Store is the folder: blobs/sha256/HEX, and refs/HOST/NAME/_tags/TAG which holds an image.Descriptor as JSON.
type Store struct{ Dir string }

var (
	validHost = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]+)?$`)
	validName = regexp.MustCompile(
		`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	validTag    = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	validDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// Reference names an image as pods do.
type Reference struct{ Host, Name, Tag string }

// ParseReference reads HOST/NAME:TAG by the rules that containerd uses: `python:3` is docker.io/library/python:3.
func ParseReference(s string) (Reference, error) {
	r := Reference{Host: "docker.io", Name: s, Tag: "latest"}
	if strings.Contains(s, "@") {
		return r, fmt.Errorf("image reference %q: give a tag, not a digest; the digest is that of the image", s)
	}
	if host, rest, found := strings.Cut(s, "/"); found && (strings.ContainsAny(host, ".:") || host == "localhost") {
		r.Host, r.Name = host, rest
	}
	if i := strings.LastIndex(r.Name, ":"); i >= 0 {
		r.Name, r.Tag = r.Name[:i], r.Name[i+1:]
	}
	if r.Host == "docker.io" && !strings.Contains(r.Name, "/") {
		r.Name = "library/" + r.Name
	}
	if !validHost.MatchString(r.Host) || !validName.MatchString(r.Name) || !validTag.MatchString(r.Tag) {
		return r, fmt.Errorf(
			"image reference %q: not of the form HOST/NAME:TAG, such as localhost/outposts/outpost:dev", s)
	}
	return r, nil
}

// String returns the reference in full: localhost/outposts/outpost:dev.
func (r Reference) String() string { return r.Host + "/" + r.Name + ":" + r.Tag }

func (s Store) blob(digest string) (string, error) {
	if !validDigest.MatchString(digest) {
		return "", fmt.Errorf("digest %q: not sha256", digest)
	}
	return filepath.Join(s.Dir, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:")), nil
}

func (s Store) refFile(r Reference) string {
	return filepath.Join(s.Dir, "refs", r.Host, filepath.FromSlash(r.Name), "_tags", r.Tag)
}

// Resolve returns the image of a reference, or an error that is fs.ErrNotExist.
func (s Store) Resolve(r Reference) (image.Descriptor, error) {
	var d image.Descriptor
	text, err := os.ReadFile(s.refFile(r))
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal(text, &d)
}

// Add copies an image with everything it refers to, and then points the reference at it. Blobs are checked on the
// way, so that a broken image is refused before any reference changes.
func (s Store) Add(r Reference, source image.Source, root image.Descriptor) error {
	if err := s.copy(source, root); err != nil {
		return fmt.Errorf("image %s: %w", r, err)
	}
	text, err := json.Marshal(root)
	if err != nil {
		return err
	}
	file := s.refFile(r)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	temporary := file + ".new"
	if err := os.WriteFile(temporary, text, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, file)
}

func (s Store) copy(source image.Source, d image.Descriptor) error {
	if err := s.put(source, d); err != nil {
		return err
	}
	if !d.IsManifest() {
		return nil
	}
	file, err := s.blob(d.Digest)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	parts, err := image.References(text)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	for _, part := range parts {
		if err := s.copy(source, part); err != nil {
			return err
		}
	}
	return nil
}

// put copies one blob unless the store has it.
func (s Store) put(source image.Source, d image.Descriptor) error {
	file, err := s.blob(d.Digest)
	if err != nil {
		return err
	}
	in, err := source.Blob(d.Digest)
	if err != nil {
		return fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	defer in.Close()
	// Only now: an image that lacks a blob is broken, even when another one happened to bring it.
	if info, err := os.Stat(file); err == nil && info.Size() == d.Size {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(file), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, hash), in)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	if is := "sha256:" + hex.EncodeToString(hash.Sum(nil)); n != d.Size || is != d.Digest {
		return fmt.Errorf("blob %s is broken: it has %d bytes and digest %s, wanted %d bytes", d.Digest, n, is, d.Size)
	}
	return os.Rename(out.Name(), file)
}

// References lists every reference there is, sorted.
func (s Store) References() ([]Reference, error) {
	root := filepath.Join(s.Dir, "refs")
	var all []Reference
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".new") {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		host, rest, _ := strings.Cut(filepath.ToSlash(relative), "/")
		name, tag, found := strings.Cut(rest, "/_tags/")
		if found {
			all = append(all, Reference{Host: host, Name: name, Tag: tag})
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return all, err
}
