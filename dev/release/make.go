package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/Masterminds/semver/v3"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/outposts-dev/outposts/dev/clusters/image"
)

// What a release consists of: the image for each architecture, and the charts by their folders below charts/.
var (
	architectures = []string{"amd64", "arm64"}
	charts        = []string{"outpost", "outposts-hub"}
)

// imageName is what the image is called below a registry; a chart is charts/NAME there.
const imageName = "outpost"

// imagesDir is the OCI layout in the folder of a release.
const imagesDir = "images"

// revisionAnnotation has the commit of a release, in the index of its image.
const revisionAnnotation = "org.opencontainers.image.revision"

// builder makes the image for an architecture: an OCI archive, and beside it the list of what it has, whose name ends
// with .cdx.json.
type builder func(ctx context.Context, architecture, archive string) error

// maker makes releases.
type maker struct {
	root, version, revision string
	key                     *ecdsa.PrivateKey
	build                   builder
	images                  layout.Path // what is made
}

// checkVersion refuses what is not a version by semantic versioning, or cannot be a tag.
func checkVersion(version string) error {
	v, err := semver.StrictNewVersion(version)
	if err != nil {
		return fmt.Errorf("VERSION=%s is not a version such as 0.2.0 or 0.2.0-rc.1: %w", version, err)
	}
	if v.Metadata() != "" {
		return fmt.Errorf("VERSION=%s: a tag of a registry cannot have a +; leave +%s out", version, v.Metadata())
	}
	return nil
}

// revisionOf returns the commit of a checkout that has no changes.
func revisionOf(ctx context.Context, root string) (string, error) {
	changed, err := git(ctx, root, "status", "--porcelain", "--untracked-files=all")
	if err != nil {
		return "", err
	}
	if changed != "" {
		return "", fmt.Errorf("the checkout differs from its commit, and a release is made of a commit; "+
			"commit or remove\n%s", changed)
	}
	return git(ctx, root, "rev-parse", "HEAD")
}

func git(ctx context.Context, root string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) } // it then takes back what it has begun
	out, err := c.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(exit.Stderr))
	}
	return strings.TrimRight(string(out), "\n"), err
}

// compiled builds the image of the checkout, by the program that also makes that of `make image`.
func compiled(root, version, revision string) builder {
	return func(ctx context.Context, architecture, archive string) error {
		c := exec.CommandContext(ctx, filepath.Join(root, "dev", "go"),
			"run", "-C", filepath.Join(root, "images", "outpost"), ".", "build", "-root", root, "-out", archive,
			"-ref", "localhost/outposts/outpost:"+version, "-version", version, "-revision", revision,
			"-arch", architecture)
		c.Stdout, c.Stderr = os.Stderr, os.Stderr
		// What go run starts ends too, and cleans up: none of it may work on in a checkout that is being removed.
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGINT) }
		if err := c.Run(); err != nil {
			return fmt.Errorf("build the image for %s: %w", architecture, err)
		}
		return nil
	}
}

// run makes the release and then gives it its place, whole. A release that is there already must be the same.
func (m maker) run(ctx context.Context, out string, stdout io.Writer) (err error) {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(out), "."+filepath.Base(out)+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if err := m.make(ctx, dir); err != nil {
		return err
	}
	is, err := sumsOf(dir)
	if err != nil {
		return err
	}
	was, err := sumsOf(out)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.Rename(dir, out); err != nil {
			return err
		}
		return tell(out, "made", stdout)
	}
	err = errors.Join(err, differences(out, is, was))
	if err == nil {
		err = checkSums(out, &m.key.PublicKey) // the sums lack the list itself and its signature
	}
	if err != nil {
		return fmt.Errorf("%s was made before and is another; take another VERSION, or remove it if nobody has it:\n%w",
			out, err)
	}
	return tell(out, "made again, and the same:", stdout)
}

