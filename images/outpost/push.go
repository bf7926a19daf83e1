package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/outposts-dev/outposts/dev/clusters/image"
)

// push copies the image of an archive to registries, as who the docker configuration says (docker login, or the
// variable DOCKER_CONFIG). It tells the reference by digest, which is what the chart's image.digest wants. Unless it is
// forced to, it takes no tag from a release.
func push(ctx context.Context, archive string, references []string, force bool, stdout io.Writer) (err error) {
	targets := make([]name.Tag, len(references))
	for i, reference := range references {
		if targets[i], err = name.NewTag(reference, name.StrictValidation); err != nil {
			return fmt.Errorf("%q is not a name such as registry.example.org/outpost:1.0.0: %w", reference, err)
		}
	}
	dir, err := os.MkdirTemp("", "outpost-push-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	unpacked, err := image.UnpackOne(archive, dir)
	if err != nil {
		return fmt.Errorf("%s is not an OCI archive of an image: %w", archive, err)
	}
	digest, err := v1.NewHash(unpacked.Digest)
	if err != nil {
		return fmt.Errorf("image in %s: %w", archive, err)
	}
	img, err := layout.Path(dir).Image(digest)
	if err != nil {
		return fmt.Errorf("image in %s: %w", archive, err)
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	for _, target := range targets {
		if err := checkTag(target, options); err != nil && !force {
			return err
		}
	}
	for _, target := range targets {
		if err := remote.Write(target, img, options...); err != nil {
			return fmt.Errorf("push %s: %w", target, err)
		}
		if _, err := fmt.Fprintf(stdout, "pushed %s@%s\n", target, digest); err != nil {
			return err
		}
	}
	return nil
}

// unknown are the answers of registries where a tag is not there; some say only that nobody may read it.
var unknown = []int{http.StatusNotFound, http.StatusUnauthorized, http.StatusForbidden}

// checkTag refuses a tag that has an index, as a release's image is: a single image would take its place for both
// architectures. A single image that is there, as an earlier push has left it, may be replaced.
func checkTag(tag name.Tag, options []remote.Option) error {
	is, err := remote.Head(tag, options...)
	var refused *transport.Error
	switch {
	case errors.As(err, &refused) && slices.Contains(unknown, refused.StatusCode):
		return nil
	case err != nil:
		return fmt.Errorf("look for %s: %w", tag, err)
	case is.MediaType.IsIndex():
		return fmt.Errorf("%s is the image of a release, %s, and a version stays what it was; nothing was pushed. "+
			"Take another tag (VERSION=), or replace it (FORCE=yes)", tag, is.Digest)
	}
	return nil
}
