package outpost

import "errors"

// Flavor is a named set of resources and limits that a user picks, as the hub is told it: the mapping from the
// flavors file with every key, known or not, and "current" added by usage. Known keys: display_name,
// description, weight, max, maxPerUser, runtime, resources (contract 3.2).
type Flavor map[string]any

// Flavors is a parsed flavors or credits file; it is never changed.
type Flavors struct{}

// ParseFlavors parses a flavors file (YAML, contract 3.2). An empty file is nil without an error: not configured.
// The error names every bad field.
func ParseFlavors(data []byte) (*Flavors, error) { return nil, errors.New("not yet") }

// ParseCredits parses a credits file: the same shape with "credits" and "creditsOverride".
func ParseCredits(data []byte) (*Flavors, error) { return nil, errors.New("not yet") }
