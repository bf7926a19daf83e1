package options

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/outposts-dev/outposts/server/access"
	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/suggest"
)

// sharedData is one entry of the option shared: a volume that servers of all users get, or of those in some groups.
type sharedData struct {
	name     string
	source   map[string]any // of the volume
	mount    string
	readOnly bool
	access   access.Rule
}

// sharedVolume is put before the names of these volumes.
const sharedVolume = "shared-"

var sharedKeys = []string{"name", "claim", "nfs", "mount", "readOnly", "allowedGroups"}

// sharedKind accepts a list of shared data.
func sharedKind(v any) (any, error) {
	if _, err := listOf("objects", object)(v); err != nil {
		return nil, err
	}
	var faults faults
	seen := map[string]bool{}
	for i, one := range v.([]any) {
		data, err := readShared(one.(map[string]any))
		switch {
		case err != nil:
			faults.addf("element %d %v", i, err)
		case seen[data.name]:
			faults.addf("element %d has a name that is listed twice", i)
		}
		seen[data.name] = true
	}
	return v, faults.err()
}

// readShared reads one entry of shared. Data is read-only unless it says otherwise.
func readShared(m map[string]any) (s sharedData, err error) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(sharedKeys, key) {
			return s, fmt.Errorf("has the unknown key %s%s", key,
				suggest.Or(key, sharedKeys, "; known keys: "+strings.Join(sharedKeys, ", ")))
		}
	}
	s.name, s.mount = textOf(m, "name"), textOf(m, "mount")
	if len(validation.IsDNS1123Label(sharedVolume+s.name)) > 0 {
		return s, errors.New("needs a name of lower-case letters, digits and hyphens")
	}
	if !isMountPath(s.mount) {
		return s, errors.New("needs a mount such as /data")
	}
	claim := textOf(m, "claim")
	nfs, _ := m["nfs"].(map[string]any)
	switch {
	case (claim == "") == (nfs == nil):
		return s, errors.New("needs either a claim, by its name, or nfs: {server, path}")
	case claim != "":
		s.source = map[string]any{"persistentVolumeClaim": map[string]any{"claimName": claim}}
	case len(nfs) != 2 || textOf(nfs, "server") == "" || textOf(nfs, "path") == "":
		return s, errors.New("needs server and path in nfs, and nothing else")
	default:
		s.source = map[string]any{"nfs": nfs}
	}
	s.readOnly = true
	if value, set := m["readOnly"]; set {
		if s.readOnly, set = value.(bool); !set {
			return s, errors.New("must have true or false as readOnly")
		}
	}
	if groups, set := m["allowedGroups"]; set {
		s.access.AllowedGroups, err = access.ParseGroups(groups)
		if err != nil {
			return s, fmt.Errorf("has allowedGroups that %w", err)
		}
	}
	return s, nil
}

// openShared returns the shared data of the checked option that is open to a user.
func openShared(v any, opens func(access.Rule) bool) (open []sharedData) {
	list, _ := v.([]any)
	for _, one := range list {
		m, _ := one.(map[string]any)
		if s, err := readShared(m); err == nil && opens(s.access) {
			open = append(open, s)
		}
	}
	return open
}

// ApplyShared puts what the option shared opens to a user into the volumes and mounts of merged options.
func ApplyShared(merged map[string]any, opens func(access.Rule) bool) {
	for _, s := range openShared(merged["shared"], opens) {
		volume := maps.Clone(s.source)
		volume["name"] = sharedVolume + s.name
		appendTo(merged, "volumes", volume)
		appendTo(merged, "volume_mounts", map[string]any{
			"name": volume["name"], "mountPath": s.mount, "readOnly": s.readOnly,
		})
	}
}

// appendTo puts a value at the end of an option that is a list, or a map of the entries of one.
func appendTo(all map[string]any, option string, value map[string]any) {
	list, ok := all[option].([]any)
	if m, isMap := all[option].(map[string]any); !ok && isMap {
		list = sortedValues(m)
	}
	all[option] = append(slices.Clone(list), value)
}

// PublishShared returns the shared data that is open to a user of these groups.
func PublishShared(v any, groups access.Groups) []catalog.Shared {
	published := []catalog.Shared{}
	for _, s := range openShared(v, func(r access.Rule) bool { return r.Allows(groups) }) {
		published = append(published, catalog.Shared{Name: s.name, Mount: s.mount, ReadOnly: s.readOnly})
	}
	return published
}

// SharedAccess is who gets shared data.
type SharedAccess struct {
	Name string
	access.Rule
}

// AccessToShared returns who gets each of the shared data of the checked option.
func AccessToShared(v any) []SharedAccess {
	var all []SharedAccess
	for _, s := range openShared(v, func(access.Rule) bool { return true }) {
		all = append(all, SharedAccess{s.name, s.access})
	}
	return all
}
