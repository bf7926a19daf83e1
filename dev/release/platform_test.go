package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/outposts-dev/outposts/dev/clusters/image"
)

// imageOf is an image that says that it is for an architecture, around the program /outpost.
func imageOf(t *testing.T, architecture string, program []byte, entrypoint ...string) v1.Image {
	t.Helper()
	work := t.TempDir()
	archive := filepath.Join(work, "outpost.tar")
	writeImage(t, archive, image.Spec{
		Reference: "localhost/outposts/outpost:" + version, Architecture: architecture, Compress: true,
		Execution: image.Execution{Entrypoint: entrypoint},
	}, program)
	img, _, err := openArchive(archive, filepath.Join(work, "unpacked"))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// TestImageIsForItsArchitecture holds that what a registry gives to a machine runs there: that index, config and
// program say the same.
func TestImageIsForItsArchitecture(t *testing.T) {
	const path = "/outpost"
	arm := programFor(t, "arm64", "")
	small := programFor(t, "arm64", "")
	small[4] = 1 // ELFCLASS32
	for _, c := range []struct {
		name string
		img  v1.Image
		want string
	}{
		{"as it should be", imageOf(t, "arm64", arm, path), ""},
		{"the config of another", imageOf(t, "amd64", arm, path), "it says that it is for linux/amd64"},
		{
			"the program of another", imageOf(t, "arm64", programFor(t, "amd64", ""), path),
			path + " is for EM_X86_64, want EM_AARCH64",
		},
		{"no entrypoint", imageOf(t, "arm64", arm), "it starts no program"},
		{"another entrypoint", imageOf(t, "arm64", arm, "/another"), "/another: it is not there"},
		{"a script", imageOf(t, "arm64", append([]byte("#!/bin/false\n"), arm...), path), "is no program of 64 bits"},
		{"a small file", imageOf(t, "arm64", []byte("#!/bin/false\n"), path), path + ": it is no program: "},
		{"a program of 32 bits", imageOf(t, "arm64", small, path), "is no program of 64 bits"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := checkPlatform(c.img, "arm64")
			if c.want != "" {
				refused(t, err, c.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestIndexIsForBothArchitectures(t *testing.T) {
	add := func(index v1.ImageIndex, architecture string, img v1.Image) v1.ImageIndex {
		return mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: architecture},
		}})
	}
	of := func(architecture string) v1.Image {
		return imageOf(t, architecture, programFor(t, architecture, ""), "/outpost")
	}
	first := add(empty.Index, "amd64", of("amd64"))
	if err := checkPlatforms(add(first, "arm64", of("arm64"))); err != nil {
		t.Error(err)
	}
	refused(t, checkPlatforms(first), "it is for [linux/amd64], want [linux/amd64 linux/arm64]")
	refused(t, checkPlatforms(add(first, "arm64", of("amd64"))),
		"the image for linux/arm64: it says that it is for linux/amd64")
}

// TestProgramOfAnotherArchitectureIsNotReleased holds that a build that forgets the architecture makes no release.
func TestProgramOfAnotherArchitectureIsNotReleased(t *testing.T) {
	m := newMaker(t, newKey(t), "program")
	build := m.build
	m.build = func(ctx context.Context, _, archive string) error { return build(ctx, "amd64", archive) }
	dir := filepath.Join(t.TempDir(), version)
	refused(t, m.run(t.Context(), dir, io.Discard), "the image for arm64: it says that it is for linux/amd64")
	if _, err := os.Stat(dir); err == nil {
		t.Error("the release is there")
	}
}
