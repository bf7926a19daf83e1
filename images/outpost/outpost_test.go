package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// packed makes an image around a program that is none, to be quick.
func packed(t *testing.T, dir string) (archive, digest string) {
	t.Helper()
	work := t.TempDir()
	binary := filepath.Join(work, "program")
	if err := os.WriteFile(binary, []byte("#!/bin/false\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	b := build{
		root: "../..", reference: "localhost/outposts/outpost:test", version: "1.2.3", revision: "abc",
		architecture: "amd64",
	}
	built, err := b.pack(work, binary, []byte("{}\n"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := built.Close(); err != nil {
			t.Error(err)
		}
	})
	archive = filepath.Join(dir, "outpost.tar")
	if err := built.Archive(archive); err != nil {
		t.Fatal(err)
	}
	return archive, built.Manifest.Digest
}

func TestImageIsReproducible(t *testing.T) {
	first, firstDigest := packed(t, t.TempDir())
	second, secondDigest := packed(t, t.TempDir())
	a, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	if firstDigest != secondDigest || !bytes.Equal(a, b) {
		t.Errorf("two makings differ: %s and %s", firstDigest, secondDigest)
	}
}

// TestImageDoesNotDependOnTheEnvironment holds that what a user has set for their own programs is not in the image.
func TestImageDoesNotDependOnTheEnvironment(t *testing.T) {
	settings := []string{"GOAMD64", "GOARM64", "GOEXPERIMENT", "GOFIPS140", "GOFLAGS", "GOARCH"}
	for i, value := range []string{"v3", "v9.0", "jsonv2", "latest", "-tags=mine", "386"} {
		t.Setenv(settings[i], value)
	}
	c := exec.Command("go", append([]string{"env"}, settings...)...)
	c.Env = build{architecture: "arm64"}.environment()
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if diff := cmp.Diff("v1\nv8.0\n\noff\n-mod=readonly\narm64\n", string(out)); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

// pushed gives an archive to a registry, and returns the image that this has then, its name, and what was told.
func pushed(t *testing.T, archive string) (img v1.Image, reference, told string) {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	reference = strings.TrimPrefix(server.URL, "http://") + "/outposts/outpost:1.2.3"
	var out bytes.Buffer
	if err := push(context.Background(), archive, []string{reference}, false, &out); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = remote.Image(tag); err != nil {
		t.Fatal(err)
	}
	return img, reference, out.String()
}

func TestPushedImageIsWhatWasPacked(t *testing.T) {
	archive, digest := packed(t, t.TempDir())
	img, reference, told := pushed(t, archive)
	if want := "pushed " + reference + "@" + digest + "\n"; told != want {
		t.Errorf("told %q, want %q", told, want)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"user": "1000:1000", "entrypoint": []string{"/usr/local/bin/outpost"}, "command": []string{"serve"},
		"version": "1.2.3", "revision": "abc", "layers": 1,
	}
	got := map[string]any{
		"user": config.Config.User, "entrypoint": config.Config.Entrypoint, "command": config.Config.Cmd,
		"version":  config.Config.Labels["org.opencontainers.image.version"],
		"revision": config.Config.Labels["org.opencontainers.image.revision"], "layers": len(config.RootFS.DiffIDs),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("image in the registry (-want +got):\n%s", diff)
	}
}

// TestPushTakesNoTagOfARelease holds that the index of a release stays, and that other tags may move.
func TestPushTakesNoTagOfARelease(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	archive, digest := packed(t, t.TempDir())
	of := func(tag string) name.Tag {
		t.Helper()
		named, err := name.NewTag(strings.TrimPrefix(server.URL, "http://") + "/outposts/outpost:" + tag)
		if err != nil {
			t.Fatal(err)
		}
		return named
	}
	is := func(tag string) string {
		t.Helper()
		there, err := remote.Head(of(tag))
		if err != nil {
			return err.Error()
		}
		return there.Digest.String()
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	if err := errors.Join(remote.WriteIndex(of("1.2.3"), index), remote.Write(of("dev"), empty.Image)); err != nil {
		t.Fatal(err)
	}
	released := is("1.2.3")
	both := []string{of("new").String(), of("1.2.3").String()}
	const want = "Take another tag (VERSION=), or replace it (FORCE=yes)"
	err := push(t.Context(), archive, both, false, io.Discard)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want it to say %q", err, want)
	}
	if got := is("1.2.3"); got != released || !strings.Contains(is("new"), "404") {
		t.Errorf("1.2.3 is %s, was %s; new is %s", got, released, is("new"))
	}
	err = push(t.Context(), archive, []string{of("dev").String()}, false, io.Discard)
	if err != nil || is("dev") != digest {
		t.Errorf("dev is %s, want %s: %v", is("dev"), digest, err)
	}
	err = push(t.Context(), archive, both, true, io.Discard)
	if err != nil || is("1.2.3") != digest {
		t.Errorf("1.2.3 is %s, want %s: %v", is("1.2.3"), digest, err)
	}
}

// TestImageHasTheLicences holds that the licence, and those of others whose work is in the image, are in it.
func TestImageHasTheLicences(t *testing.T) {
	const folder = "usr/share/doc/outpost/"
	want := map[string]string{}
	for _, file := range []string{"LICENSE", "NOTICE", licencesFile} {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		if len(text) < 1000 {
			t.Errorf("%s has %d bytes", file, len(text))
		}
		want[folder+filepath.Base(file)] = "-rw-r--r-- " + string(text)
	}
	archive, _ := packed(t, t.TempDir())
	img, _, _ := pushed(t, archive)
	in := mutate.Extract(img)
	defer in.Close()
	got := map[string]string{}
	for files := tar.NewReader(in); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag != tar.TypeReg || !strings.HasPrefix(header.Name, folder) {
			continue
		}
		text, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		got[header.Name] = header.FileInfo().Mode().String() + " " + string(text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("licences in the image (-want +got):\n%s", diff)
	}
}

func TestPushRefuses(t *testing.T) {
	archive, _ := packed(t, t.TempDir())
	//nolint:lll // a case a line
	for _, c := range []struct{ name, archive, reference, want string }{
		{"a name without a tag", archive, "registry.example.org/outpost", "is not a name such as"},
		{"no name at all", archive, "Outpost!", "is not a name such as"},
		{"no archive", filepath.Join(t.TempDir(), "absent.tar"), "registry.example.org/outpost:1", "is not an OCI archive"},
		{"another file", os.Args[0], "registry.example.org/outpost:1", "is not an OCI archive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := push(context.Background(), c.archive, []string{c.reference}, false, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to say %q", err, c.want)
			}
		})
	}
}

func TestSBOMListsTheModulesOfAProgram(t *testing.T) {
	first, err := sbom(os.Args[0], "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	second, err := sbom(os.Args[0], "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("two lists of the same program differ")
	}
	for _, want := range []string{
		`"bomFormat": "CycloneDX"`, `"specVersion": "1.6"`,
		`"pkg:golang/std@go1.`, `"pkg:golang/github.com/google/go-containerregistry@v0.22.1"`,
	} {
		if !strings.Contains(string(first), want) {
			t.Errorf("%s is not in the list", want)
		}
	}
}
