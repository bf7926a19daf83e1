package main

import (
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/sigstore/pkg/signature/payload"
)

// The form in which cosign keeps the signature of an image beside it, under a tag that is made of its digest (cosign's
// SIGNATURE_SPEC.md): a layer for each, with what is signed as its content.
const (
	simpleSigning       = types.MediaType("application/vnd.dev.cosign.simplesigning.v1+json")
	signatureAnnotation = "dev.cosignproject.cosign/signature"
)

// publisher is the name below which what is signed is known, in whatever registry it is.
const publisher = "ghcr.io/outposts-dev/"

// signatureTag is the tag of the signatures of a digest.
func signatureTag(digest v1.Hash) string { return digest.Algorithm + "-" + digest.Hex + ".sig" }

// signs reports whether an artifact is the signatures of another.
func (a artifact) signs() bool { return strings.HasSuffix(a.reference, ".sig") }

// signatureImage returns the signature of an artifact as it is pushed.
func signatureImage(key *ecdsa.PrivateKey, artifact, version string, digest v1.Hash) (v1.Image, error) {
	reference, err := name.NewDigest(publisher + artifact + "@" + digest.String())
	if err != nil {
		return nil, err
	}
	signed, err := json.Marshal(payload.Cosign{Image: reference, Annotations: map[string]any{"version": version}})
	if err != nil {
		return nil, err
	}
	signature, err := sign(key, signed)
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	return mutate.Append(img, mutate.Addendum{
		Layer:       static.NewLayer(signed, simpleSigning),
		Annotations: map[string]string{signatureAnnotation: signature},
	})
}

// checkSignature reports an error unless one of an image's signatures is by a key, and of this artifact and version.
func checkSignature(key *ecdsa.PublicKey, signatures v1.Image, artifact, version string, digest v1.Hash) error {
	manifest, err := signatures.Manifest()
	if err != nil {
		return err
	}
	result := errors.New("it has no signature")
	for _, layer := range manifest.Layers {
		if layer.MediaType != simpleSigning {
			continue
		}
		signed, err := contentOf(signatures, layer.Digest, 1<<20)
		if err != nil {
			return err
		}
		if result = check(key, signed, layer.Annotations[signatureAnnotation]); result != nil {
			continue
		}
		if result = covers(signed, artifact, version, digest); result == nil {
			return nil
		}
	}
	return result
}

// covers reports an error unless what was signed is an artifact of a version.
func covers(signed []byte, artifact, version string, digest v1.Hash) error {
	var p payload.Cosign
	if err := json.Unmarshal(signed, &p); err != nil {
		return fmt.Errorf("what is signed cannot be read: %w", err)
	}
	want := publisher + artifact + "@" + digest.String()
	if p.Image.String() != want || p.Annotations["version"] != version {
		return fmt.Errorf("what is signed is %s of version %v, want %s of version %s", p.Image,
			p.Annotations["version"], want, version)
	}
	return nil
}

// contentOf reads a layer of an image, at most a number of bytes.
func contentOf(img v1.Image, digest v1.Hash, most int64) ([]byte, error) {
	layer, err := img.LayerByDigest(digest)
	if err != nil {
		return nil, err
	}
	in, err := layer.Compressed()
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(in, most))
	return content, errors.Join(err, in.Close())
}
