package charts

import (
	"encoding/json"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/tunnels/remote"
)

const (
	hubChart  = "outposts-hub"
	moduleMap = hubChart + "/templates/configmap-module.yaml"
)

// renderHub renders an installation of the hub's chart as release outposts-hub in namespace jupyter.
func renderHub(t *testing.T, values map[string]any) (map[string]string, error) {
	t.Helper()
	return renderChart(load(t, hubChart), values, chartutil.ReleaseOptions{
		Name: hubChart, Namespace: "jupyter", Revision: 1, IsInstall: true,
	})
}

// hubObjects renders a value set of the hub's chart and splits it into objects by "Kind name".
func hubObjects(t *testing.T, values map[string]any) map[string]object {
	t.Helper()
	files, err := renderHub(t, values)
	if err != nil {
		t.Fatal(err)
	}
	return split(t, files)
}

// withHub returns the default value set of the hub's chart with one change.
func withHub(t *testing.T, change string) map[string]any {
	t.Helper()
	values := readValues(t, hubChart+"/ci/defaults.yaml")
	return chartutil.CoalesceTables(decode[map[string]any](t, []byte(change)), values)
}

// TestHubValueSetsAreAsBefore holds what is rendered, but for the text of the module.
func TestHubValueSetsAreAsBefore(t *testing.T) {
	for _, set := range valueSetsOf(t, hubChart) {
		t.Run(setName(set), func(t *testing.T) {
			files, err := renderHub(t, readValues(t, set))
			if err != nil {
				t.Fatal(err)
			}
			delete(files, moduleMap)
			wantGolden(t, "hub-"+setName(set), listing(files, hubChart))
		})
	}
}

// TestHubHasTheModule holds that the chart has the module as it is where it is written and tested.
func TestHubHasTheModule(t *testing.T) {
	files, err := renderHub(t, withHub(t, "{}"))
	if err != nil {
		t.Fatal(err)
	}
	const source = "../infra/hub/outpost_hub"
	want := map[string]string{}
	written, err := filepath.Glob(source + "/*.py")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range written {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want[filepath.Base(file)] = string(text)
	}
	got := decode[corev1.ConfigMap](t, []byte(files[moduleMap])).Data
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 10 {
		t.Errorf("%d files of the module (-%s +rendered):\n%s", len(want), source, diff)
	}
}

// TestHubKnowsTheKeysOfSystems holds that the module's data of a system can be written as values: each key but the
// file of CAs, which the chart makes.
func TestHubKnowsTheKeysOfSystems(t *testing.T) {
	text, err := os.ReadFile("../infra/hub/outpost_hub/systems.py")
	if err != nil {
		t.Fatal(err)
	}
	keys := regexp.MustCompile(`(?s)class System:.*?    KEYS = \((.*?)\)`).FindSubmatch(text)
	if keys == nil {
		t.Fatal("the module names no keys")
	}
	want := []string{"ca", "caKey"}
	for _, found := range regexp.MustCompile(`"(\w+)"`).FindAllSubmatch(keys[1], -1) {
		if key := string(found[1]); key != "caFile" {
			want = append(want, key)
		}
	}
	slices.Sort(want)
	var schema struct {
		Properties struct {
			Systems struct {
				AdditionalProperties struct{ Properties map[string]any }
			}
		}
	}
	if err := json.Unmarshal([]byte(HubSchema), &schema); err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(maps.Keys(schema.Properties.Systems.AdditionalProperties.Properties))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys of a system (-module +schema):\n%s", diff)
	}
}

// TestHubWithoutTheModule holds that a copy of the chart that has lost the symbolic link is refused with words.
func TestHubWithoutTheModule(t *testing.T) {
	c := load(t, hubChart)
	c.Files = slices.DeleteFunc(c.Files, func(f *chart.File) bool { return path.Dir(f.Name) == "module" })
	_, err := renderChart(c, withHub(t, "{}"), chartutil.ReleaseOptions{Name: hubChart, Namespace: "jupyter"})
	if err == nil || !strings.Contains(err.Error(), "lacks module/*.py") {
		t.Errorf("error %v", err)
	}
}

