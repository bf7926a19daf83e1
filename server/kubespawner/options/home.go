package options

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/suggest"
)

// Homes is the option homes, complete: a volume of each user, or of each server, that stays when a server ends. It
// stands for the storage options, a volume and its mount, each of which wins where it is set itself.
type Homes struct {
	Size         string  // a quantity
	StorageClass *string // nil leaves it to the cluster
	AccessMode   string
	Per          string // HomePerUser or HomePerServer
	Mount        string
}

// Values of per, and of homes for none.
const (
	HomePerUser   = "user"   // all servers of a user have the same home
	HomePerServer = "server" // each server of a user has one
	noHomes       = "none"
)

// The templates of the names of homes. Unlike KubeSpawner's they hold the hub, which two hyphens part from the user:
// with one, a-b and c would be a and b-c.
const (
	HomeOfUser   = "claim-{hub}--{username}"
	HomeOfServer = "claim-{hub}--{user_server}"
)

// homeVolume is the name of the volume in the pod.
const homeVolume = "home"

// homeGroup owns the files of a new home unless fs_gid says otherwise: the group of the user of Jupyter's images.
const homeGroup = 100

var homeKeys = map[string]kind{
	"size": homeSize, "storageClass": nullable(str), "per": oneOf(HomePerUser, HomePerServer), "mount": homeMount,
	"accessMode": oneOf(string(corev1.ReadWriteOnce), string(corev1.ReadWriteOncePod), string(corev1.ReadWriteMany)),
}

// homesKind accepts "none" or a map of homeKeys, none of which is required: a later layer may change one of them.
func homesKind(v any) (any, error) {
	if v == noHomes {
		return v, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("must be %s or a map such as {size: 10Gi}, not %s", noHomes, typeName(v))
	}
	out, known := map[string]any{}, slices.Sorted(maps.Keys(homeKeys))
	var faults faults
	for _, key := range slices.Sorted(maps.Keys(m)) {
		check, ok := homeKeys[key]
		if !ok {
			faults.addf("%s is unknown%s", key, suggest.Or(key, known, "; known keys: "+strings.Join(known, ", ")))
			continue
		}
		var err error
		if out[key], err = check(m[key]); err != nil {
			faults.addf("%s %v", key, err)
		}
	}
	return out, faults.err()
}

func homeSize(v any) (any, error) {
	text, _ := v.(string)
	if q, err := resource.ParseQuantity(text); err != nil || q.Sign() <= 0 {
		return nil, errors.New("must be a quantity such as 10Gi, more than 0")
	}
	return text, nil
}

func homeMount(v any) (any, error) {
	text, _ := v.(string)
	if !isMountPath(text) {
		return nil, errors.New("must be a path such as /home/jovyan")
	}
	return text, nil
}

// isMountPath reports whether a volume can be mounted at a path: it begins with a slash and is not the root.
func isMountPath(path string) bool {
	return strings.HasPrefix(path, "/") && strings.Trim(path, "/") != ""
}

// homesOf returns what the checked option asks for; nil if it asks for none.
func homesOf(v any) *Homes {
	m, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	text := func(key, initial string) string {
		value, _ := m[key].(string)
		return cmp.Or(value, initial)
	}
	h := &Homes{
		Size: text("size", "10Gi"), AccessMode: text("accessMode", string(corev1.ReadWriteOnce)),
		Per: text("per", HomePerUser), Mount: text("mount", "/home/jovyan"),
	}
	if class, ok := m["storageClass"].(string); ok {
		h.StorageClass = &class
	}
	return h
}

// into adds the options that h stands for to all, except for those that merged sets.
func (h *Homes) into(all, merged map[string]any) {
	if h == nil {
		return
	}
	values := map[string]any{
		"storage_pvc_ensure": true, "storage_capacity": h.Size, "storage_access_modes": []any{h.AccessMode},
		"pvc_name_template": HomeOfUser, "fs_gid": homeGroup,
	}
	if h.Per == HomePerServer {
		values["pvc_name_template"] = HomeOfServer
	}
	if h.StorageClass != nil {
		values["storage_class"] = *h.StorageClass
	}
	for name, value := range values {
		if _, set := merged[name]; !set {
			all[name] = value
		}
	}
	appendTo(all, "volumes", map[string]any{
		"name": homeVolume, "persistentVolumeClaim": map[string]any{"claimName": "{pvc_name}"},
	})
	appendTo(all, "volume_mounts", map[string]any{"name": homeVolume, "mountPath": h.Mount})
}

// OneNode reports whether a home is on one node at a time, and several servers of a user have it.
func (h *Homes) OneNode() bool {
	return h != nil && h.Per == HomePerUser && h.AccessMode == string(corev1.ReadWriteOnce)
}

// PublishHome returns what is kept of a server when it ends: of the volumes that options mount, the claim of
// pvc_name_template, else one below /home that is kept elsewhere. It is nil if there is none.
func PublishHome(s Settings) *catalog.Home {
	for _, ours := range []bool{true, false} {
		for _, mount := range s.VolumeMounts {
			if home := s.homeAt(mount, ours); home != nil {
				return home
			}
		}
	}
	return nil
}

// homeAt returns the home that is mounted, if it is one: that of pvc_name_template, or another one.
func (s Settings) homeAt(mount any, ours bool) *catalog.Home {
	m, _ := mount.(map[string]any)
	path := textOf(m, "mountPath", "mount_path")
	if readOnly, _ := m["readOnly"].(bool); readOnly || path == "" {
		return nil
	}
	volume := s.volume(textOf(m, "name"))
	claim, _ := firstOf(volume, "persistentVolumeClaim", "persistent_volume_claim").(map[string]any)
	name := textOf(claim, "claimName", "claim_name")
	if name == "{pvc_name}" {
		name = s.PVCNameTemplate
	}
	home := &catalog.Home{Mount: path, Per: HomePerUser}
	if strings.Contains(name+textOf(m, "subPath", "sub_path", "subPathExpr", "sub_path_expr"), "server") {
		home.Per = HomePerServer
	}
	switch {
	case ours && name != s.PVCNameTemplate:
		return nil
	case ours && s.StoragePVCEnsure:
		home.Size = s.StorageCapacity
	case !ours && (!strings.HasPrefix(path, "/home/") || !isKept(volume)):
		return nil
	}
	return home
}

// volume returns the volume of a name; nil without one.
func (s Settings) volume(name string) map[string]any {
	for _, one := range s.Volumes {
		if volume, _ := one.(map[string]any); textOf(volume, "name") == name {
			return volume
		}
	}
	return nil
}

// isKept reports whether what is written to a volume outlives the pod.
func isKept(volume map[string]any) bool {
	return firstOf(volume, "persistentVolumeClaim", "persistent_volume_claim", "nfs", "hostPath", "host_path") != nil
}

// firstOf returns the first of these keys of a map that it has; Kubernetes' and KubeSpawner's spellings differ.
func firstOf(m map[string]any, keys ...string) any {
	for _, key := range keys {
		if value := m[key]; value != nil {
			return value
		}
	}
	return nil
}

func textOf(m map[string]any, keys ...string) string {
	text, _ := firstOf(m, keys...).(string)
	return text
}
