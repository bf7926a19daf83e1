package outpost

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/values"
)

// settings are those in a text as a stack's config has them.
func settings(t *testing.T, text string) (s Settings) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestOwnStorage holds in which configurations an operator has decided what is kept of servers, by the key that says
// so: the default for homes keeps away from each of them.
func TestOwnStorage(t *testing.T) {
	for _, tt := range []struct{ name, settings, want string }{
		{"nothing", "{}", ""},
		{"homes of this key", "{homes: {size: 1Gi}}", ""},
		{"other options", "{config: {spawner: {image: a, cpu_limit: 2}}}", ""},
		{"memory as a volume", `{config: {spawner: {volumes: [{name: shm, emptyDir: {medium: Memory}}],
			volume_mounts: [{name: shm, mountPath: /dev/shm}]}}}`, ""},
		{"an option that says nothing", "{config: {spawner: {storage_class: null}}}", ""},
		{"shared data", "{config: {spawner: {shared: [{name: a, claim: a, mount: /data}]}}}", ""},
		{"homes among the options", "{config: {spawner: {homes: none}}}", "config.spawner.homes"},
		{
			"claims of KubeSpawner", "{config: {spawner: {storage_pvc_ensure: true}}}",
			"config.spawner.storage_pvc_ensure",
		},
		{
			"options of one hub", "{config: {hubs: {jupyterhub: {spawner: {pvc_name_template: a}}}}}",
			"config.hubs.jupyterhub.spawner.pvc_name_template",
		},
		{
			"among the values", "{values: {config: {spawner: {storage_capacity: 1Gi}}}}",
			"values.config.spawner.storage_capacity",
		},
		{
			"a profile",
			"{config: {spawner: {profile_list: [{display_name: A, kubespawner_override: {storage_class: a}}]}}}",
			"config.spawner.profile_list[0].kubespawner_override.storage_class",
		},
		{
			"a flavor", "{flavors: {flavors: {a: {resources: {storage_capacity: 1Gi}}}}}",
			"flavors.flavors.a.resources.storage_capacity",
		},
		{
			"a mount at home", "{config: {spawner: {volume_mounts: [{name: a, mountPath: /home/jovyan}]}}}",
			"config.spawner.volume_mounts",
		},
		{
			"a mount below home, by name",
			"{config: {spawner: {volume_mounts: {a: {name: a, mount_path: /home/jovyan/work}}}}}",
			"config.spawner.volume_mounts",
		},
		{
			"a volume called home", "{config: {spawner: {volumes: [{name: home, emptyDir: {}}]}}}",
			"config.spawner.volumes",
		},
		{
			"a patch of the pod", "{config: {spawner: {pod_overlay: {spec: {containers: [{name: notebook, " +
				"volumeMounts: [{name: a, mountPath: /home/a}]}]}}}}}", "config.spawner.pod_overlay",
		},
		{
			"a hub that may name volumes", "{config: {hubs: {jupyterhub: {allowedOptions: [image, volumes]}}}}",
			"config.hubs.jupyterhub.allowedOptions",
		},
		{
			"a hub that may set anything", `{config: {hubs: {jupyterhub: {allowedOptions: ["*"]}}}}`,
			"config.hubs.jupyterhub.allowedOptions",
		},
		{"rights of one's own", "{values: {rbac: {create: false}}}", "values.rbac.create"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := soundArgs()
			a.Settings = settings(t, tt.settings)
			if got := a.OwnStorage(); got != tt.want {
				t.Errorf("decided by %q, want %q", got, tt.want)
			}
		})
	}
}

// TestHomesReachTheChart holds where homes end up, and whose storage class they have.
func TestHomesReachTheChart(t *testing.T) {
	for _, tt := range []struct {
		settings  string
		want      any
		ofCluster bool
	}{
		{"{}", nil, false},
		{"{homes: none}", "none", false},
		{"{homes: {}}", map[string]any{}, true},
		{"{homes: {size: 2Gi, storageClass: fast}}", map[string]any{"size": "2Gi", "storageClass": "fast"}, false},
		{"{homes: {size: 2Gi}, config: {spawner: {storage_class: fast}}}", map[string]any{"size": "2Gi"}, false},
	} {
		a := soundArgs()
		a.Settings = settings(t, tt.settings)
		if diff := cmp.Diff(tt.want, values.At(a.values(), homesPath...)); diff != "" {
			t.Errorf("%s: homes of the chart (-want +got):\n%s", tt.settings, diff)
		}
		if got := a.HomesClass(); got != tt.ofCluster {
			t.Errorf("%s: of the cluster's class: %v", tt.settings, got)
		}
		if faults := a.CheckValues(); len(faults) > 0 {
			t.Errorf("%s: %v", tt.settings, faults)
		}
	}
}

// TestHomesAreRefused holds that faults have the key that was typed.
func TestHomesAreRefused(t *testing.T) {
	for _, tt := range []struct{ settings, want string }{
		{"{homes: {size: big}}", "homes: size must be a quantity such as 10Gi, more than 0"},
		{
			"{homes: {size: 1Gi}, values: {config: {spawner: {homes: none}}}}",
			"values.config.spawner.homes: has another value in outpost.homes or outpost.config; leave one of them out",
		},
	} {
		a := soundArgs()
		a.Settings = settings(t, tt.settings)
		var got []string
		for _, fault := range a.CheckValues() {
			got = append(got, fault.Error())
		}
		if diff := cmp.Diff([]string{tt.want}, got); diff != "" {
			t.Errorf("%s: faults (-want +got):\n%s", tt.settings, diff)
		}
	}
}
