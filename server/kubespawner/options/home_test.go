package options

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/server/catalog"
)

// settingsOf are the settings of options in YAML, which are checked first.
func settingsOf(t *testing.T, text string) Settings {
	t.Helper()
	var values map[string]any
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	var p Problems
	checked := Check(values, &p)
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	s, err := NewSettings(checked, Defaults("servers", 0))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestHomesStandForStorageOptions(t *testing.T) {
	volume := map[string]any{
		"name": "home", "persistentVolumeClaim": map[string]any{"claimName": "{pvc_name}"},
	}
	mount := func(path string) map[string]any { return map[string]any{"name": "home", "mountPath": path} }
	byDefault := settingsOf(t, "")
	homes := byDefault
	homes.Homes = &Homes{Size: "10Gi", AccessMode: "ReadWriteOnce", Per: "user", Mount: "/home/jovyan"}
	homes.StoragePVCEnsure, homes.StorageCapacity, homes.FSGID = true, new("10Gi"), new(int64(100))
	homes.PVCNameTemplate = "claim-{hub}--{username}"
	homes.Volumes, homes.VolumeMounts = []any{volume}, []any{mount("/home/jovyan")}
	all := homes
	all.Homes = &Homes{
		Size: "5G", StorageClass: new("fast"), AccessMode: "ReadWriteMany", Per: "server", Mount: "/data/home",
	}
	all.StorageCapacity, all.StorageClass, all.StorageAccessModes = new("5G"), new("fast"), []string{"ReadWriteMany"}
	all.PVCNameTemplate = "claim-{hub}--{user_server}"
	all.VolumeMounts = []any{mount("/data/home")}
	own := homes
	own.PVCNameTemplate, own.FSGID, own.StorageCapacity = "home-{username}", nil, new("1Gi")
	extra := map[string]any{"name": "x", "emptyDir": map[string]any{}}
	own.Volumes = []any{extra, volume}
	own.VolumeMounts = []any{map[string]any{"name": "x", "mountPath": "/x"}, mount("/home/jovyan")}
	for text, want := range map[string]Settings{
		"homes: none":                 byDefault,
		"homes: {}":                   homes,
		"homes: {storageClass: null}": homes,
		"homes: {size: 5G, storageClass: fast, accessMode: ReadWriteMany, per: server, mount: /data/home}": all,
		`{homes: {}, pvc_name_template: "home-{username}", fs_gid: null, storage_capacity: 1Gi,
			volumes: {b: {name: x, emptyDir: {}}}, volume_mounts: [{name: x, mountPath: /x}]}`: own,
	} {
		if diff := cmp.Diff(want, settingsOf(t, text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// A later layer changes one key, or takes homes away.
func TestHomesOfLayers(t *testing.T) {
	general := map[string]any{"homes": map[string]any{"size": "10Gi", "per": "server"}}
	for name, c := range map[string]struct {
		over any
		want *Homes
	}{
		"one key": {
			map[string]any{"size": "1Gi"},
			&Homes{Size: "1Gi", AccessMode: "ReadWriteOnce", Per: "server", Mount: "/home/jovyan"},
		},
		"none": {"none", nil},
	} {
		s, err := NewSettings(MergeLayer(general, map[string]any{"homes": c.over}), Defaults("servers", 0))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, s.Homes); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestHomesRefused(t *testing.T) {
	for text, want := range map[string]string{
		"true":                 "must be none or a map such as {size: 10Gi}, not true or false",
		"off":                  "must be none or a map such as {size: 10Gi}, not true or false",
		"null":                 "must be none or a map such as {size: 10Gi}, not null",
		"10Gi":                 "must be none or a map such as {size: 10Gi}, not a string",
		"{size: 10}":           "size must be a quantity such as 10Gi, more than 0",
		"{size: 0Gi}":          "size must be a quantity such as 10Gi, more than 0",
		"{size: null}":         "size must be a quantity such as 10Gi, more than 0",
		"{mount: home}":        "mount must be a path such as /home/jovyan",
		"{mount: /}":           "mount must be a path such as /home/jovyan",
		"{per: hub}":           "per must be one of user, server",
		"{accessMode: RWO}":    "accessMode must be one of ReadWriteOnce, ReadWriteOncePod, ReadWriteMany",
		"{storage_class: x}":   "storage_class is unknown; did you mean storageClass?",
		"{size: x, per: x}":    "per must be one of user, server; size must be a quantity such as 10Gi, more than 0",
		"{storageClass: true}": "storageClass must be a string, not true or false",
	} {
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if err := checkAll(map[string]any{"homes": value}); err == nil || err.Error() != "homes: "+want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// See protocol 1.14.
func TestPublishHome(t *testing.T) {
	home := func(size *string, mount, per string) *catalog.Home {
		return &catalog.Home{Size: size, Mount: mount, Per: per}
	}
	const claim = `storage_pvc_ensure: true
storage_capacity: 3Gi
volumes: [{name: v, persistentVolumeClaim: {claimName: "{pvc_name}"}}]
`
	const mount = "volume_mounts: [{name: v, mountPath: /home/jovyan}]\n"
	for text, want := range map[string]*catalog.Home{
		"":                                     nil,
		"homes: none":                          nil,
		"homes: {}":                            home(new("10Gi"), "/home/jovyan", "user"),
		"homes: {per: server, mount: /h}":      home(new("10Gi"), "/h", "server"),
		"{homes: {}, storage_capacity: 1Gi}":   home(new("1Gi"), "/home/jovyan", "user"),
		claim:                                  nil, // mounted nowhere
		claim + mount:                          home(new("3Gi"), "/home/jovyan", "server"),
		claim + mount + "pvc_name_template: c": home(new("3Gi"), "/home/jovyan", "user"),
		claim + "volume_mounts: [{name: v, mountPath: /home/jovyan, readOnly: true}]": nil,
		`volumes: [{name: v, persistent_volume_claim: {claim_name: "claim-{user_server}"}}]
` + mount: home(nil, "/home/jovyan", "server"), // made by somebody else
		`volumes: {v: {name: v, nfs: {server: nas, path: /homes}}}
volume_mounts: [{name: v, mount_path: /home/jovyan, subPath: "{username}"}]`: home(nil, "/home/jovyan", "user"),
		`volumes: [{name: v, nfs: {server: nas, path: /data}}]
volume_mounts: [{name: v, mountPath: /data}]`: nil, // data, but no home
		"volumes: [{name: v, emptyDir: {}}]\n" + mount:                nil,
		"volumes: [{name: w, nfs: {server: nas, path: /}}]\n" + mount: nil,
	} {
		if diff := cmp.Diff(want, PublishHome(settingsOf(t, text))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}
