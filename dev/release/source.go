package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/outposts-dev/outposts/dev/clusters/image"
)

// source is where the images and charts of a release are, by references such as outpost:0.2.0.
type source interface {
	index(reference string) (v1.ImageIndex, error)
	image(reference string) (v1.Image, error)
}

// artifact is a manifest of a layout with its reference: what it is called below a registry. By image.AnnotationName
// containerd, and `clusters load`, know an image.
type artifact struct {
	v1.Descriptor
	reference string
}

// artifacts lists what the layout of a release or a bundle has, in its order.
func artifacts(dir string) ([]artifact, error) {
	index, err := layout.ImageIndexFromPath(filepath.Join(dir, imagesDir))
	if err != nil {
		return nil, fmt.Errorf("%s is neither a release nor a bundle: %w", dir, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	all := make([]artifact, len(manifest.Manifests))
	for i, d := range manifest.Manifests {
		all[i] = artifact{d, d.Annotations[image.AnnotationRef]}
	}
	return all, nil
}

// folder is the source in the folder of a release or a bundle.
type folder string

func (f folder) images() layout.Path { return layout.Path(filepath.Join(string(f), imagesDir)) }

func (f folder) find(reference string) (v1.Hash, error) {
	all, err := artifacts(string(f))
	if err != nil {
		return v1.Hash{}, err
	}
	for _, a := range all {
		if a.reference == reference {
			return a.Digest, nil
		}
	}
	return v1.Hash{}, fmt.Errorf("%s is not in %s", reference, f)
}

func (f folder) index(reference string) (v1.ImageIndex, error) {
	digest, err := f.find(reference)
	if err != nil {
		return nil, err
	}
	root, err := f.images().ImageIndex()
	if err != nil {
		return nil, err
	}
	return root.ImageIndex(digest)
}

func (f folder) image(reference string) (v1.Image, error) {
	digest, err := f.find(reference)
	if err != nil {
		return nil, err
	}
	return f.images().Image(digest)
}

// registry is the source below a name of a registry, such as registry.example.org/outposts. Who asks is whom the docker
// configuration says (docker login, or the variable DOCKER_CONFIG).
type registry struct {
	base    string
	options []remote.Option
}

// newRegistry refuses what is not a name such as registry.example.org/outposts.
func newRegistry(ctx context.Context, base string) (registry, error) {
	r := registry{base, []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}}
	if _, err := name.NewRepository(base, name.StrictValidation); err != nil {
		return r, fmt.Errorf("%q is not a name such as registry.example.org/outposts: %w", base, err)
	}
	return r, nil
}

func (r registry) tag(reference string) (name.Tag, error) {
	return name.NewTag(r.base+"/"+reference, name.StrictValidation)
}

// digest returns what a tag is, and the zero digest where there is no such tag.
func (r registry) digest(tag name.Tag) (v1.Hash, error) {
	d, err := remote.Head(tag, r.options...)
	var refused *transport.Error
	if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
		return v1.Hash{}, nil
	}
	if err != nil {
		return v1.Hash{}, fmt.Errorf("look for %s: %w", tag, err)
	}
	return d.Digest, nil
}

func (r registry) index(reference string) (v1.ImageIndex, error) {
	tag, err := r.tag(reference)
	if err != nil {
		return nil, err
	}
	return remote.Index(tag, r.options...)
}

func (r registry) image(reference string) (v1.Image, error) {
	tag, err := r.tag(reference)
	if err != nil {
		return nil, err
	}
	return remote.Image(tag, r.options...)
}

// fetched returns an index as a copy in a folder, with all that it refers to, so that what is read more than once is
// fetched once.
func fetched(index v1.ImageIndex, dir string) (v1.ImageIndex, error) {
	copied, err := layout.Write(dir, index)
	if err != nil {
		return nil, err
	}
	return copied.ImageIndex()
}
