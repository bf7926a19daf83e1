package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/util/yaml"
)

// chartFiles are the files that the chart gives to the process in ConfigMaps, by the variable with the path.
var chartFiles = map[string]string{
	"OUTPOST_CONFIG_FILE":  "config.yaml",
	"OUTPOST_FLAVORS_PATH": "flavors.yaml",
	"OUTPOST_CREDITS_PATH": "credits.yaml",
}

// readManifests makes the process read its files from the manifests. remove removes what it writes.
func (p *process) readManifests() (remove func(), err error) {
	dir, err := os.MkdirTemp("", "outpost-manifests-")
	if err != nil {
		return func() {}, err
	}
	p.lookup, err = withManifests(p.manifests, dir, p.lookup)
	return func() { os.RemoveAll(dir) }, err
}

// withManifests returns lookup with the files of rendered manifests, such as `helm template` writes them, instead of
// those that the process has. It writes them into a directory. A file that the manifests do not have is none.
func withManifests(path, dir string, lookup func(string) (string, bool)) (func(string) (string, bool), error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	paths := map[string]string{}
	for variable := range chartFiles {
		paths[variable] = ""
	}
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var object struct {
			Kind string
			Data map[string]any
		}
		switch err := documents.Decode(&object); {
		case errors.Is(err, io.EOF):
			if paths["OUTPOST_CONFIG_FILE"] == "" {
				return nil, fmt.Errorf("%s: no ConfigMap has a config.yaml; want what `helm template` renders", path)
			}
			return func(name string) (string, bool) {
				if file, ours := paths[name]; ours {
					return file, true
				}
				return lookup(name)
			}, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for variable, name := range chartFiles {
			content, isText := object.Data[name].(string)
			if object.Kind != "ConfigMap" || !isText {
				continue
			}
			paths[variable] = filepath.Join(dir, name)
			if err := os.WriteFile(paths[variable], []byte(content), 0o600); err != nil {
				return nil, err
			}
		}
	}
}

// readFile reads a file; - is the standard input, which a user other than root may be unable to open by a path.
func readFile(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(path)
}
