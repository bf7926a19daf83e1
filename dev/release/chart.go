package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"sigs.k8s.io/yaml"
)

// Media types of a chart in a registry (Helm's HIP 6).
const (
	chartConfig  types.MediaType = "application/vnd.cncf.helm.config.v1+json"
	chartContent types.MediaType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// digestAnnotation has the digest of the image in the Chart.yaml of a chart that is released: what runs where no values
// name another image.
const digestAnnotation = "outposts.dev/image-digest"

// packChart returns the chart of a folder as an archive, with the version of the release and the digest of its image.
// What `helm package` writes has the time of the making in it; here all times are 0, so that the same sources give the
// same archive.
func packChart(folder, version, digest string) (*chart.Metadata, []byte, error) {
	c, err := loader.LoadDir(folder)
	if err != nil {
		return nil, nil, fmt.Errorf("chart %s: %w", folder, err)
	}
	if len(c.Dependencies()) > 0 || c.Lock != nil {
		return nil, nil, fmt.Errorf("chart %s depends on others, which a release does not pack", folder)
	}
	c.Metadata.Version, c.Metadata.AppVersion = version, version
	if c.Metadata.Annotations == nil {
		c.Metadata.Annotations = map[string]string{}
	}
	c.Metadata.Annotations[digestAnnotation] = digest
	if err := c.Validate(); err != nil {
		return nil, nil, fmt.Errorf("chart %s: %w", folder, err)
	}
	about, err := yaml.Marshal(c.Metadata)
	if err != nil {
		return nil, nil, err
	}
	files := []*chart.File{{Name: "Chart.yaml", Data: about}}
	for _, f := range c.Raw {
		if f.Name != "Chart.yaml" {
			files = append(files, f)
		}
	}
	slices.SortFunc(files, func(a, b *chart.File) int { return strings.Compare(a.Name, b.Name) })
	archive, err := packFiles(c.Name(), files)
	return c.Metadata, archive, err
}

func packFiles(folder string, files []*chart.File) ([]byte, error) {
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(zip)
	for _, f := range files {
		name := filepath.Join(folder, f.Name)
		if err := addFile(w, name, 0o644, int64(len(f.Data)), bytes.NewReader(f.Data)); err != nil {
			return nil, err
		}
	}
	err = errors.Join(w.Close(), zip.Close())
	return out.Bytes(), err
}

// addChart writes a chart into a layout as Helm pushes one, but for the time of the push, and returns its manifest.
func addChart(images layout.Path, about *chart.Metadata, archive []byte) (v1.Descriptor, error) {
	config, err := json.Marshal(about)
	if err != nil {
		return v1.Descriptor{}, err
	}
	manifest := v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Annotations: map[string]string{
			"org.opencontainers.image.title":       about.Name,
			"org.opencontainers.image.version":     about.Version,
			"org.opencontainers.image.description": about.Description,
			"org.opencontainers.image.source":      about.Home,
		},
	}
	if manifest.Config, err = addBlob(images, chartConfig, config); err != nil {
		return v1.Descriptor{}, err
	}
	content, err := addBlob(images, chartContent, archive)
	if err != nil {
		return v1.Descriptor{}, err
	}
	manifest.Layers = []v1.Descriptor{content}
	text, err := json.Marshal(manifest)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return addBlob(images, types.OCIManifestSchema1, text)
}

func addBlob(images layout.Path, kind types.MediaType, content []byte) (v1.Descriptor, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(content))
	if err != nil {
		return v1.Descriptor{}, err
	}
	return v1.Descriptor{MediaType: kind, Digest: digest, Size: size},
		images.WriteBlob(digest, io.NopCloser(bytes.NewReader(content)))
}

// chartOf reads the chart of a manifest.
func chartOf(img v1.Image) (*chart.Chart, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	if len(layers) != 1 {
		return nil, fmt.Errorf("it has %d layers, and a chart has one", len(layers))
	}
	digest, err := layers[0].Digest()
	if err != nil {
		return nil, err
	}
	archive, err := contentOf(img, digest, 16<<20)
	if err != nil {
		return nil, err
	}
	is, _, err := v1.SHA256(bytes.NewReader(archive))
	if err != nil || is != digest {
		return nil, errors.Join(err, fmt.Errorf("the digest of its archive is %s, want %s", is, digest))
	}
	return loader.LoadArchive(bytes.NewReader(archive))
}
