package outpost

import (
	"fmt"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/infra/effect"
	"github.com/outposts-dev/outposts/infra/schema"
	"github.com/outposts-dev/outposts/infra/values"
)

// NoHomes is what Settings.Homes is for none.
const NoHomes = "none"

// DefaultHomes are those of an outpost whose operator says nothing of storage: the server's own defaults, of which the
// size is written out, so that a preview shows what is made.
func DefaultHomes() map[string]any { return map[string]any{"size": "10Gi"} }

// homesPath is where the chart has Settings.Homes.
var homesPath = []string{"config", "spawner", "homes"}

// HomesClass reports whether homes leave their storage class to the cluster.
func (a Args) HomesClass() (ofCluster bool) {
	homes, wanted := a.Settings.Homes.(map[string]any)
	return wanted && homes["storageClass"] == nil && values.At(a.values(), "config", "spawner", "storage_class") == nil
}

// OwnStorage returns the key by which the operator decides what is kept of servers, empty if they say nothing of it:
// homes beside that could meet their volumes, or be refused by the rights that they give.
func (a Args) OwnStorage() string {
	a.Settings.Homes = nil
	made := a.values()
	if !makesRole(made) {
		return "values.rbac.create"
	}
	s, _ := a.site(made)
	for _, option := range slices.Concat(storageOptions, volumeOptions) {
		for _, set := range s.Settings(option) {
			if set.Value != nil && (!slices.Contains(volumeOptions, option) || holdsHome(set.Value)) {
				return a.asTyped(faultAt(fileKeys[set.File], set.Key, "")).Key()
			}
		}
	}
	for _, hub := range s.Hubs {
		for _, name := range hub.AllowedOptions {
			if name == "*" || slices.Contains(storageOptions, name) || slices.Contains(volumeOptions, name) {
				key := "hubs." + hub.Name + ".allowedOptions"
				return a.asTyped(faultAt("config", key, "")).Key()
			}
		}
	}
	return ""
}

// storageOptions say what the outpost makes for users, volumeOptions what else a server gets.
var (
	storageOptions = []string{
		"homes", "pvc_name_template", "storage_access_modes", "storage_capacity", "storage_class",
		"storage_extra_annotations", "storage_extra_labels", "storage_pvc_ensure", "storage_selector",
	}
	volumeOptions = []string{"extra_container_config", "extra_pod_config", "pod_overlay", "volume_mounts", "volumes"}
)

// holdsHome reports whether a part of a pod has a volume called home, or mounts one at /home or below.
func holdsHome(part any) bool {
	return values.HasMap(part, func(one map[string]any) bool {
		for _, key := range []string{"mountPath", "mount_path"} {
			if path := fmt.Sprint(one[key]); path == "/home" || strings.HasPrefix(path, "/home/") {
				return true
			}
		}
		return one["name"] == "home"
	})
}

// ofHomes is a fault with the key of Settings.Homes, if it is theirs.
func (a Args) ofHomes(fault schema.Fault) schema.Fault {
	if a.Settings.Homes != nil && effect.Within(fault.Path, homesPath) {
		fault.Path = append([]string{"homes"}, fault.Path[len(homesPath):]...)
	}
	return fault
}
