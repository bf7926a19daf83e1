package site_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/site"
)

// read is a site from the text of its files.
func read(t *testing.T, spawner string, hubs map[string]string, flavors string) site.Site {
	t.Helper()
	options := func(text string) map[string]any {
		var values map[string]any
		if err := yaml.Unmarshal([]byte(text), &values); err != nil {
			t.Fatal(err)
		}
		return values
	}
	s := site.Site{Namespace: "servers", Spawner: options(spawner)}
	for name, text := range hubs {
		s.Hubs = append(s.Hubs, outpost.Hub{Name: name, Options: options(text)})
	}
	var err error
	if s.Flavors, err = flavor.Parse([]byte(flavors)); err != nil {
		t.Fatal(err)
	}
	return s
}

// Every layer is checked, and every profile, choice and flavor is planned; each fault is named once, at the layer that
// sets the option.
func TestEveryFaultIsFoundAtItsPlace(t *testing.T) {
	s := read(t, `
mem_limt: 1G
cpu_limit: two
volumes: [{name: h, persistent_volume_claim: {claim_name: x}}]
working_dir: "/home/{usr}"
profile_list:
- display_name: Small
  kubespawner_override:
    mem_limit: 1 G
    extra_containers: [{name: side, imag: x}]
- display_name: Large
  profile_options:
    size:
      choices:
        a: {}
        b: {kubespawner_override: {extra_labels: {"a b": c}, environment: {A: "{nobody}"}}}
      unlisted_choice:
        enabled: true
        kubespawner_override: {service_account: "{value}-{wrong}", cpu_limit: "{value}"}
`, map[string]string{"research": `
pod_name_template: "{username}-{nothing}"
tolerations: [{key: gpu, operater: Exists}]
node_selector: {pool: 1}
`}, `
flavors:
  small: {resources: {mem_limit: 2GB, init_containers: [{name: i, imgae: x}]}}
hubs:
  any: {jupyterhub_name: "*", flavorsOverride: {small: {resources: {storage_capacity: lots, storage_pvc_ensure: true}}}}
`)
	var got []string
	for _, fault := range s.Check() {
		got = append(got, []string{"config", "flavors"}[fault.File]+" "+fault.Key+": "+fault.Text)
	}
	const (
		choices = "config spawner.profile_list[1].profile_options.size."
		memory  = `must be a number of bytes or a string such as "512M", "1.5G" or "2Gi"`
		braces  = "; write {{ and }} for braces"
		unnamed = "which is not a name"
	)
	want := []string{
		`config hubs.research.spawner.node_selector: the value of "pool" must be a string, not an integer`,
		"config hubs.research.spawner.pod_name_template: unknown field {nothing} in template" + braces,
		`config hubs.research.spawner.tolerations[0]: unknown key "operater"`,
		`config spawner.cpu_limit: must be a number of cores such as 1.5 or "500m"`,
		"config spawner.mem_limt: unknown option; did you mean mem_limit?",
		`config spawner.profile_list[0].kubespawner_override.extra_containers: ` +
			`container "side" has the image "", ` + unnamed,
		`config spawner.profile_list[0].kubespawner_override.extra_containers[0]: unknown key "imag"`,
		"config spawner.profile_list[0].kubespawner_override.mem_limit: " + memory,
		choices + "choices.b.kubespawner_override.environment.A: unknown field {nobody} in template" + braces,
		choices + `choices.b.kubespawner_override.extra_labels: label a b="c": name part must consist of ` +
			"alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character " +
			"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is " +
			"'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
		choices + "unlisted_choice.kubespawner_override.service_account: unknown field {wrong} in template" + braces,
		`config spawner.volumes[0]: unknown field "persistentVolumeClaim.claim_name"`,
		"config spawner.working_dir: unknown field {usr} in template" + braces,
		`flavors flavors.small.resources.init_containers: container "i" has the image "", ` + unnamed,
		`flavors flavors.small.resources.init_containers[0]: unknown key "imgae"`,
		"flavors flavors.small.resources.mem_limit: " + memory,
		"flavors hubs.any.flavorsOverride.small.resources.storage_capacity: must be a quantity such as 10Gi",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Null, which remains of a value that is commented out, lifts no limit of a layer below. That of a profile lifts what
// the spawner options set, as in KubeSpawner, and no limit of a flavor.
func TestNullLiftsNoLimit(t *testing.T) {
	const lifted = "is null, which would lift a limit; write 0 to lift it, or leave the key out to keep it"
	profile := func(override string) string {
		return "mem_guarantee: 1G\nprofile_list:\n- {display_name: Usual}\n" +
			"- {display_name: P, kubespawner_override: {" + override + "}}\n"
	}
	//nolint:lll // a case a line
	for _, c := range []struct{ name, spawner, hub, flavors, want string }{
		{"of a flavor", "mem_limit: 1G", "", "flavors: {a: {resources: {mem_limit: null}}}", "1 flavors.a.resources.mem_limit: " + lifted},
		{"of a flavor, a processor", "cpu_limit: 500m", "", "flavors: {a: {resources: {cpu_limit: null}}}", "1 flavors.a.resources.cpu_limit: " + lifted},
		{"of a flavor, a guarantee", "cpu_guarantee: 1", "", "flavors: {a: {resources: {cpu_guarantee: }}}", "1 flavors.a.resources.cpu_guarantee: " + lifted},
		{"of a hub", "mem_limit: 1G", "mem_limit: null", "", "0 hubs.h.spawner.mem_limit: " + lifted},
		{"of a profile, over a flavor", profile("mem_limit: null"), "", "flavors: {a: {resources: {mem_limit: 1G}}}", "0 spawner.profile_list[1].kubespawner_override.mem_limit: " + lifted},
		{"of a profile, over the options", profile("mem_guarantee: null"), "", "flavors: {a: {resources: {mem_limit: 1G}}}", ""},
		{"of what nobody limits", "mem_limit: null\ncpu_limit: 0", "mem_limit: null", "flavors: {a: {resources: {cpu_limit: null, mem_limit: null}}}", ""},
		{"lifted by 0", "mem_limit: 1G", "", "flavors: {a: {resources: {mem_limit: 0}}}", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, fault := range read(t, c.spawner, map[string]string{"h": c.hub}, c.flavors).Check() {
				got = append(got, fmt.Sprintf("%d %s: %s", fault.File, fault.Key, fault.Text))
			}
			if strings.Join(got, "\n") != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// A name in allowedOptions that is of no option would allow nothing. What every client sends, all, and the older name
// of an image are names.
func TestAllowedOptionsAreOptions(t *testing.T) {
	s := site.Site{Hubs: []outpost.Hub{
		{Name: "a", AllowedOptions: []string{"*"}},
		{
			Name:           "b",
			AllowedOptions: append(slices.Clone(outpost.AlwaysAllowedOptions), "image", "image_spec", "volumes"),
		},
		{Name: "c", AllowedOptions: []string{"image", "mem_limt", "Volumes", "singleuser_uid", "flavour", "**", ""}},
	}}
	const key = "hubs.c.allowedOptions"
	want := []site.Fault{
		{Key: key + "[1]", Text: `"mem_limt": unknown option; did you mean mem_limit?`},
		{Key: key + "[2]", Text: `"Volumes": unknown option; did you mean volumes?`},
		{Key: key + "[3]", Text: `"singleuser_uid": renamed; use uid`},
		{Key: key + "[4]", Text: `"flavour": unknown option`},
		{Key: key + "[5]", Text: `"**": unknown option`},
		{Key: key + "[6]", Text: `"": unknown option`},
	}
	if diff := cmp.Diff(want, s.Check()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What KubeSpawner and the clients of hubs take is no fault.
func TestSitesWithoutFaults(t *testing.T) {
	for name, s := range map[string]site.Site{
		"nothing":      {},
		"internal TLS": read(t, "internal_ssl: true", nil, ""),
		"a profile whose values are the user's own": read(t, `
profile_list:
  own:
    display_name: Own
    profile_options:
      image:
        unlisted_choice:
          {enabled: true, validation_regex: "^nobody knows$", kubespawner_override: {image: "{value}"}}
`, nil, ""),
		"profiles of groups, none of which is open to everybody": read(t, `
profile_list:
  - {slug: a, allowed_groups: ["urn:*:a", b], denied_text: Ask Bob., kubespawner_override: {cpu_limit: 1}}
  - slug: b
    allowed_groups: [c]
    profile_options: {image: {choices: {x: {kubespawner_override: {image: x}}, y: {}}}}
`, nil, ""),
		"templates and both styles of keys": read(t, `
volumes: {home: {name: "home-{username}", persistentVolumeClaim: {claimName: "{pvc_name}"}}}
volume_mounts: [{name: "home-{username}", mount_path: /home/jovyan, subPath: "{servername}"}]
environment: {GREETING: "hello {username}", SECRET: {valueFrom: {secretKeyRef: {name: s, key: k}}}, NONE: null}
extra_pod_config: {host_network: false, terminationGracePeriodSeconds: 30}
enable_user_namespaces: true
`, map[string]string{"a": "", "b": "mem_limit: 1G"}, "flavors: {small: {resources: {cpu_limit: 500m}}}"),
	} {
		if got := s.Check(); len(got) > 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Configurations in the style of real sites have no fault.
func TestRealSitesHaveNoFault(t *testing.T) {
	paths, err := filepath.Glob("../kubespawner/testdata/sites/*.yaml")
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d sites, error %v", len(paths), err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file struct{ Options map[string]any }
		if err := yaml.Unmarshal(text, &file); err != nil {
			t.Fatal(err)
		}
		if got := (site.Site{Spawner: file.Options}).Check(); len(got) > 0 {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// A profile is a later layer than a flavor: where it allows more, it is named.
func TestRaisedLimits(t *testing.T) {
	s := read(t, `
mem_limit: 1G
profile_list:
- display_name: Small
  kubespawner_override: {mem_limit: 1G, cpu_limit: 500m}
- display_name: Large
  kubespawner_override: {mem_limit: 8G, cpu_limit: 0, mem_guarantee: 8G}
  profile_options:
    gpus:
      choices:
        none: {}
        two: {kubespawner_override: {extra_resource_limits: {nvidia.com/gpu: 2, example.org/fpga: 9}}}
`, map[string]string{"h": "mem_limit: 64G"}, `
flavors:
  tiny: {resources: {mem_limit: 512M}}
  small: {resources: {mem_limit: 2G, cpu_limit: 1, extra_resource_limits: {nvidia.com/gpu: "1"}}}
  open: {resources: {mem_limit: 0}}
  bare: {max: 3}
`)
	const (
		list = "spawner.profile_list"
		rest = " allow; the profile's limit holds for whoever picks both"
	)
	want := []site.Fault{
		{Key: list + "[1].kubespawner_override.cpu_limit", Text: "is more than flavors.small" + rest},
		{Key: list + "[0].kubespawner_override.mem_limit", Text: "is more than flavors.tiny" + rest},
		{Key: list + "[1].kubespawner_override.mem_limit", Text: "is more than flavors.tiny, flavors.small" + rest},
		{
			Key:  list + "[1].profile_options.gpus.choices.two.kubespawner_override.extra_resource_limits",
			Text: "is more than flavors.small" + rest,
		},
	}
	if diff := cmp.Diff(want, s.Raised()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What Kubernetes would refuse is named by the option that it was written in, also where that is another one than
// usual.
func TestFaultsOfOverlaysAreFoundAtTheirPlace(t *testing.T) {
	s := read(t, `
extra_pod_config: {nodeSelector: {a b: c}, dnsPolicy: None of these}
pod_overlay: {spec: {serviceAccountName: My Account}}
extra_container_config: {volumeMounts: [{name: none, mountPath: /a}]}
`, nil, "")
	var got []string
	for _, fault := range s.Check() {
		key, _, _ := strings.Cut(fault.Text, ":")
		got = append(got, fault.Key+": "+key)
	}
	want := []string{
		"spawner.extra_pod_config: must be one of ClusterFirst, ClusterFirstWithHostNet, Default, None, " +
			`not "None of these"`,
		`spawner.pod_overlay: "My Account" cannot be a name`,
		`spawner.pod_overlay: container "notebook" mounts volume "none", which is not in volumes`,
		`spawner.pod_overlay: label a b="c"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestExpressionsThatAnythingMayFollow(t *testing.T) {
	list := func(expression string) string {
		return `profile_list: [{display_name: P, profile_options: {o: {unlisted_choice: {
			enabled: true, validation_regex: "` + expression + `", kubespawner_override: {image: "{value}"}}}}}]`
	}
	s := read(t, list("^quay[.]io"), map[string]string{"a": list("^quay[.]io"), "b": list("^quay[.]io/.+")}, "")
	const key, text = "profile_list[0].profile_options.o.unlisted_choice.validation_regex",
		"lets anything follow what it matches; end it with $, or with .* if that is meant"
	want := []site.Fault{{Key: "spawner." + key, Text: text}, {Key: "hubs.a.spawner." + key, Text: text}}
	if diff := cmp.Diff(want, s.OpenEnded()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSettingsOfEveryLayer(t *testing.T) {
	s := read(t, `
namespace: servers
profile_list:
- display_name: P
  kubespawner_override: {namespace: gpu}
  profile_options:
    o:
      choices: {a: {kubespawner_override: {namespace: a}}, b: {}}
      unlisted_choice: {enabled: true, kubespawner_override: {namespace: "{value}"}}
`, map[string]string{"h": "namespace: of-hub"}, `
flavors: {f: {resources: {namespace: of-flavor}}}
users: {u: {flavorsOverride: {f: {resources: {namespace: of-users}}}}}
`)
	const option = "spawner.profile_list[0].profile_options.o."
	want := []site.Setting{
		{Key: "spawner.namespace", Value: "servers"},
		{Key: "spawner.profile_list[0].kubespawner_override.namespace", Value: "gpu"},
		{Key: option + "choices.a.kubespawner_override.namespace", Value: "a"},
		{Key: option + "unlisted_choice.kubespawner_override.namespace", Value: "{value}"},
		{Key: "hubs.h.spawner.namespace", Value: "of-hub"},
		{File: site.Flavors, Key: "flavors.f.resources.namespace", Value: "of-flavor"},
		{File: site.Flavors, Key: "users.u.flavorsOverride.f.resources.namespace", Value: "of-users"},
	}
	if diff := cmp.Diff(want, s.Settings("namespace")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
