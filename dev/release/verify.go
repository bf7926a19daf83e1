package main

import (
	"crypto/ecdsa"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// verifier checks a release by the public key of who made it.
type verifier struct {
	from    source
	version string
	key     *ecdsa.PublicKey
	stdout  io.Writer
}

// run checks the image with its parts, both charts, that they name this image, and the signature of each.
func (v verifier) run() error {
	digest, err := v.image()
	if err != nil {
		return err
	}
	for _, name := range charts {
		if err := v.chart("charts/"+name, digest); err != nil {
			return err
		}
	}
	return nil
}

// folder checks a folder: its files by their sums, and what is in its layout as in a registry.
func (v verifier) folder(dir string) error {
	if err := checkSums(dir, v.key); err != nil {
		return err
	}
	v.from = folder(dir)
	return v.run()
}

// image checks the index of the image and all that it refers to.
func (v verifier) image() (digest v1.Hash, err error) {
	reference := imageName + ":" + v.version
	index, err := v.from.index(reference)
	if err != nil {
		return digest, fmt.Errorf("%s: %w", reference, err)
	}
	if digest, err = index.Digest(); err != nil {
		return digest, fmt.Errorf("%s: %w", reference, err)
	}
	if err := v.signed(imageName, digest); err != nil {
		return digest, err
	}
	if _, far := v.from.(registry); far {
		dir, err := os.MkdirTemp("", "outposts-release-")
		if err != nil {
			return digest, err
		}
		defer os.RemoveAll(dir)
		if index, err = fetched(index, dir); err != nil {
			return digest, fmt.Errorf("fetch %s: %w", reference, err)
		}
	}
	if err := validate.Index(index); err != nil {
		return digest, fmt.Errorf("%s is damaged: %w", reference, err)
	}
	if err := checkPlatforms(index); err != nil {
		return digest, fmt.Errorf("%s: %w", reference, err)
	}
	return digest, v.tell(reference, digest)
}

// chart checks a chart, and that what it installs is the image.
func (v verifier) chart(name string, imageDigest v1.Hash) error {
	reference := name + ":" + v.version
	img, err := v.from.image(reference)
	if err != nil {
		return fmt.Errorf("%s: %w", reference, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return fmt.Errorf("%s: %w", reference, err)
	}
	if err := v.signed(name, digest); err != nil {
		return err
	}
	c, err := chartOf(img)
	if err != nil {
		return fmt.Errorf("%s: %w", reference, err)
	}
	if c.Metadata.Version != v.version || c.Metadata.AppVersion != v.version {
		return fmt.Errorf("%s is of version %s for %s", reference, c.Metadata.Version, c.Metadata.AppVersion)
	}
	if is := c.Metadata.Annotations[digestAnnotation]; is != imageDigest.String() {
		return fmt.Errorf("%s is for the image %s, want %s", reference, is, imageDigest)
	}
	return v.tell(reference, digest)
}

// signed checks the signature of an artifact.
func (v verifier) signed(artifact string, digest v1.Hash) error {
	signatures, err := v.from.image(artifact + ":" + signatureTag(digest))
	if err != nil {
		return fmt.Errorf("%s:%s is not signed: %w", artifact, v.version, err)
	}
	if err := checkSignature(v.key, signatures, artifact, v.version, digest); err != nil {
		return fmt.Errorf("%s:%s: %w", artifact, v.version, err)
	}
	return nil
}

func (v verifier) tell(reference string, digest v1.Hash) error {
	_, err := fmt.Fprintf(v.stdout, "verified %s@%s\n", reference, digest)
	return err
}
