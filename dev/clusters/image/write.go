package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
	"time"
)

// Spec says what an image consists of.
type Spec struct {
	Reference    string  // HOST/NAME:TAG, written into the archive's index; may be empty
	Layers       []Layer // bottom first; at least one
	Execution    Execution
	Architecture string // default that of this machine
	Compress     bool   // gzip layers, for images that travel
	Created      string // RFC 3339; default the epoch, so that the digest depends on content only
}

// Layer is either a ready tar file or files to be put into one.
type Layer struct {
	Tar   string // path of an uncompressed tar; taken as it is
	Files []File
}

// File is one file, or a folder with all that is in it, and its place in the image.
type File struct {
	Source   string      // path here
	Target   string      // absolute path in the image
	Mode     fs.FileMode // 0 keeps the permission bits of Source
	UID, GID int
}

// DefaultPath is the PATH of an image that does not set one.
const DefaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Built is an image whose blobs are in memory and in files. Close it to remove the temporary ones.
type Built struct {
	Manifest  Descriptor
	blobs     map[string]blob
	order     []string
	temporary []string
}

type blob struct {
	file string // or text
	text []byte
	size int64
}

// Build makes an image. Temporary files go to dir (the system's folder for them when empty).
func Build(spec Spec, dir string) (*Built, error) {
	if len(spec.Layers) == 0 {
		return nil, errors.New("an image needs at least one layer")
	}
	b := &Built{blobs: map[string]blob{}}
	config := Config{
		Created: spec.Created, Architecture: spec.Architecture, OS: "linux", Config: spec.Execution,
		RootFS: RootFS{Type: "layers"},
	}
	if config.Created == "" {
		config.Created = "1970-01-01T00:00:00Z"
	}
	if config.Architecture == "" {
		config.Architecture = runtime.GOARCH
	}
	if !slices.ContainsFunc(config.Config.Env, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
		config.Config.Env = append([]string{DefaultPath}, config.Config.Env...)
	}
	manifest := Manifest{SchemaVersion: 2, MediaType: TypeManifest}
	for _, layer := range spec.Layers {
		descriptor, diffID, err := b.layer(layer, spec.Compress, dir)
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
		manifest.Layers = append(manifest.Layers, descriptor)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
	}
	var err error
	if manifest.Config, err = b.json(TypeConfig, config); err == nil {
		b.Manifest, err = b.json(TypeManifest, manifest)
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	b.Manifest.Platform = &Platform{Architecture: config.Architecture, OS: config.OS}
	if spec.Reference != "" {
		b.Manifest.Annotations = map[string]string{
			AnnotationName: spec.Reference,
			AnnotationRef:  spec.Reference[strings.LastIndex(spec.Reference, ":")+1:],
		}
	}
	return b, nil
}

func (b *Built) json(mediaType string, v any) (Descriptor, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return Descriptor{}, err
	}
	sum := sha256.Sum256(text)
	d := Descriptor{MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(text))}
	b.add(d, blob{text: text, size: d.Size})
	return d, nil
}

func (b *Built) add(d Descriptor, content blob) {
	if _, ok := b.blobs[d.Digest]; !ok {
		b.order = append(b.order, d.Digest)
	}
	b.blobs[d.Digest] = content
}

// layer returns the descriptor of a layer and its digest before compression.
func (b *Built) layer(layer Layer, compress bool, dir string) (Descriptor, string, error) {
	file := layer.Tar
	if file == "" {
		packed, err := os.CreateTemp(dir, "layer-*.tar")
		if err != nil {
			return Descriptor{}, "", err
		}
		b.temporary = append(b.temporary, packed.Name())
		if err := errors.Join(pack(packed, layer.Files), packed.Close()); err != nil {
			return Descriptor{}, "", err
		}
		file = packed.Name()
	}
	in, err := os.Open(file)
	if err != nil {
		return Descriptor{}, "", err
	}
	defer in.Close()
	if err := checkTar(in); err != nil {
		return Descriptor{}, "", fmt.Errorf("layer %s: %w", file, err)
	}
	plain := sha256.New()
	if !compress {
		size, err := io.Copy(plain, in)
		digest := "sha256:" + hex.EncodeToString(plain.Sum(nil))
		d := Descriptor{MediaType: TypeLayer, Digest: digest, Size: size}
		b.add(d, blob{file: file, size: size})
		return d, digest, err
	}
	out, err := os.CreateTemp(dir, "layer-*.tar.gz")
	if err != nil {
		return Descriptor{}, "", err
	}
	b.temporary = append(b.temporary, out.Name())
	packed := sha256.New()
	zip := gzip.NewWriter(io.MultiWriter(out, packed))
	_, err = io.Copy(io.MultiWriter(zip, plain), in)
	if err := errors.Join(err, zip.Close()); err != nil {
		return Descriptor{}, "", errors.Join(err, out.Close())
	}
	info, err := out.Stat()
	if err := errors.Join(err, out.Close()); err != nil {
		return Descriptor{}, "", err
	}
	d := Descriptor{
		MediaType: TypeLayerGzip,
		Digest:    "sha256:" + hex.EncodeToString(packed.Sum(nil)), Size: info.Size(),
	}
	b.add(d, blob{file: out.Name(), size: d.Size})
	return d, "sha256:" + hex.EncodeToString(plain.Sum(nil)), nil
}

