package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// licencesFile is where the licences are in the repository, below its top folder.
const licencesFile = "images/outpost/THIRD-PARTY-LICENSES.txt"

// licenceName matches the files that a module keeps its licence and its notices in.
var licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|copyright)([-._].*)?$`)

// linked is a package of the program, as `go list -json` describes it.
type linked struct {
	Dir      string
	Standard bool
	Module   *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// licences returns the licences and notices of every module that is linked into the program, on any architecture that
// an image is made for: each text once, below the modules that have it. A folder of a module may have a licence of its
// own, which counts when a package below it is linked. A module without any is an error.
func licences(ctx context.Context, root, program string) ([]byte, error) {
	texts := map[string]map[string]bool{} // the modules by text
	for _, architecture := range []string{"amd64", "arm64"} {
		packages, err := packagesOf(ctx, root, program, architecture)
		if err != nil {
			return nil, err
		}
		for _, p := range packages {
			if p.Standard || p.Module == nil || p.Module.Main {
				continue
			}
			module := strings.TrimSpace(p.Module.Path + " " + p.Module.Version)
			if err := collect(texts, module, p.Module.Dir, p.Dir); err != nil {
				return nil, err
			}
		}
	}
	standard, err := standardLicence(ctx)
	if err != nil {
		return nil, err
	}
	add(texts, standard, "Go's standard library")
	return write(texts), nil
}

// packagesOf lists what the program consists of.
func packagesOf(ctx context.Context, root, program, architecture string) ([]linked, error) {
	c := exec.CommandContext(ctx, "go", "list", "-deps", "-json=Dir,Standard,Module", program)
	c.Dir = root
	c.Env = append(os.Environ(),
		"CGO_ENABLED=0", "GOOS=linux", "GOARCH="+architecture, "GOFLAGS=-mod=readonly", "GOWORK=off")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages of %s: %w\n%s", program, err, stderr.Bytes())
	}
	var packages []linked
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p linked
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("list the packages of %s: %w", program, err)
		}
		packages = append(packages, p)
	}
}

// collect adds the texts of the folders from dir up to top, which is the module's and must have one.
func collect(texts map[string]map[string]bool, module, top, dir string) error {
	for {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		found := false
		for _, entry := range entries {
			name := entry.Name()
			if !entry.Type().IsRegular() || !licenceName.MatchString(name) || filepath.Ext(name) == ".go" {
				continue
			}
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			add(texts, text, module)
			found = true
		}
		if dir == top {
			if !found {
				return fmt.Errorf("module %s has no licence", module)
			}
			return nil
		}
		dir = filepath.Dir(dir)
	}
}

func add(texts map[string]map[string]bool, text []byte, module string) {
	key := strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n"))
	if texts[key] == nil {
		texts[key] = map[string]bool{}
	}
	texts[key][module] = true
}

// standardLicence is the licence of the toolchain, whose library and runtime are in every program.
func standardLicence(ctx context.Context) ([]byte, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	return os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "LICENSE"))
}

func write(texts map[string]map[string]bool) []byte {
	type group struct {
		modules []string
		text    string
	}
	var groups []group
	for text, modules := range texts {
		groups = append(groups, group{slices.Sorted(maps.Keys(modules)), text})
	}
	slices.SortFunc(groups, func(a, b group) int {
		if by := slices.Compare(a.modules, b.modules); by != 0 {
			return by
		}
		return strings.Compare(a.text, b.text)
	})
	var out bytes.Buffer
	fmt.Fprintf(&out, "Licences and notices of what is linked into the outpost.\n")
	for _, g := range groups {
		fmt.Fprintf(&out, "\n%s\n%s\n%s\n\n%s\n", strings.Repeat("=", 80), strings.Join(g.modules, "\n"),
			strings.Repeat("-", 80), g.text)
	}
	return out.Bytes()
}