func TestHubRefusals(t *testing.T) {
	//nolint:lll // a case a line
	for _, c := range []struct{ name, change, want string }{
		{"no system", "systems: null", "systems is empty"},
		{"no passwords", `authSecret: ""`, "authSecret is empty"},
		{"no key", `sshKeySecret: ""`, "sshKeySecret is empty"},
		{"no host key", "systems: {remote: {ssh: {hostKeys: []}}}", "systems.remote.ssh.hostKeys is empty"},
		{"CAs without their ConfigMap", "systems: {remote: {caKey: remote.crt}}", "systems.remote.caKey is a key of trustConfigMap"},
		{"host keys in two places", "trustConfigMap: trust", "systems.remote has ca or ssh.hostKeys"},
		{"CAs in two places", "trustConfigMap: trust\nsystems: {remote: {ca: '-----BEGIN CERTIFICATE-----', ssh: {hostKeys: null}}}", "systems.remote has ca or ssh.hostKeys"},
		{"a flavor twice", "systems: {remote: {flavors: [{name: a}, {name: a}]}}", "systems.remote.flavors: a name is listed twice"},
		{"a profile twice", "systems: {remote: {profiles: [{slug: a}, {slug: a}]}}", "systems.remote.profiles: a slug is listed twice"},
		{"profiles of one that dials out", "systems: {a: {connect: dialOut, hubApiUrl: 'http://b', profiles: [{slug: a}], ssh: {hostKeys: [ssh-ed25519 AAAAC3]}}}", "systems.a.profiles has no effect with connect: dialOut"},
		{"what a profile sets", "systems: {remote: {profiles: [{slug: a, kubespawner_override: {image: b}}]}}", "kubespawner_override"},
		{"a slug of two lines", `systems: {remote: {profiles: [{slug: "a\nb"}]}}`, "slug"},
		{"an option without answers", "systems: {remote: {profiles: [{slug: a, profile_options: {b: {}}}]}}", "systems.remote.profiles: option b of a has neither choices nor an unlisted_choice"},
		{"an option without choices", "systems: {remote: {profiles: [{slug: a, profile_options: {b: {choices: {}}}}]}}", "systems.remote.profiles: option b of a has neither choices nor an unlisted_choice"},
		{"an option of every start", "systems: {remote: {profiles: [{slug: a, profile_options: {flavor: {choices: {b: {}}}}}]}}", "flavor"},
		{"a value of the user's own that is off", "systems: {remote: {profiles: [{slug: a, profile_options: {b: {unlisted_choice: {enabled: false}}}}]}}", "enabled"},
		{"no such flavor", "systems: {remote: {flavor: b, flavors: [{name: a}]}}", "systems.remote.flavor: b is not one of its flavors"},
		{"ports from the end", "ports: 20000-19999", "ports: 20000-19999 is not a range of ports"},
		{"ports of the kernel", "ports: 1000-2000", "ports: 1000-2000 is not a range of ports"},
		{"too many ports", "ports: 20000-70000", "ports: 20000-70000 is not a range of ports"},
		{"the port of metrics", "ports: 8000-9000", "ports: 8000-9000 is not a range of ports"},
		{"one port", "ports: '20000'", "ports"},
		{"name of a system", "systems: {Remote: {url: 'http://a', hubApiUrl: 'http://b'}}", "'Remote' does not match pattern"},
		{"no address", "systems: {other: {hubApiUrl: 'http://b'}}", "systems.other.url is missing"},
		{"address with a query", "systems: {remote: {url: 'http://a/?b=c'}}", "url"},
		{"host with an option", "systems: {remote: {ssh: {host: -oProxyCommand=a}}}", "host"},
		{"no address of SSH", "systems: {remote: {ssh: {host: null}}}", "systems.remote.ssh.host is missing"},
		{"another way to connect", "systems: {remote: {connect: dialIn}}", "connect"},
		{"an address of one that dials out", "systems: {remote: {connect: dialOut}}", "systems.remote.url has no effect with connect: dialOut"},
		{"a host of one that dials out", "systems: {remote: {connect: dialOut, url: null}}", "systems.remote.ssh.host has no effect with connect: dialOut"},
		{"a port of one that dials out", "systems: {a: {connect: dialOut, hubApiUrl: 'http://b', ssh: {port: 22, hostKeys: [ssh-ed25519 AAAAC3]}}}", "systems.a.ssh.port has no effect with connect: dialOut"},
		{"a CA of one that dials out", "systems: {a: {connect: dialOut, hubApiUrl: 'http://b', ca: '-----BEGIN CERTIFICATE-----'}}", "systems.a.ca has no effect with connect: dialOut"},
		{"no host key of one that dials out", "systems: {a: {connect: dialOut, hubApiUrl: 'http://b'}}", "systems.a.ssh.hostKeys is empty"},
		{"the ports of those that dial out", "ports: 8083-9000\nsystems: {a: {connect: dialOut, hubApiUrl: 'http://b', ssh: {hostKeys: [ssh-ed25519 AAAAC3]}}}", "ports: 8083-9000 has 8082 or 8083"},
		{"unknown key of a system", "systems: {remote: {hubApiURL: 'http://a'}}", "hubApiURL"},
		{"unknown key of SSH", "systems: {remote: {ssh: {hostKey: a}}}", "hostKey"},
		{"unknown value", "replicas: 2", "replicas"},
		{"time to end of less than nothing", "drain: -1", "drain"},
		{"name that no Service can have", "fullnameOverride: 1hub", "fullnameOverride"},
		{"name of a release that is no label", "hubRelease: my hub", "hubRelease"},
		{"name of an application that is no label", "nameOverride: my app", "nameOverride"},
		{"octal ports", "ports: 02000-03000", "ports"},
		{"a line of ssh-keyscan", "systems: {remote: {ssh: {hostKeys: ['a.example.org ssh-ed25519 AAAAC3']}}}", "systems.remote.ssh.hostKeys: entry 1 is not a public key"},
		{"a fingerprint", "systems: {remote: {ssh: {hostKeys: ['SHA256:AAAA']}}}", "systems.remote.ssh.hostKeys: entry 1 is not a public key"},
		{"no port", "systems: {remote: {url: 'https://a:99999/services'}}", "systems.remote.url: 99999 is not a port"},
		{"port 0 of the hub", "systems: {remote: {hubApiUrl: 'https://a:0/hub/api'}}", "systems.remote.hubApiUrl: 0 is not a port"},
		{"what is always sent", "systems: {remote: {sendAuthState: [name]}}", "systems.remote.sendAuthState: name is always sent"},
		{"a former name twice", "systems: {remote: {formerNames: [a, a]}}", "systems.remote.formerNames: a is listed twice"},
		{"a former name of two systems", "systems: {remote: {formerNames: [a]}, b: {url: 'http://a', hubApiUrl: 'http://b', formerNames: [a]}}", "systems.remote.formerNames: a is listed twice"},
		{"a former name that is in use", "systems: {remote: {formerNames: [remote]}}", "systems.remote.formerNames: remote is listed twice"},
		{"CAs by the name of a file", "systems: {remote: {ca: /etc/ssl/ca.pem}}", "systems.remote.ca must be certificates"},
		{"a private key as CA", "systems: {remote: {ca: '-----BEGIN CERTIFICATE----- -----BEGIN PRIVATE KEY-----'}}", "systems.remote.ca must be certificates"},
		{"other tunnels", "podLabels: {outposts.dev/tunnels: other}", "podLabels: outposts.dev/tunnels is set by the chart"},
		{"other pods", "podLabels: {app.kubernetes.io/name: other}", "podLabels: app.kubernetes.io/name is set by the chart"},
		{"text longer than the hub takes", "systems: {remote: {displayName: " + strings.Repeat("a", 4001) + "}}", "displayName"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := renderHub(t, withHub(t, c.change))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want it to say %q", err, c.want)
			}
		})
	}
	_, err := renderHub(t, map[string]any{})
	for _, want := range []string{"- systems is empty", "- authSecret is empty", "- sshKeySecret is empty"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("not all at once: %v", err)
		}
	}
}

