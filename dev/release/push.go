package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// push copies all of a folder's images and charts, with their signatures, to a registry. A tag that is there with
// another digest is never overwritten: then nothing is pushed. Signatures come first: who finds a tag finds it signed.
func push(from folder, to registry, stdout io.Writer) error {
	all, err := artifacts(string(from))
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b artifact) int { return cmp.Compare(a.rank(), b.rank()) })
	tags := make([]name.Tag, len(all))
	there := make([]bool, len(all))
	for i, a := range all {
		if tags[i], err = to.tag(a.reference); err != nil {
			return err
		}
		if there[i], err = has(from, to, a, tags[i]); err != nil {
			return err
		}
	}
	for i, a := range all {
		word := "is there"
		if !there[i] {
			word = "pushed"
			if err := copyTo(from, to, a, tags[i]); err != nil {
				return fmt.Errorf("push %s: %w", tags[i], err)
			}
		}
		if _, err := fmt.Fprintf(stdout, "%s %s@%s\n", word, tags[i], a.Digest); err != nil {
			return err
		}
	}
	return nil
}

// rank orders what is pushed.
func (a artifact) rank() int {
	if a.signs() {
		return 0
	}
	return 1
}

// has reports whether a registry has an artifact, and refuses to overwrite another one.
func has(from folder, to registry, a artifact, tag name.Tag) (bool, error) {
	is, err := to.digest(tag)
	switch {
	case err != nil:
		return false, err
	case is == a.Digest:
		return true, nil
	case is == v1.Hash{}:
		return false, nil
	}
	if a.signs() {
		if others, err := amongOthers(from, to, a.reference); err != nil || others {
			return others, err
		}
	}
	return false, fmt.Errorf("%s is %s there, and would become %s; nothing was pushed. A version stays what it was: "+
		"take another one", tag, is, a.Digest)
}

// amongOthers reports whether a registry has our signatures beside those that others added by cosign.
func amongOthers(from folder, to registry, reference string) (bool, error) {
	ours, err := signaturesOf(from, reference)
	if err != nil {
		return false, err
	}
	theirs, err := signaturesOf(to, reference)
	if err != nil {
		return false, err
	}
	for _, one := range ours {
		if !slices.Contains(theirs, one) {
			return false, nil
		}
	}
	return true, nil
}

// signaturesOf returns the signatures of a reference, each with the digest of what is signed.
func signaturesOf(s source, reference string) ([]string, error) {
	img, err := s.image(reference)
	if err != nil {
		return nil, err
	}
	manifest, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	all := make([]string, len(manifest.Layers))
	for i, layer := range manifest.Layers {
		all[i] = layer.Digest.String() + " " + layer.Annotations[signatureAnnotation]
	}
	return all, nil
}

func copyTo(from folder, to registry, a artifact, tag name.Tag) error {
	if a.MediaType.IsIndex() {
		index, err := from.index(a.reference)
		if err != nil {
			return err
		}
		return remote.WriteIndex(tag, index, to.options...)
	}
	img, err := from.image(a.reference)
	if err != nil {
		return err
	}
	return remote.Write(tag, img, to.options...)
}
