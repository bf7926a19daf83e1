package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/outposts-dev/outposts/dev/clusters/image"
)

// source is where the labels say that the image comes from.
const source = "https://github.com/outposts-dev/outposts"

// user is whom the process runs as; the chart's security context says the same.
const user = 1000

// build is one making of the image.
type build struct {
	root, out, reference, version, revision, architecture string
}

func (b build) run(ctx context.Context, stdout io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "outpost-image-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary := filepath.Join(dir, "outpost")
	if err := b.compile(ctx, binary); err != nil {
		return err
	}
	bom, err := sbom(binary, b.version)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(b.out), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(b.out+".cdx.json", bom, 0o644); err != nil {
		return err
	}
	built, err := b.pack(dir, binary, bom)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, built.Close()) }()
	if err := built.Archive(b.out); err != nil {
		return err
	}
	info, err := os.Stat(b.out)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s is %s, %d MB, %s\n", b.out, b.reference, info.Size()>>20, built.Manifest.Digest)
	return err
}

// compile makes the static program: no C library, no paths of this machine, nothing that differs between two makings.
// It is made by the toolchain of the module's go.mod, also where Go is installed with GOTOOLCHAIN=local as its default.
func (b build) compile(ctx context.Context, binary string) error {
	c := exec.CommandContext(ctx, "go", "build", "-v", "-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false",
		"-ldflags", "-s -w -buildid= -X main.version="+b.version, "-o", binary, "./server/cmd/outpost")
	c.Dir = b.root
	c.Env = b.environment()
	var output bytes.Buffer
	c.Stdout, c.Stderr = &output, io.MultiWriter(&output, os.Stderr) // the names of packages, while they are compiled
	if err := c.Run(); err != nil {
		return fmt.Errorf("compile server/cmd/outpost: %w\n%s", err, output.Bytes())
	}
	return nil
}

// environment is that of the compiler. What a user's own says of processors and experiments would be in the program.
func (b build) environment() []string {
	return append(os.Environ(), "GOTOOLCHAIN="+cmp.Or(os.Getenv("GOTOOLCHAIN"), "auto"),
		"CGO_ENABLED=0", "GOOS=linux", "GOARCH="+b.architecture, "GOFLAGS=-mod=readonly", "GOWORK=off",
		"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFIPS140=off")
}

// pack puts the program and what it needs into an image: a user's name, a place for the database and one for
// temporary files, the licences. The public CAs are in the program.
func (b build) pack(dir, binary string, bom []byte) (*image.Built, error) {
	files := []image.File{{Source: binary, Target: "/usr/local/bin/outpost", Mode: 0o755}}
	for _, f := range []struct {
		target string
		text   []byte
	}{
		{"/etc/passwd", fmt.Appendf(nil,
			"root:x:0:0:root:/:/sbin/nologin\noutpost:x:%d:%d:outpost:/var/lib/outpost:/sbin/nologin\n", user, user)},
		{"/etc/group", fmt.Appendf(nil, "root:x:0:\noutpost:x:%d:\n", user)},
		{"/usr/share/sbom/outpost.cdx.json", bom},
	} {
		path := filepath.Join(dir, filepath.Base(f.target))
		if err := os.WriteFile(path, f.text, 0o644); err != nil {
			return nil, err
		}
		files = append(files, image.File{Source: path, Target: f.target, Mode: 0o644})
	}
	for _, file := range []string{"LICENSE", "NOTICE", licencesFile} {
		target := "/usr/share/doc/outpost/" + filepath.Base(file)
		files = append(files, image.File{Source: filepath.Join(b.root, file), Target: target, Mode: 0o644})
	}
	for _, f := range []image.File{
		{Target: "/var/lib/outpost", Mode: 0o750, UID: user, GID: user},
		{Target: "/tmp", Mode: 0o1777},
	} {
		f.Source = filepath.Join(dir, "empty"+filepath.Base(f.Target))
		if err := os.Mkdir(f.Source, 0o755); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	labels := map[string]string{
		"org.opencontainers.image.title": "outpost",
		"org.opencontainers.image.description": "Starts single-user servers as pods for one or more JupyterHubs " +
			"and lets each hub forward SSH to its own.",
		"org.opencontainers.image.source":        source,
		"org.opencontainers.image.url":           source,
		"org.opencontainers.image.documentation": source,
		"org.opencontainers.image.version":       b.version,
	}
	if b.revision != "" {
		labels["org.opencontainers.image.revision"] = b.revision
	}
	return image.Build(image.Spec{
		Reference:    b.reference,
		Architecture: b.architecture,
		Compress:     true,
		Layers:       []image.Layer{{Files: files}},
		Execution: image.Execution{
			User:         fmt.Sprintf("%d:%d", user, user),
			Entrypoint:   []string{"/usr/local/bin/outpost"},
			Cmd:          []string{"serve"},
			ExposedPorts: map[string]struct{}{"8080/tcp": {}, "8081/tcp": {}, "2222/tcp": {}},
			WorkingDir:   "/",
			Labels:       labels,
		},
	}, dir)
}