// tell says what a release has, by digest.
func tell(dir, what string, stdout io.Writer) error {
	names, err := artifacts(dir)
	if err != nil {
		return err
	}
	for _, a := range names {
		if !a.signs() {
			if _, err := fmt.Fprintf(stdout, "%s %s@%s\n", what, a.reference, a.Digest); err != nil {
				return err
			}
		}
	}
	_, err = fmt.Fprintf(stdout, "%s %s\n", what, dir)
	return err
}

func (m maker) make(ctx context.Context, dir string) (err error) {
	if m.images, err = layout.Write(filepath.Join(dir, imagesDir), empty.Index); err != nil {
		return err
	}
	digest, err := m.addImage(ctx, dir)
	if err != nil {
		return err
	}
	for _, folder := range charts {
		about, archive, err := packChart(filepath.Join(m.root, "charts", folder), m.version, digest.String())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, about.Name+"-"+m.version+".tgz"), archive, 0o644); err != nil {
			return err
		}
		manifest, err := addChart(m.images, about, archive)
		if err != nil {
			return err
		}
		name := "charts/" + about.Name
		manifest.Annotations = map[string]string{image.AnnotationRef: name + ":" + m.version}
		err = errors.Join(m.images.AppendDescriptor(manifest), m.addSignature(name, m.version, manifest.Digest))
		if err != nil {
			return err
		}
	}
	return writeSums(dir, m.key)
}

// addImage builds the image for each architecture, and makes one index of them.
func (m maker) addImage(ctx context.Context, dir string) (digest v1.Hash, err error) {
	work, err := os.MkdirTemp("", "outposts-release-")
	if err != nil {
		return digest, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, architecture := range architectures {
		archive := filepath.Join(work, architecture+".tar")
		if err := m.build(ctx, architecture, archive); err != nil {
			return digest, err
		}
		img, _, err := openArchive(archive, filepath.Join(work, architecture))
		if err != nil {
			return digest, err
		}
		if err := checkPlatform(img, architecture); err != nil {
			return digest, fmt.Errorf("the image for %s: %w", architecture, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			MediaType: types.OCIManifestSchema1, Platform: &v1.Platform{OS: "linux", Architecture: architecture},
		}})
		list, err := os.ReadFile(archive + ".cdx.json")
		if err != nil {
			return digest, err
		}
		name := imageName + "-" + m.version + "-linux-" + architecture + ".cdx.json"
		if err := os.WriteFile(filepath.Join(dir, name), list, 0o644); err != nil {
			return digest, err
		}
	}
	index, ok := mutate.Annotations(index, map[string]string{
		"org.opencontainers.image.title":   imageName,
		"org.opencontainers.image.version": m.version,
		revisionAnnotation:                 m.revision,
	}).(v1.ImageIndex)
	if !ok {
		return digest, errors.New("an index with annotations is none")
	}
	if digest, err = index.Digest(); err != nil {
		return digest, err
	}
	err = m.images.AppendIndex(index, layout.WithAnnotations(map[string]string{
		image.AnnotationRef:  imageName + ":" + m.version,
		image.AnnotationName: "localhost/outposts/" + imageName + ":" + m.version,
	}))
	return digest, errors.Join(err, m.addSignature(imageName, m.version, digest))
}

func (m maker) addSignature(artifact, version string, digest v1.Hash) error {
	img, err := signatureImage(m.key, artifact, version, digest)
	if err != nil {
		return err
	}
	return m.images.AppendImage(img, layout.WithAnnotations(map[string]string{
		image.AnnotationRef: artifact + ":" + signatureTag(digest),
	}))
}

// openArchive unpacks an archive with one image into a folder, and returns the image with the name that it has there.
func openArchive(archive, dir string) (img v1.Image, name string, err error) {
	unpacked, err := image.UnpackOne(archive, dir)
	if err != nil {
		return nil, "", err
	}
	digest, err := v1.NewHash(unpacked.Digest)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", archive, err)
	}
	img, err = layout.Path(dir).Image(digest)
	return img, unpacked.Annotations[image.AnnotationName], err
}
