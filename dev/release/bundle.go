package main

import (
	"archive/tar"
	"context"
	"crypto/ecdsa"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/klauspost/compress/gzip"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/outposts-dev/outposts/dev/clusters/image"
)

// bundler makes a bundle: one archive with a release and all that brings it to clusters without internet.
type bundler struct {
	release string   // its folder
	images  []string // archives of further images
	charts  []string // what zero-to-jupyterhub is installed by: a folder or an archive
	files   []string // TARGET=SOURCE, files or folders
	key     *ecdsa.PrivateKey
	version string
}

func runBundle(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("bundle", flag.ContinueOnError)
	var b bundler
	add := func(list *[]string) func(string) error {
		return func(value string) error { *list = append(*list, value); return nil }
	}
	root := flags.String("root", ".", "`folder` of the checkout that further files are of")
	flags.StringVar(&b.version, "version", "", "version of the release")
	flags.StringVar(&b.release, "release", "", "`folder` of the release")
	flags.Func("image", "`archive` of a further image", add(&b.images))
	flags.Func("chart", "`folder or archive` of a further chart", add(&b.charts))
	flags.Func("add", "further file or folder, as `TARGET=SOURCE`", add(&b.files))
	keyFile := flags.String("key", "", "`file` with the private key that made the release")
	out := flags.String("out", "", "`archive` to write, such as outposts-0.2.0.tar.gz")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := checkVersion(b.version); err != nil {
		return err
	}
	var err error
	if b.key, err = readPrivateKey(*keyFile, os.Getenv(passwordVariable)); err != nil {
		return err
	}
	if err := b.checkRevision(ctx, *root); err != nil {
		return err
	}
	return b.run(*out, stdout)
}

// checkRevision refuses a checkout that is not the commit of the release: programs, examples and manual come from it,
// and who trusts the signature takes them for those of the release.
func (b bundler) checkRevision(ctx context.Context, root string) error {
	revision, err := revisionOf(ctx, root)
	if err != nil {
		return err
	}
	index, err := folder(b.release).index(imageName + ":" + b.version)
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	if is := manifest.Annotations[revisionAnnotation]; is != revision {
		return fmt.Errorf("%s is of commit %s, and the checkout is %s; git checkout %s first", b.release, is, revision,
			is)
	}
	return nil
}

// run checks the release and makes the archive of it and of the rest, whole or not at all.
func (b bundler) run(out string, stdout io.Writer) (err error) {
	v := verifier{version: b.version, key: &b.key.PublicKey, stdout: io.Discard}
	if err := v.folder(b.release); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(out), "."+filepath.Base(out)+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	dir := filepath.Join(work, strings.TrimSuffix(filepath.Base(out), ".tar.gz"))
	if err := os.CopyFS(dir, os.DirFS(b.release)); err != nil {
		return err
	}
	for _, name := range []string{sumsFile, signatureFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := b.fill(dir, work); err != nil {
		return err
	}
	if err := writeSums(dir, b.key); err != nil {
		return err
	}
	made := filepath.Join(work, "made")
	if err := archive(dir, made); err != nil {
		return err
	}
	sum, err := sumOf(made)
	if err != nil {
		return err
	}
	info, err := os.Stat(made)
	if err != nil {
		return err
	}
	if err := os.Rename(made, out); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "made %s, %d MB, SHA-256 %s\n", out, info.Size()>>20, sum)
	return err
}

// fill adds to a release what a bundle has beside it.
func (b bundler) fill(dir, work string) error {
	for i, file := range b.images {
		if err := b.addArchive(dir, file, filepath.Join(work, fmt.Sprint(i))); err != nil {
			return err
		}
	}
	for _, name := range charts {
		b.charts = append(b.charts, filepath.Join(dir, name+"-"+b.version+".tgz"))
	}
	for _, file := range b.charts {
		if err := unpackChart(file, filepath.Join(dir, "charts")); err != nil {
			return err
		}
	}
	for _, file := range b.files {
		target, source, _ := strings.Cut(file, "=")
		if !filepath.IsLocal(target) {
			return fmt.Errorf("%s leads out of the bundle", target)
		}
		if err := copyTree(source, filepath.Join(dir, target)); err != nil {
			return err
		}
	}
	return nil
}

// addArchive adds the image of an archive, and its signature, under the last part of its name and the version: of
// localhost/outposts/hub:1 that is hub:1-0.2.0. The tag of an archive is what the image is made for; what else is in it
// changes with each build, and a registry never gives a tag to another image.
func (b bundler) addArchive(dir, file, work string) error {
	img, full, err := openArchive(file, work)
	if err != nil {
		return err
	}
	name, tag, ok := strings.Cut(full[strings.LastIndex(full, "/")+1:], ":")
	if !ok {
		return fmt.Errorf("%s does not say what its image is called", file)
	}
	reference := name + ":" + tag + "-" + b.version
	if _, err := folder(dir).find(reference); err == nil {
		return fmt.Errorf("%s: the bundle has %s already, and a registry has one image of each name", file, reference)
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	m := maker{key: b.key, images: folder(dir).images()}
	err = m.images.AppendImage(img, layout.WithAnnotations(map[string]string{
		image.AnnotationRef: reference, image.AnnotationName: full + "-" + b.version,
	}))
	// It is signed as what its own tag says, not as of this version: a later bundle may have the same image.
	return errors.Join(err, m.addSignature(name, tag, digest), os.RemoveAll(work))
}

// unpackChart writes the files of a chart below a folder, under its name, which no other chart may have: of two, one
// would become part of the other.
func unpackChart(file, dir string) error {
	c, err := loader.Load(file)
	if err != nil {
		return fmt.Errorf("chart %s: %w", file, err)
	}
	// Mkdir also refuses a chart that calls itself .., which Helm lets pass.
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.Mkdir(filepath.Join(dir, c.Name()), 0o755)); err != nil {
		return fmt.Errorf("chart %s: %w", file, err)
	}
	for _, f := range c.Raw {
		name := filepath.FromSlash(f.Name)
		if !filepath.IsLocal(name) {
			return fmt.Errorf("chart %s: %s leads out of it", file, f.Name)
		}
		target := filepath.Join(dir, c.Name(), name)
		err := errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.WriteFile(target, f.Data, 0o644))
		if err != nil {
			return err
		}
	}
	return nil
}

// copyTree copies a file or a folder, with the contents of what symbolic links lead to.
func copyTree(source, target string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), copyFile(source, target, info.Mode().Perm()))
	}
	entries, err := os.ReadDir(source)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := copyTree(filepath.Join(source, entry.Name()), filepath.Join(target, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(source, target string, mode fs.FileMode) (err error) {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// archive packs a folder, whose name all in it begins with, without times and owners.
func archive(dir, file string) (err error) {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	zip, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	w := tar.NewWriter(zip)
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return pack(w, filepath.Dir(dir), path)
	})
	return errors.Join(err, w.Close(), zip.Close())
}

func pack(w *tar.Writer, base, path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	name, err := filepath.Rel(base, path)
	if err != nil {
		return err
	}
	return addFile(w, name, 0o644|int64(info.Mode().Perm()&0o111), info.Size(), in)
}

// addFile writes a file into an archive, without what would differ the next time: owner and times.
func addFile(w *tar.Writer, name string, mode, size int64, content io.Reader) error {
	header := tar.Header{
		Typeflag: tar.TypeReg, Name: filepath.ToSlash(name), Size: size, Mode: mode, ModTime: time.Unix(0, 0),
	}
	if err := w.WriteHeader(&header); err != nil {
		return err
	}
	_, err := io.Copy(w, content)
	return err
}