// checkTar refuses what is not a plain tar, before an image is made that no runtime can unpack.
func checkTar(in io.ReadSeeker) error {
	if _, err := tar.NewReader(bufio.NewReader(in)).Next(); err != nil {
		return fmt.Errorf("not an uncompressed tar: %w", err)
	}
	_, err := in.Seek(0, io.SeekStart)
	return err
}

// pack writes files into a tar, in the order of their targets, with the epoch as time.
func pack(out io.Writer, files []File) error {
	entries := map[string]File{}
	for _, file := range files {
		target := path.Clean(file.Target)
		if !path.IsAbs(target) || target == "/" && !isDir(file.Source) {
			return fmt.Errorf("target %q of %s: must be an absolute path", file.Target, file.Source)
		}
		err := filepath.WalkDir(file.Source, func(source string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			relative, err := filepath.Rel(file.Source, source)
			if err != nil {
				return err
			}
			one := file
			one.Source = source
			if relative != "." && entry.IsDir() {
				one.Mode = 0
			}
			entries[path.Join(target, filepath.ToSlash(relative))] = one
			return nil
		})
		if err != nil {
			return err
		}
	}
	for target := range entries {
		for parent := path.Dir(target); parent != "/"; parent = path.Dir(parent) {
			if _, ok := entries[parent]; !ok {
				entries[parent] = File{}
			}
		}
	}
	targets := make([]string, 0, len(entries))
	for target := range entries {
		if target != "/" {
			targets = append(targets, target)
		}
	}
	sort.Strings(targets)
	w := tar.NewWriter(out)
	for _, target := range targets {
		if err := packOne(w, target, entries[target]); err != nil {
			return err
		}
	}
	return w.Close()
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

func packOne(w *tar.Writer, target string, file File) error {
	header := &tar.Header{
		Name: strings.TrimPrefix(target, "/"), ModTime: time.Unix(0, 0), Uid: file.UID,
		Gid: file.GID, Format: tar.FormatPAX,
	}
	if file.Source == "" {
		header.Typeflag, header.Mode, header.Name = tar.TypeDir, 0o755, header.Name+"/"
		return w.WriteHeader(header)
	}
	info, err := os.Lstat(file.Source)
	if err != nil {
		return err
	}
	mode := file.Mode
	if mode == 0 {
		mode = info.Mode().Perm()
	}
	header.Mode = int64(mode)
	switch {
	case info.IsDir():
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
		return w.WriteHeader(header)
	case info.Mode()&fs.ModeSymlink != 0:
		header.Typeflag, header.Mode = tar.TypeSymlink, 0o777
		if header.Linkname, err = os.Readlink(file.Source); err != nil {
			return err
		}
		return w.WriteHeader(header)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: neither file, folder nor link", file.Source)
	}
	header.Typeflag, header.Size = tar.TypeReg, info.Size()
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	in, err := os.Open(file.Source)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(w, in)
	return err
}

// Blob implements Source.
func (b *Built) Blob(digest string) (io.ReadCloser, error) {
	content, ok := b.blobs[digest]
	if !ok {
		return nil, fs.ErrNotExist
	}
	if content.file == "" {
		return io.NopCloser(bytes.NewReader(content.text)), nil
	}
	return os.Open(content.file)
}

// Close removes the temporary files.
func (b *Built) Close() error {
	var errs []error
	for _, file := range b.temporary {
		errs = append(errs, os.Remove(file))
	}
	b.temporary = nil
	return errors.Join(errs...)
}

// Archive writes the image as an OCI archive: a tar of an OCI layout. The file appears complete or not at all.
func (b *Built) Archive(file string) error {
	out, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	buffered := bufio.NewWriterSize(out, 1<<20)
	err = b.archive(buffered)
	if err := errors.Join(err, buffered.Flush(), out.Chmod(0o644), out.Close()); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return os.Rename(out.Name(), file)
}

func (b *Built) archive(out io.Writer) error {
	index, err := json.Marshal(Index{SchemaVersion: 2, MediaType: TypeIndex, Manifests: []Descriptor{b.Manifest}})
	if err != nil {
		return err
	}
	w := tar.NewWriter(out)
	put := func(name string, size int64, content io.Reader) error {
		if err := w.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size,
			ModTime: time.Unix(0, 0),
		}); err != nil {
			return err
		}
		_, err := io.Copy(w, content)
		return err
	}
	layout := []byte(`{"imageLayoutVersion":"1.0.0"}`)
	if err := put("oci-layout", int64(len(layout)), bytes.NewReader(layout)); err != nil {
		return err
	}
	if err := put("index.json", int64(len(index)), bytes.NewReader(index)); err != nil {
		return err
	}
	for _, digest := range b.order {
		content, err := b.Blob(digest)
		if err != nil {
			return err
		}
		err = put("blobs/sha256/"+strings.TrimPrefix(digest, "sha256:"), b.blobs[digest].size, content)
		if err := errors.Join(err, content.Close()); err != nil {
			return err
		}
	}
	return w.Close()
}
