package main

import (
	"archive/tar"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// machines has what a program's header says (ELF, e_machine) for each architecture of a release.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// checkPlatforms reports an error unless an index has an image for each architecture, which is for that.
func checkPlatforms(index v1.ImageIndex) error {
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	has, want := make([]string, len(manifest.Manifests)), make([]string, len(architectures))
	for i, d := range manifest.Manifests {
		if d.Platform != nil {
			has[i] = d.Platform.String()
		}
	}
	for i, architecture := range architectures {
		want[i] = "linux/" + architecture
	}
	if !slices.Equal(has, want) {
		return fmt.Errorf("it is for %v, want %v", has, want)
	}
	for i, d := range manifest.Manifests {
		img, err := index.Image(d.Digest)
		if err == nil {
			err = checkPlatform(img, architectures[i])
		}
		if err != nil {
			return fmt.Errorf("the image for %s: %w", has[i], err)
		}
	}
	return nil
}

// checkPlatform reports an error unless an image says that it is for an architecture, and the program that it starts
// is. What the index says decides who gets an image, and what its config says is what nodes look at.
func checkPlatform(img v1.Image, architecture string) error {
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	if is := config.Platform(); is.OS != "linux" || is.Architecture != architecture {
		return fmt.Errorf("it says that it is for %s", is)
	}
	if len(config.Config.Entrypoint) == 0 {
		return errors.New("it starts no program")
	}
	program := config.Config.Entrypoint[0]
	header, err := headerOf(img, program)
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	if is := elf.Machine(header.Machine); is != machines[architecture] {
		return fmt.Errorf("%s is for %v, want %v", program, is, machines[architecture])
	}
	return nil
}

// headerOf reads the header of a program in an image.
func headerOf(img v1.Image, program string) (header elf.Header64, err error) {
	in := mutate.Extract(img)
	defer func() { err = errors.Join(err, in.Close()) }()
	files := tar.NewReader(in)
	for {
		file, err := files.Next()
		if errors.Is(err, io.EOF) {
			return header, errors.New("it is not there")
		}
		if err != nil {
			return header, err
		}
		if path.Join("/", file.Name) == program {
			break
		}
	}
	if err := binary.Read(files, binary.LittleEndian, &header); err != nil {
		return header, fmt.Errorf("it is no program: %w", err)
	}
	if string(header.Ident[:len(elf.ELFMAG)]) != elf.ELFMAG || elf.Class(header.Ident[elf.EI_CLASS]) != elf.ELFCLASS64 {
		return header, errors.New("it is no program of 64 bits")
	}
	return header, nil
}
