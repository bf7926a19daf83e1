// Package kubeconfig puts the contexts of clusters into a kubeconfig file and takes them out again, and leaves
// everything else in it alone.
package kubeconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/dev/clusters/state"
)

// lists are the parts of a kubeconfig that hold named entries.
var lists = []string{"clusters", "contexts", "users"}

// Merge puts the entries of other kubeconfig files into file, in place of those with the same names. The first of them
// becomes the current context when there is none.
func Merge(file string, others ...string) error {
	return change(file, func(config map[string]any) error {
		for _, other := range others {
			entries, err := load(other)
			if err != nil {
				return err
			}
			for _, list := range lists {
				for _, entry := range items(entries, list) {
					put(config, list, entry)
				}
			}
			if current, _ := config["current-context"].(string); current == "" {
				config["current-context"] = entries["current-context"]
			}
		}
		return nil
	})
}

// Remove takes the contexts with the given names out of file, with their clusters and users. A file
// that does not exist is not an error.
func Remove(file string, names ...string) error {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return change(file, func(config map[string]any) error {
		for _, name := range names {
			for _, list := range lists {
				entry := name
				if list == "users" {
					entry = name + "-admin"
				}
				var rest []any
				for _, item := range items(config, list) {
					if nameOf(item) != entry {
						rest = append(rest, item)
					}
				}
				config[list] = rest
			}
			if config["current-context"] == name {
				config["current-context"] = ""
			}
		}
		return nil
	})
}

func change(file string, edit func(map[string]any) error) error {
	config, err := load(file)
	if errors.Is(err, fs.ErrNotExist) {
		config, err = map[string]any{"apiVersion": "v1", "kind": "Config"}, os.MkdirAll(filepath.Dir(file), 0o700)
	}
	if err != nil {
		return err
	}
	if err := edit(config); err != nil {
		return err
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		return err
	}
	return state.WriteFile(file, text, 0o600)
}

func load(file string) (map[string]any, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	config := map[string]any{}
	if err := yaml.Unmarshal(text, &config); err != nil {
		return nil, fmt.Errorf("%s: not a kubeconfig: %w", file, err)
	}
	for _, list := range lists {
		switch config[list].(type) {
		case nil, []any:
		default:
			return nil, fmt.Errorf("%s: not a kubeconfig: %s is not a list", file, list)
		}
	}
	return config, nil
}

func items(config map[string]any, list string) []any {
	entries, _ := config[list].([]any)
	return entries
}

func nameOf(item any) string {
	entry, _ := item.(map[string]any)
	name, _ := entry["name"].(string)
	return name
}

func put(config map[string]any, list string, entry any) {
	entries := items(config, list)
	for i, item := range entries {
		if nameOf(item) == nameOf(entry) {
			entries[i] = entry
			return
		}
	}
	config[list] = append(entries, entry)
}