// TestHubOfAnyRelease holds what release names are refused, which Helm takes and Services do not.
func TestHubOfAnyRelease(t *testing.T) {
	for name, want := range map[string]string{
		"my.hub": "no Service can be named after the release, my.hub",
		"1hub":   "no Service can be named after the release, 1hub",
		"on":     "", strings.Repeat("a", 53): "",
	} {
		release := chartutil.ReleaseOptions{Name: name, Namespace: "jupyter", Revision: 1, IsInstall: true}
		_, err := renderChart(load(t, hubChart), withHub(t, "{}"), release)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("release %s: error %v, want %q", name, err, want)
		}
		if _, err := renderChart(load(t, hubChart), withHub(t, "fullnameOverride: hub"), release); err != nil {
			t.Errorf("release %s with another name: %v", name, err)
		}
	}
}

// TestHubNamesAreStrings holds that names which YAML reads as something else, a number or a bool, stay names.
func TestHubNamesAreStrings(t *testing.T) {
	files, err := renderChart(load(t, hubChart), withHub(t, `{hubRelease: "1", nameOverride: "2", authSecret: "3",
sshKeySecret: "4", trustConfigMap: "5", serviceAccount: {name: "6"}, priorityClassName: "7", drain: 1000000,
systems: {remote: {ssh: {hostKeys: null}}}}`), chartutil.ReleaseOptions{Name: "on", Namespace: "jupyter"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for key, o := range split(t, files) {
		var meta metav1.PartialObjectMetadata
		if err := yaml.Unmarshal(o.text, &meta); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		got = append(got, key)
		switch o.Kind {
		case "Deployment":
			made := decode[appsv1.Deployment](t, o.text)
			for _, e := range made.Spec.Template.Spec.Containers[0].Env {
				if e.Name == "OUTPOST_TUNNELS_DRAIN" && e.Value != "1000000" {
					t.Errorf("drain %s", e.Value)
				}
			}
		case "NetworkPolicy":
			decode[networkingv1.NetworkPolicy](t, o.text)
		case "PodDisruptionBudget":
			decode[policyv1.PodDisruptionBudget](t, o.text)
		case "RoleBinding":
			decode[rbacv1.RoleBinding](t, o.text)
		case "Service":
			decode[corev1.Service](t, o.text)
		case "ServiceAccount":
			decode[corev1.ServiceAccount](t, o.text)
		}
	}
	if len(got) != 9 {
		t.Errorf("rendered %v", got)
	}
	linesOfNotes[hubLines](t, files[hubChart+"/templates/NOTES.txt"])
}

// hubDeployment is the Deployment of the tunnels among rendered objects, and its only container.
func hubDeployment(t *testing.T, all map[string]object) (appsv1.Deployment, corev1.Container) {
	t.Helper()
	for _, o := range all {
		if o.Kind == "Deployment" {
			made := decode[appsv1.Deployment](t, o.text)
			if len(made.Spec.Template.Spec.Containers) != 1 {
				t.Fatalf("containers: %v", made.Spec.Template.Spec.Containers)
			}
			return made, made.Spec.Template.Spec.Containers[0]
		}
	}
	t.Fatal("no Deployment")
	return appsv1.Deployment{}, corev1.Container{}
}

// TestTunnelsTakeWhatIsRendered holds that the process reads every variable that it is given, that it takes all of them
// and its file of systems, and that its defaults are the chart's.
func TestTunnelsTakeWhatIsRendered(t *testing.T) {
	for _, set := range valueSetsOf(t, hubChart) {
		t.Run(setName(set), func(t *testing.T) {
			values := readValues(t, set)
			all := hubObjects(t, values)
			made, container := hubDeployment(t, all)
			env, given := map[string]string{}, map[string]bool{}
			for _, e := range container.Env {
				if strings.HasPrefix(e.Name, "OUTPOST_") {
					env[e.Name], given[e.Name] = e.Value, true
				}
			}
			for _, v := range config.TunnelsVariables() {
				forDialOut := strings.HasPrefix(v.Name, "OUTPOST_TUNNELS_DIAL_OUT_") ||
					v.Name == "OUTPOST_TUNNELS_API_LISTEN"
				if want := v.Chart() && !(forDialOut && setName(set) == "defaults"); given[v.Name] != want {
					t.Errorf("%s is given: %v, want %v", v.Name, given[v.Name], want)
				}
				if v.Default() != "" && setName(set) == "defaults" && env[v.Name] != v.Default() {
					t.Errorf("%s: the chart says %q, the default is %q", v.Name, env[v.Name], v.Default())
				}
				delete(given, v.Name)
			}
			if len(given) > 0 {
				t.Errorf("not read: %v", given)
			}
			cfg, err := config.TunnelsFromEnv(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
			if err != nil {
				t.Fatal(err)
			}
			if grace := *made.Spec.Template.Spec.TerminationGracePeriodSeconds; float64(grace) <= cfg.Drain.Seconds() {
				t.Errorf("the pod has %d s to end, its streams %v", grace, cfg.Drain)
			}
			if values["trustConfigMap"] == nil || values["trustConfigMap"] == "" {
				text := trustOf(t, all).Data["systems.yaml"]
				if _, err := remote.Parse([]byte(text)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func trustOf(t *testing.T, all map[string]object) corev1.ConfigMap {
	t.Helper()
	for _, o := range all {
		if o.Kind == "ConfigMap" && strings.HasSuffix(o.Metadata.Name, "-trust") {
			return decode[corev1.ConfigMap](t, o.text)
		}
	}
	t.Fatal("no ConfigMap of trust")
	return corev1.ConfigMap{}
}

// TestFormerNamesAreTrusted holds that what a system is trusted by is there under the names that it had, too: Services
// of servers, and data that the hub has not read again yet, have them.
func TestFormerNamesAreTrusted(t *testing.T) {
	const ca = "-----BEGIN CERTIFICATE-----"
	trust := trustOf(t, hubObjects(t, withHub(t, "systems: {remote: {formerNames: [north, far], ca: '"+ca+"'}, "+
		"direct: {url: 'http://a', hubApiUrl: 'http://b', formerNames: [near]}}"))).Data
	systems, err := remote.Parse([]byte(trust["systems.yaml"]))
	if err != nil {
		t.Fatal(err)
	}
	want, got := map[string][]string{}, map[string][]string{}
	for _, name := range []string{"far", "north", "remote"} {
		want[name] = []string{"outpost.example.org", ca + "\n"}
		got[name] = []string{systems[name].Host, trust[name+".crt"]}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(systems) != 3 || len(trust) != 4 {
		t.Errorf("systems %v, hosts and CAs (-want +got):\n%s", slices.Sorted(maps.Keys(systems)), diff)
	}
}

// TestTunnelsAreSelected holds that the pods have the label by which Services of servers select them, and that nothing
// else of the chart has it: a Service with it would be taken for one of a server.
func TestTunnelsAreSelected(t *testing.T) {
	const label = "outposts.dev/tunnels"
	for _, set := range valueSetsOf(t, hubChart) {
		all := hubObjects(t, readValues(t, set))
		made, container := hubDeployment(t, all)
		i := slices.IndexFunc(container.Env, func(e corev1.EnvVar) bool { return e.Name == "OUTPOST_TUNNELS_NAME" })
		if got := made.Spec.Template.Labels[label]; got == "" || got != container.Env[i].Value {
			t.Errorf("%s: pods have label %q, and look for Services of %q", set, got, container.Env[i].Value)
		}
		for key, o := range all {
			var other metav1.PartialObjectMetadata
			if err := yaml.Unmarshal(o.text, &other); err != nil {
				t.Fatal(err)
			}
			if _, has := other.Labels[label]; has {
				t.Errorf("%s: %s has the label", set, key)
			}
			if o.Kind == "Service" {
				selector := decode[corev1.Service](t, o.text).Spec.Selector
				if !labels.SelectorFromSet(selector).Matches(labels.Set(made.Spec.Template.Labels)) {
					t.Errorf("%s: %s does not select the tunnels", set, key)
				}
			}
		}
	}
}

func TestTunnelsPassPodSecurityRestricted(t *testing.T) {
	for _, set := range valueSetsOf(t, hubChart) {
		made, container := hubDeployment(t, hubObjects(t, readValues(t, set)))
		if wrong := restricted(made.Spec.Template.Spec); wrong != nil {
			t.Errorf("%s: %v", set, wrong)
		}
		if readOnly := container.SecurityContext.ReadOnlyRootFilesystem; readOnly == nil || !*readOnly {
			t.Errorf("%s: it can write to its root", set)
		}
	}
}

// TestTunnelsHaveTheLeastRights holds what they may do, in one namespace, and that no Secret is made.
func TestTunnelsHaveTheLeastRights(t *testing.T) {
	want := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create"}},
	}
	var got []rbacv1.PolicyRule
	for key, o := range hubObjects(t, withHub(t, "{}")) {
		switch {
		case o.Kind == "Secret" || strings.HasPrefix(o.Kind, "Cluster"):
			t.Errorf("%s is rendered", key)
		case o.Kind == "Role":
			got = append(got, decode[rbacv1.Role](t, o.text).Rules...)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rights (-want +got):\n%s", diff)
	}
}

// TestTunnelsReachSystems holds that their policy lets them out to the ports of all systems and of the API server.
func TestTunnelsReachSystems(t *testing.T) {
	all := hubObjects(t, withHub(t, "systems: {second: {url: 'http://a', hubApiUrl: 'http://b', "+
		"ssh: {host: a, port: 30022, hostKeys: [ssh-ed25519 AAAAC3]}}, "+
		"direct: {url: 'http://a', hubApiUrl: 'http://b'}}"))
	var got []int32
	policy := decode[networkingv1.NetworkPolicy](t, all["NetworkPolicy outposts-hub-tunnels"].text)
	for _, rule := range policy.Spec.Egress {
		if len(rule.To) == 0 {
			for _, p := range rule.Ports {
				got = append(got, p.Port.IntVal)
			}
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff([]int32{22, 443, 2222, 6443, 8443, 16443, 30022}, got); diff != "" {
		t.Errorf("ports to anywhere (-want +got):\n%s", diff)
	}
}

// TestChartsAreAlike holds that what both charts have, as neither can call the other, is the same: rules for the DNS of
// every kind of cluster, and templates of labels, the image, security contexts and alerts.
func TestChartsAreAlike(t *testing.T) {
	dns := func(policy object) []networkingv1.NetworkPolicyEgressRule {
		rules := decode[networkingv1.NetworkPolicy](t, policy.text).Spec.Egress
		return slices.DeleteFunc(rules, func(r networkingv1.NetworkPolicyEgressRule) bool {
			return len(r.Ports) == 0 || r.Ports[0].Protocol == nil || *r.Ports[0].Protocol != corev1.ProtocolUDP
		})
	}
	want := dns(objects(t, with(t, "{}"))["NetworkPolicy outpost"])
	got := dns(hubObjects(t, withHub(t, "{}"))["NetworkPolicy outposts-hub-tunnels"])
	if diff := cmp.Diff(want, got); diff != "" || len(want) != 3 {
		t.Errorf("rules for DNS (-outpost +outposts-hub):\n%s", diff)
	}
	defined := func(folder, name string) string {
		for _, file := range load(t, folder).Templates {
			_, text, found := strings.Cut(string(file.Data), `{{- define "`+folder+"."+name+`" -}}`)
			if found {
				text, _, _ = strings.Cut(text, "\n{{- end -}}\n")
				return strings.ReplaceAll(text, `"`+folder+".", `"`)
			}
		}
		t.Fatalf("%s has no template %s", folder, name)
		return ""
	}
	for _, name := range []string{"labels", "image", "podSecurity", "containerSecurity", "alerts"} {
		if diff := cmp.Diff(defined("outpost", name), defined(hubChart, name)); diff != "" {
			t.Errorf("template %s (-outpost +outposts-hub):\n%s", name, diff)
		}
	}
}

// TestNotesConnectTheHub holds that the lines which NOTES shows mount what the chart makes, and all that its data
// names.
func TestNotesConnectTheHub(t *testing.T) {
	for _, set := range valueSetsOf(t, hubChart) {
		t.Run(setName(set), func(t *testing.T) {
			values := readValues(t, set)
			files, err := renderHub(t, values)
			if err != nil {
				t.Fatal(err)
			}
			all := split(t, files)
			hub := linesOfNotes[hubLines](t, files[hubChart+"/templates/NOTES.txt"]).Hub
			places := map[string]string{} // of volumes
			for _, m := range hub.ExtraVolumeMounts {
				places[m.Name] = m.MountPath
			}
			var there []string // files and folders in the hub's pod
			var data string
			for _, v := range hub.ExtraVolumes {
				there = append(there, places[v.Name])
				switch {
				case v.Secret != nil && v.Secret.SecretName == values["authSecret"]:
				case v.ConfigMap != nil && v.ConfigMap.Name == values["trustConfigMap"]:
					there = append(there, places[v.Name]+"/remote.crt")
				case v.ConfigMap != nil:
					made := decode[corev1.ConfigMap](t, all["ConfigMap "+v.ConfigMap.Name].text)
					for key := range made.Data {
						there = append(there, places[v.Name]+"/"+key)
					}
					data += made.Data["outposts.yaml"]
				default:
					t.Errorf("volume %s is of nothing that is made", v.Name)
				}
			}
			var needed struct {
				AuthDir string
				Systems map[string]struct{ CAFile string }
			}
			if err := yaml.Unmarshal([]byte(data), &needed); err != nil {
				t.Fatal(err)
			}
			want := []string{
				needed.AuthDir, "/usr/local/etc/jupyterhub/outpost_hub/__init__.py", "/etc/outpost/data/outposts.yaml",
			}
			for _, s := range needed.Systems {
				if s.CAFile != "" {
					want = append(want, s.CAFile)
				}
			}
			for _, file := range want {
				if !slices.Contains(there, file) {
					t.Errorf("%s is not mounted; there are %v", file, there)
				}
			}
			if !strings.Contains(hub.ExtraConfig["outposts"], `"/etc/outpost/data/outposts.yaml"`) {
				t.Errorf("config %s", hub.ExtraConfig)
			}
		})
	}
}

// hubLines are the values of zero-to-jupyterhub in NOTES.
type hubLines struct {
	Hub struct {
		AllowNamedServers bool
		ExtraConfig       map[string]string
		ExtraVolumes      []corev1.Volume
		ExtraVolumeMounts []corev1.VolumeMount
	}
}

// linesOfNotes returns the lines for zero-to-jupyterhub in what Helm prints.
func linesOfNotes[T any](t *testing.T, notes string) T {
	t.Helper()
	_, lines, found := strings.Cut(notes, "\nhub:\n")
	lines, _, ended := strings.Cut(lines, "\n\n")
	if !found || !ended {
		t.Fatalf("no lines in\n%s", notes)
	}
	return decode[T](t, []byte("hub:\n"+lines))
}
