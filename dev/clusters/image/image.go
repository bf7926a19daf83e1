// Package image writes and reads OCI images (image-spec v1.1) as archives and folders, with nothing but files: no
// daemon, no registry. Writing is reproducible: the same input gives the same digest.
package image

import (
	"encoding/json"
	"fmt"
	"io"
)

// Media types of the image specification, and of Docker's older one that means the same.
const (
	TypeIndex      = "application/vnd.oci.image.index.v1+json"
	TypeManifest   = "application/vnd.oci.image.manifest.v1+json"
	TypeConfig     = "application/vnd.oci.image.config.v1+json"
	TypeLayer      = "application/vnd.oci.image.layer.v1.tar"
	TypeLayerGzip  = "application/vnd.oci.image.layer.v1.tar+gzip"
	typeDockerList = "application/vnd.docker.distribution.manifest.list.v2+json"
	typeDocker     = "application/vnd.docker.distribution.manifest.v2+json"
)

// Annotations that carry an image's name in an index: containerd's is whole, that of the
// specification often only the tag.
const (
	AnnotationName = "io.containerd.image.name"
	AnnotationRef  = "org.opencontainers.image.ref.name"
)

// Descriptor points at a blob (image-spec, descriptor.md).
type Descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *Platform         `json:"platform,omitempty"`
}

// Platform is the kind of machine that an image runs on.
type Platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

// IsManifest reports whether the blob refers to further blobs.
func (d Descriptor) IsManifest() bool {
	switch d.MediaType {
	case TypeIndex, TypeManifest, typeDocker, typeDockerList:
		return true
	}
	return false
}

// Index lists manifests: index.json of a layout, or an image for several platforms.
type Index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType,omitempty"`
	Manifests     []Descriptor `json:"manifests"`
}

// Manifest is one image: its config and layers.
type Manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// Config is the part of an image that says how to run it (image-spec, config.md).
type Config struct {
	Created      string    `json:"created"`
	Architecture string    `json:"architecture"`
	OS           string    `json:"os"`
	Config       Execution `json:"config"`
	RootFS       RootFS    `json:"rootfs"`
}

// Execution holds the defaults of a container.
type Execution struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
}

// RootFS lists the digests of the layers before compression.
type RootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// Source reads blobs by digest. It does not check their contents.
type Source interface {
	Blob(digest string) (io.ReadCloser, error)
}

// References returns what a manifest or an index refers to.
func References(text []byte) ([]Descriptor, error) {
	var both struct {
		Manifests []Descriptor
		Config    *Descriptor
		Layers    []Descriptor
	}
	if err := json.Unmarshal(text, &both); err != nil {
		return nil, err
	}
	parts := append(both.Manifests, both.Layers...)
	if both.Config != nil {
		parts = append(parts, *both.Config)
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("it refers to nothing")
	}
	return parts, nil
}

// MediaType returns the media type of a manifest's or index's text.
func MediaType(text []byte) string {
	var m struct {
		MediaType string
		Manifests json.RawMessage
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return "application/octet-stream"
	}
	switch {
	case m.MediaType != "":
		return m.MediaType
	case m.Manifests != nil:
		return TypeIndex
	}
	return TypeManifest
}
