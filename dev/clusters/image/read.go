package image

import (
	"archive/tar"
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Layout is an OCI layout that was opened for reading: an archive (tar) or a folder. Its zero value is not usable.
type Layout struct {
	Index  Index
	name   string
	file   *os.File              // of an archive
	places map[string]tarSection // of an archive
}

type tarSection struct{ offset, size int64 }

// Open opens an OCI archive or folder. Blobs are read in place: nothing is unpacked.
func Open(name string) (*Layout, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	l := &Layout{name: name}
	if !info.IsDir() {
		if err := l.scan(); err != nil {
			return nil, errors.Join(fmt.Errorf("%s is not an OCI archive, or a broken one: %w", name, err), l.Close())
		}
	}
	text, err := l.read("index.json")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s is not an OCI layout: %w", name, err), l.Close())
	}
	if err := json.Unmarshal(text, &l.Index); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: index.json: %w", name, err), l.Close())
	}
	if len(l.Index.Manifests) == 0 {
		return nil, errors.Join(fmt.Errorf("%s: index.json names no image", name), l.Close())
	}
	return l, nil
}

// scan notes where in the archive each file begins.
func (l *Layout) scan() error {
	file, err := os.Open(l.name)
	if err != nil {
		return err
	}
	l.file, l.places = file, map[string]tarSection{}
	counted := &counter{in: file}
	r := tar.NewReader(counted)
	for {
		header, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag == tar.TypeReg {
			l.places[path.Clean(header.Name)] = tarSection{counted.at, header.Size}
		}
	}
}

// counter knows its place in the file. It passes Seek on, so that a tar reader skips contents instead of reading them.
type counter struct {
	in *os.File
	at int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.at += int64(n)
	return n, err
}

func (c *counter) Seek(offset int64, whence int) (int64, error) {
	at, err := c.in.Seek(offset, whence)
	c.at = at
	return at, err
}

func (l *Layout) read(name string) ([]byte, error) {
	in, err := l.open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return io.ReadAll(io.LimitReader(bufio.NewReader(in), 16<<20))
}

func (l *Layout) open(name string) (io.ReadCloser, error) {
	if l.file == nil {
		return os.Open(filepath.Join(l.name, filepath.FromSlash(name)))
	}
	place, ok := l.places[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return io.NopCloser(io.NewSectionReader(l.file, place.offset, place.size)), nil
}

// Blob implements Source.
func (l *Layout) Blob(digest string) (io.ReadCloser, error) {
	algorithm, sum, found := strings.Cut(digest, ":")
	if !found || strings.ContainsAny(digest, "/.") {
		return nil, fmt.Errorf("digest %q", digest)
	}
	return l.open("blobs/" + algorithm + "/" + sum)
}

// UnpackOne writes the files of an archive with one image into a folder and nowhere else. It returns what the archive's
// index says of the image.
func UnpackOne(archive, dir string) (d Descriptor, err error) {
	l, err := Open(archive)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if len(l.Index.Manifests) != 1 {
		return d, fmt.Errorf("%s holds %d images, not one", archive, len(l.Index.Manifests))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return d, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for name := range l.places {
		if err := l.unpack(root, name); err != nil {
			return d, fmt.Errorf("unpack %s: %w", archive, err)
		}
	}
	return l.Index.Manifests[0], nil
}

func (l *Layout) unpack(root *os.Root, name string) error {
	in, err := l.open(name)
	if err != nil {
		return err
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return errors.Join(err, in.Close())
	}
	out, err := root.Create(name)
	if err != nil {
		return errors.Join(err, in.Close())
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), in.Close())
}

// Close closes the archive.
func (l *Layout) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// Image returns the image to load and the name it is to have. reference chooses among several and may be empty when
// there is one that carries its name.
func (l *Layout) Image(reference string) (Descriptor, string, error) {
	var names []string
	for _, d := range l.Index.Manifests {
		name := d.Annotations[AnnotationName]
		if name == "" && strings.Contains(d.Annotations[AnnotationRef], ":") {
			name = d.Annotations[AnnotationRef]
		}
		names = append(names, name)
	}
	if len(names) == 1 {
		if reference == "" {
			reference = names[0]
		}
		if reference == "" {
			return Descriptor{}, "", fmt.Errorf("%s does not say what its image is called: give --ref HOST/NAME:TAG",
				l.name)
		}
		return l.Index.Manifests[0], reference, nil
	}
	for i, name := range names {
		if name != "" && name == reference {
			return l.Index.Manifests[i], reference, nil
		}
	}
	return Descriptor{}, "", fmt.Errorf("%s holds %d images; choose one with --ref: %s", l.name,
		len(names), strings.Join(names, ", "))
}
