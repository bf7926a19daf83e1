package charts

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/server/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// schemas has the values.schema.json of each chart by its folder.
var schemas = map[string]string{"outpost": OutpostSchema, "outposts-hub": HubSchema}

// object is a rendered object, undecoded.
type object struct {
	Kind     string
	Metadata struct{ Name, Namespace string }
	text     []byte
}

// decode reads an object strictly into a type of the Kubernetes API.
func decode[T any](t *testing.T, text []byte) T {
	t.Helper()
	var out T
	if err := yaml.UnmarshalStrict(text, &out); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return out
}

func load(t *testing.T, folder string) *chart.Chart {
	t.Helper()
	c, err := loader.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func readValues(t *testing.T, path string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return values
}

// render renders an installation of the chart as release outpost in namespace outpost, checked against its schema.
func render(t *testing.T, values map[string]any) (map[string]string, error) {
	t.Helper()
	return renderAs(t, values, chartutil.ReleaseOptions{Revision: 1, IsInstall: true})
}

// renderAs renders an installation or an upgrade.
func renderAs(t *testing.T, values map[string]any, release chartutil.ReleaseOptions) (map[string]string, error) {
	t.Helper()
	release.Name, release.Namespace = "outpost", "outpost"
	return renderChart(load(t, "outpost"), values, release)
}

// renderChart renders a release of a chart, for the newest Kubernetes that is tested with. Values are checked as Helm
// does, see TestChecksAreHelms.
func renderChart(
	c *chart.Chart, values map[string]any, release chartutil.ReleaseOptions,
) (map[string]string, error) {
	top, err := chartutil.ToRenderValuesWithSchemaValidation(c, values, release, newestKubernetes(), true)
	if err != nil {
		return nil, err
	}
	if err := checkValues(c, top["Values"].(chartutil.Values)); err != nil {
		return nil, err
	}
	return engine.Render(c, top)
}

func newestKubernetes() *chartutil.Capabilities {
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = chartutil.KubeVersion{Version: "v1.34.4", Major: "1", Minor: "34"}
	return capabilities
}

// objects renders a value set and splits it into objects by "Kind name".
func objects(t *testing.T, values map[string]any) map[string]object {
	t.Helper()
	files, err := render(t, values)
	if err != nil {
		t.Fatal(err)
	}
	return split(t, files)
}

// split splits rendered files into objects by "Kind name".
func split(t *testing.T, files map[string]string) map[string]object {
	t.Helper()
	out := map[string]object{}
	for name, text := range files {
		if filepath.Ext(name) != ".yaml" || strings.TrimSpace(text) == "" {
			continue
		}
		for one := range strings.SplitSeq(text, "\n---\n") {
			var o object
			if err := yaml.Unmarshal([]byte(one), &o); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			o.text = []byte(one)
			key := o.Kind + " " + o.Metadata.Name
			if _, twice := out[key]; twice {
				key += " in " + o.Metadata.Namespace
			}
			if _, twice := out[key]; twice {
				t.Fatalf("%s is rendered twice", key)
			}
			out[key] = o
		}
	}
	return out
}

func valueSets(t *testing.T) []string { return valueSetsOf(t, "outpost") }

func valueSetsOf(t *testing.T, folder string) []string {
	t.Helper()
	paths, err := filepath.Glob(folder + "/ci/*.yaml")
	if err != nil || len(paths) < 3 {
		t.Fatalf("value sets: %v, %v", paths, err)
	}
	return paths
}

func setName(path string) string { return strings.TrimSuffix(filepath.Base(path), ".yaml") }

func TestRenderedValueSetsAreAsBefore(t *testing.T) {
	for _, path := range valueSets(t) {
		t.Run(setName(path), func(t *testing.T) {
			files, err := render(t, readValues(t, path))
			if err != nil {
				t.Fatal(err)
			}
			wantGolden(t, setName(path), listing(files, "outpost"))
		})
	}
}

// listing has what a chart renders, a file after the other.
func listing(files map[string]string, chart string) string {
	var got strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text := strings.TrimSpace(files[name])
		if text == "" || strings.HasSuffix(name, ".tpl") {
			continue
		}
		got.WriteString("# " + strings.TrimPrefix(name, chart+"/templates/") + "\n" + text + "\n---\n")
	}
	return got.String()
}

// wantGolden compares rendered objects to the golden file of a name.
func wantGolden(t *testing.T, name, got string) {
	t.Helper()
	golden := filepath.Join("testdata", name+".golden.yaml")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("rendered objects (-want +got; -update rewrites them):\n%s", diff)
	}
}

// TestUpgradeChecksTheConfiguration holds the Job that an upgrade by Helm waits for: it has the settings of the
// outpost, no rights, and is selected by none of its Services.
func TestUpgradeChecksTheConfiguration(t *testing.T) {
	upgrade := chartutil.ReleaseOptions{Revision: 2, IsUpgrade: true}
	files, err := renderAs(t, readValues(t, "outpost/ci/several-hubs.yaml"), upgrade)
	if err != nil {
		t.Fatal(err)
	}
	wantGolden(t, "upgrade", files["outpost/templates/configmap-check.yaml"]+"---\n"+
		files["outpost/templates/job-check.yaml"])
	job := decode[batchv1.Job](t, []byte(files["outpost/templates/job-check.yaml"])).Spec.Template
	served := decode[appsv1.Deployment](t, []byte(files["outpost/templates/deployment.yaml"])).Spec.Template
	if diff := cmp.Diff(outpostContainer(t, served).Env, job.Spec.Containers[0].Env); diff != "" {
		t.Errorf("settings (-outpost +check):\n%s", diff)
	}
	if wrong := restricted(job.Spec); wrong != nil {
		t.Error(wrong)
	}
	if *job.Spec.AutomountServiceAccountToken || job.Spec.ServiceAccountName != "" {
		t.Error("it has the rights of a service account")
	}
	service := decode[corev1.Service](t, []byte(files["outpost/templates/service.yaml"]))
	if labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(job.Labels)) {
		t.Error("the outpost's Service selects it")
	}

	off := with(t, "checkConfig: {enabled: false}")
	for name, release := range map[string]chartutil.ReleaseOptions{
		"switched off": upgrade, "an installation": {Revision: 1, IsInstall: true},
	} {
		values := off
		if release.IsInstall {
			values = with(t, "{}")
		}
		files, err := renderAs(t, values, release)
		if err != nil {
			t.Fatal(err)
		}
		text := files["outpost/templates/configmap-check.yaml"] + files["outpost/templates/job-check.yaml"]
		if strings.TrimSpace(text) != "" {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// keys lists the keys of nested values; what the schema leaves open ends a path.
func keys(value any, schema map[string]any, path string) []string {
	m, ok := value.(map[string]any)
	properties, closed := schema["properties"].(map[string]any)
	if !ok || !closed {
		return []string{path}
	}
	var out []string
	for name, v := range m {
		sub, _ := properties[name].(map[string]any)
		out = append(out, keys(v, sub, strings.TrimPrefix(path+"."+name, "."))...)
	}
	sort.Strings(out)
	return out
}

// schemaKeys lists the keys of a schema and what it leaves undescribed or open.
func schemaKeys(t *testing.T, schema map[string]any, path string) []string {
	t.Helper()
	if schema["description"] == nil && path != "" {
		t.Errorf("%s has no description", path)
	}
	properties, ok := schema["properties"].(map[string]any)
	if !ok {
		return []string{path}
	}
	if schema["additionalProperties"] != false {
		t.Errorf("%s allows unknown keys", path)
	}
	var out []string
	for name, sub := range properties {
		out = append(out, schemaKeys(t, sub.(map[string]any), strings.TrimPrefix(path+"."+name, "."))...)
	}
	sort.Strings(out)
	return out
}

func TestValuesSchemaAndEverythingHaveTheSameKeys(t *testing.T) {
	for folder, text := range schemas {
		t.Run(folder, func(t *testing.T) {
			var schema map[string]any
			if err := json.Unmarshal([]byte(text), &schema); err != nil {
				t.Fatal(err)
			}
			want := schemaKeys(t, schema, "")
			for _, name := range []string{"values.yaml", "ci/everything.yaml"} {
				got := keys(readValues(t, filepath.Join(folder, name)), schema, "")
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-schema +values):\n%s", name, diff)
				}
			}
		})
	}
}

// TestBackupsHaveWhatTheOutpostHas holds that the pod that makes backups has the outpost's settings and files, and the
// claim that it writes to; with SQLite it runs where the outpost does.
func TestBackupsHaveWhatTheOutpostHas(t *testing.T) {
	for _, path := range []string{"outpost/ci/sqlite.yaml", "outpost/ci/postgres.yaml"} {
		all := objects(t, chartutil.CoalesceTables(
			decode[map[string]any](t, []byte("backup: {enabled: true, claim: kept}")), readValues(t, path)))
		outpost := deployment(t, all)
		have, want := podOf(t, all["CronJob outpost-backup"]), outpost.Spec
		main := outpostContainer(t, outpost)
		want.Containers = []corev1.Container{{
			Name: "backup", Image: main.Image, ImagePullPolicy: main.ImagePullPolicy,
			Args: []string{"backup", "--file", "/mnt/outpost_backup/outpost.backup", "--keep", "7"},
			Env:  main.Env, EnvFrom: main.EnvFrom, Resources: main.Resources, SecurityContext: main.SecurityContext,
			VolumeMounts: append(main.VolumeMounts,
				corev1.VolumeMount{Name: "backup", MountPath: "/mnt/outpost_backup"}),
			TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		}}
		want.Volumes = append(want.Volumes, corev1.Volume{Name: "backup", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "kept"},
		}})
		want.ServiceAccountName, want.AutomountServiceAccountToken = "", have.AutomountServiceAccountToken
		want.RestartPolicy, want.TerminationGracePeriodSeconds = corev1.RestartPolicyNever, nil
		want.TopologySpreadConstraints = nil
		if strings.Contains(path, "sqlite") {
			of := metav1.LabelSelector{MatchLabels: decode[appsv1.Deployment](t,
				all["Deployment outpost"].text).Spec.Selector.MatchLabels}
			want.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
					{TopologyKey: corev1.LabelHostname, LabelSelector: &of},
				},
			}}
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s: (-want +have)\n%s", path, diff)
		}
		if mounted := have.AutomountServiceAccountToken; mounted == nil || *mounted {
			t.Errorf("%s: it has a token", path)
		}
	}
}

// TestBackupsAreLabelledAsTheOutpost holds that what a mesh or a policy reads of the outpost's pod holds for the pods
// that back up, but that no Service leads to them.
func TestBackupsAreLabelledAsTheOutpost(t *testing.T) {
	all := objects(t, with(t, `
backup: {enabled: true, claim: kept}
podLabels: {mesh.example.org/in: "yes"}
podAnnotations: {mesh.example.org/native: "true"}
`))
	want := deployment(t, all).ObjectMeta
	want.Labels["app.kubernetes.io/component"] = "backup"
	delete(want.Annotations, "checksum/config") // which is what restarts the outpost
	job := decode[batchv1.CronJob](t, all["CronJob outpost-backup"].text).Spec.JobTemplate
	if diff := cmp.Diff(want, job.Spec.Template.ObjectMeta); diff != "" {
		t.Errorf("(-outpost +backup)\n%s", diff)
	}
	if got := job.Labels["app.kubernetes.io/component"]; got != "backup" { // by which Jobs are found, and removed
		t.Errorf("Jobs are of component %q", got)
	}
}

// TestNameOfBackups holds that the CronJob of a long name has one of at most 52 characters, which Kubernetes wants.
func TestNameOfBackups(t *testing.T) {
	long := strings.Repeat("a", 44)
	all := objects(t, with(t, "backup: {enabled: true, claim: kept}\nfullnameOverride: "+long+"-bbbbbbbb"))
	if want := "CronJob " + long + "-backup"; all[want].text == nil {
		t.Errorf("no %s among %q", want, slices.Sorted(maps.Keys(all)))
	}
}

// with returns the default value set with one change.
func with(t *testing.T, change string) map[string]any {
	t.Helper()
	values := readValues(t, "outpost/ci/defaults.yaml")
	return chartutil.CoalesceTables(decode[map[string]any](t, []byte(change)), values)
}

func TestRefusals(t *testing.T) {
	//nolint:lll // a case a line
	for _, c := range []struct{ name, change, want string }{
		{"Python configuration", `outpostConfig: "c.X = 1"`, "write config instead"},
		{"Python configuration by path", `outpostConfigPath: /x.py`, "write config instead"},
		{"Python packages", `extraPythonPackages: [a]`, "leave it out"},
		{"no key", `cryptSecret: ""`, "cryptSecret is empty"},
		{"no hubs", `outpostUsers: ""`, "outpostUsers is empty"},
		{"several on SQLite", `replicaCount: 2`, "SQLite belongs to one process"},
		{"no database", `persistence: {enabled: false}`, "no database is named"},
		{"nowhere to keep a host key", "persistence: {enabled: false}\nextraEnvVarsSecrets: [db]", "hostKeySecret is empty"},
		{"two kinds of keys", "sshPublicKeys: [a]\nhubSshPublicKeys: {h: [b]}", "are both set"},
		{"keys in two places", "authorizedKeysConfigMap: a\nhubSshPublicKeys: {h: [b]}", "names a ConfigMap with all keys"},
		{"two CAs", "hubCaSecret: a\nhubCaConfigMap: b", "are both set"},
		{"a URL without a system", "dialOut: {urls: ['https://hub.example.org']}", "dialOut"},
		{"a URL that does not end in the system", "dialOut: {urls: ['https://hub.example.org/services/outposts/']}", "dialOut"},
		{"a URL with a password", "dialOut: {urls: ['https://a:b@hub.example.org/services/outposts/remote']}", "dialOut"},
		{"a URL with a query", "dialOut: {urls: ['https://hub.example.org/services/outposts/remote?a=b']}", "dialOut"},
		{"a proxy with a password", "dialOut: {urls: ['https://a/b'], proxy: 'http://a:b@proxy:3128'}", "dialOut"},
		{"two proxies", "dialOut: {urls: ['https://a/b'], proxy: 'http://proxy:3128', proxySecret: proxy}", "dialOut.proxy and dialOut.proxySecret are both set"},
		{"a proxy on no way", "dialOut: {proxySecret: proxy}", "dialOut.proxy and dialOut.proxySecret have no effect without dialOut.urls"},
		{"nowhere to keep the host key of one that dials out", "persistence: {enabled: false}\nextraEnvVarsSecrets: [db]\nservicessh: {enabled: false}\ndialOut: {urls: ['https://a/b']}", "hostKeySecret is empty"},
		{"nowhere to keep backups", "backup: {enabled: true}", "backup.claim is empty"},
		{"backups of a volume of one pod", "backup: {enabled: true, claim: c}\npersistence: {accessModes: [ReadWriteOncePod]}", "run outpost backup in the outpost's pod"},
		{"backups at no time", "backup: {schedule: daily}", "schedule"},
		{"no backup that is kept", "backup: {keep: 0}", "keep"},
		{"Ingress for everything", "ingress: {enabled: true}", "ingress.hosts is empty"},
		{"node port of a ClusterIP", "service: {ports: {nodePort: 30080}}", "set the type to NodePort"},
		{"route for everything", "httpRoute: {enabled: true, parentRefs: [{name: g}]}", "httpRoute.hostnames is empty"},
		{"route without a Gateway", "httpRoute: {enabled: true, hostnames: [a]}", "httpRoute.parentRefs is empty"},
		{"route for SSH without a Gateway", "tcpRoute: {enabled: true}", "tcpRoute.parentRefs is empty"},
		{"route for SSH without its Service", "servicessh: {enabled: false}\ntcpRoute: {enabled: true, parentRefs: [{name: g}]}", "leads nowhere"},
		{"route for an IP address", "httpRoute: {hostnames: [192.0.2.1]}", "hostnames"},
		{"route for a name in upper case", "httpRoute: {hostnames: [Outpost.example.org]}", "hostnames"},
		{"route for any name", "httpRoute: {hostnames: ['*']}", "hostnames"},
		{"route for a URL", "httpRoute: {hostnames: ['https://outpost.example.org']}", "hostnames"},
		{"Ingress for a URL", "ingress: {hosts: ['https://outpost.example.org']}", "hosts"},
		{"Ingress for an IP address", "ingress: {hosts: [192.0.2.1]}", "hosts"},
		{"route with a listener twice", "httpRoute: {enabled: true, hostnames: [a], parentRefs: [{name: g, sectionName: s}, {name: g, namespace: outpost, sectionName: s}]}", "httpRoute.parentRefs has g twice"},
		{"route with a Gateway and its listener", "tcpRoute: {enabled: true, parentRefs: [{name: g, sectionName: s}, {name: g}]}", "tcpRoute.parentRefs has g twice"},
		{"try that is longer than the request", "httpRoute: {timeouts: {request: 1m30s, backendRequest: 90s1ms}}", "backendRequest, 90s1ms, is longer than request, 1m30s"},
		{"time without a unit", "httpRoute: {timeouts: {request: '30'}}", "request"},
		{"SSH node port of a ClusterIP", "servicessh: {ports: {nodePort: 30022}}", "set the type to NodePort"},
		{"one node port for both", "service: {type: NodePort, ports: {nodePort: 30080}}\nservicessh: {type: NodePort, ports: {nodePort: 30080}}", "are both 30080"},
		{"load balancer address of a NodePort", "service: {type: NodePort, loadBalancerIP: 192.0.2.1}", "set the type to LoadBalancer"},
		{"traffic policy of a ClusterIP", "servicessh: {externalTrafficPolicy: Local}", "servicessh.type is ClusterIP"},
		{"nothing to pull", "prePuller: {enabled: true}", "prePuller.images is empty"},
		{"nothing to pull in profiles", "{prePuller: {enabled: true, fromProfiles: true}, config: {spawner: {image: '{username}'}}}", "no profile, flavor or spawner option names an image"},
		{"unknown value", "replicas: 2", "additional properties 'replicas' not allowed"},
		{"unknown key of a hub", "config: {hubs: {h: {allowedImage: [a]}}}", "additional properties 'allowedImage' not allowed"},
		{"wrong type", "replicaCount: two", "replicaCount"},
		{"node port out of range", "service: {type: NodePort, ports: {nodePort: 70000}}", "nodePort"},
		{"address of the cluster without a length", "singleuser: {networkPolicy: {clusterCIDRs: ['2001:db8::1']}}", "clusterCIDRs"},
		{"everything as the cluster", "singleuser: {networkPolicy: {clusterCIDRs: [0.0.0.0/0]}}", "clusterCIDRs"},
		{"namespaces of users in a choice", "config: {spawner: {profile_list: [{display_name: P, profile_options: {o: {choices: {c: {kubespawner_override: {enable_user_namespaces: true}}}}}}]}}", "needs rights in all namespaces (a ClusterRole)"},
		{"namespaces of users by a hub", "config: {hubs: {h: {allowedOptions: [enable_user_namespaces]}}}", "needs rights in all namespaces (a ClusterRole)"},
		{"any namespace", "config: {spawner: {profile_list: [{display_name: P, profile_options: {o: {unlisted_choice: {enabled: true, kubespawner_override: {namespace: '{value}'}}}}}]}}", "is not one namespace"},
		{"base path without a slash", "basePath: outpost", "basePath"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := render(t, with(t, c.change))
			if err == nil {
				t.Fatal("rendered")
			}
			if !strings.Contains(err.Error(), c.want) && !strings.Contains(err.Error(), strings.ReplaceAll(c.want, "additional properties '", "Additional property ")) &&
				!strings.Contains(strings.ReplaceAll(err.Error(), "Additional property ", "additional properties '"), strings.TrimSuffix(c.want, "' not allowed")) {
				t.Errorf("got %q, want it to say %q", err, c.want)
			}
		})
	}
}

// TestRoutesAccepted holds what of a route is close to what is refused.
func TestRoutesAccepted(t *testing.T) {
	//nolint:lll // a case a line
	for _, change := range []string{
		"httpRoute: {enabled: true, hostnames: ['*.example.org', a], parentRefs: [{name: g}, {name: g, namespace: other}]}",
		"httpRoute: {enabled: true, hostnames: [a], parentRefs: [{name: g, sectionName: s}, {name: g, sectionName: t}]}",
		"httpRoute: {enabled: true, hostnames: [a], parentRefs: [{name: g}], timeouts: {request: 90s, backendRequest: 1m30s}}",
		"httpRoute: {enabled: true, hostnames: [a], parentRefs: [{name: g}], timeouts: {request: 0s, backendRequest: 1h}}",
		"ingress: {enabled: true, hosts: ['*', '*.example.org', outpost]}",
	} {
		if _, err := render(t, with(t, change)); err != nil {
			t.Errorf("%s: %v", change, err)
		}
	}
}

func TestEverythingWrongIsSaidAtOnce(t *testing.T) {
	_, err := render(t, map[string]any{"outpostConfig": "c.X = 1", "replicaCount": 2})
	if err == nil {
		t.Fatal("rendered")
	}
	for _, want := range []string{"outpostConfig", "cryptSecret", "outpostUsers", "replicaCount"} {
		if !strings.Contains(err.Error(), "- "+want) {
			t.Errorf("%s is not in the message:\n%v", want, err)
		}
	}
}

// deployment returns the outpost's pod of a value set.
func deployment(t *testing.T, objects map[string]object) corev1.PodTemplateSpec {
	t.Helper()
	for _, o := range objects {
		if o.Kind == "Deployment" {
			type deployment struct {
				Spec struct{ Template corev1.PodTemplateSpec }
			}
			var d deployment
			if err := yaml.Unmarshal(o.text, &d); err != nil {
				t.Fatal(err)
			}
			return d.Spec.Template
		}
	}
	t.Fatal("no Deployment")
	return corev1.PodTemplateSpec{}
}

// podOf is the pod that a Deployment, DaemonSet or CronJob makes.
func podOf(t *testing.T, o object) corev1.PodSpec {
	t.Helper()
	if o.Kind == "CronJob" {
		return decode[batchv1.CronJob](t, o.text).Spec.JobTemplate.Spec.Template.Spec
	}
	return deployment(t, map[string]object{"": {Kind: "Deployment", text: o.text}}).Spec
}

func outpostContainer(t *testing.T, pod corev1.PodTemplateSpec) corev1.Container {
	t.Helper()
	i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == "outpost" })
	if i < 0 {
		t.Fatal("no container outpost")
	}
	return pod.Spec.Containers[i]
}

func TestEnvironmentIsWhatTheServerReads(t *testing.T) {
	var want []string
	known := map[string]bool{}
	for _, v := range config.Variables() {
		known[v.Name] = true
		if v.Chart() {
			want = append(want, v.Name)
		}
	}
	slices.Sort(want)
	for _, path := range valueSets(t) {
		t.Run(setName(path), func(t *testing.T) {
			values := readValues(t, path)
			var got []string
			for _, e := range outpostContainer(t, deployment(t, objects(t, values))).Env {
				if !known[e.Name] {
					t.Errorf("%s is rendered, but the server does not read it", e.Name)
				}
				if slices.Contains(want, e.Name) {
					got = append(got, e.Name)
				}
			}
			slices.Sort(got)
			expected := slices.DeleteFunc(slices.Clone(want), func(name string) bool {
				return values["tls"] == nil && strings.HasPrefix(name, "OUTPOST_TLS_") ||
					values["dialOut"] == nil && strings.HasPrefix(name, "OUTPOST_DIAL_OUT_")
			})
			if diff := cmp.Diff(expected, got); diff != "" {
				t.Errorf("variables (-server's table +rendered):\n%s", diff)
			}
		})
	}
}

// The rendered environment, with the Secrets it names, is a configuration that the server takes.
func TestServerTakesTheRenderedConfiguration(t *testing.T) {
	for _, path := range valueSets(t) {
		t.Run(setName(path), func(t *testing.T) {
			all := objects(t, readValues(t, path))
			env := map[string]string{
				"usernames": "jupyterhub;first-hub;second-hub", "passwords": "a;b;c", "OUTPOST_CRYPT_KEY": "k",
			}
			for _, e := range outpostContainer(t, deployment(t, all)).Env {
				if e.ValueFrom == nil {
					env[e.Name] = e.Value
				}
			}
			var cm corev1.ConfigMap
			for _, o := range all {
				if o.Kind == "ConfigMap" && strings.HasSuffix(o.Metadata.Name, "-config") {
					cm = decode[corev1.ConfigMap](t, o.text)
				}
			}
			text := strings.ReplaceAll(cm.Data["config.yaml"], "/mnt/hub_tokens/jupyterhub", "/dev/null")
			env["OUTPOST_CONFIG_FILE"] = filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(env["OUTPOST_CONFIG_FILE"], []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
			if _, err := config.FromEnv(lookup); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDefaultsOfChartAndServerAgree(t *testing.T) {
	env := map[string]string{}
	for _, e := range outpostContainer(t, deployment(t, objects(t, readValues(t, "outpost/ci/defaults.yaml")))).Env {
		env[e.Name] = e.Value
	}
	for _, v := range config.Variables() {
		// Host keys are made on the volume if there is no Secret.
		if !v.Chart() || v.Default() == "" || v.Name == "OUTPOST_HOST_KEYS_DIR" {
			continue
		}
		if env[v.Name] != v.Default() {
			t.Errorf("%s: the chart says %q, the server's default is %q", v.Name, env[v.Name], v.Default())
		}
	}
}

// restricted lists what a pod does that Pod Security "restricted" (v1.34) forbids.
func restricted(pod corev1.PodSpec) (wrong []string) {
	check := func(ok bool, what string) {
		if !ok {
			wrong = append(wrong, what)
		}
	}
	s := pod.SecurityContext
	if s == nil {
		s = &corev1.PodSecurityContext{}
	}
	check(!pod.HostNetwork && !pod.HostPID && !pod.HostIPC, "host namespaces")
	check(s.RunAsNonRoot != nil && *s.RunAsNonRoot, "runAsNonRoot")
	check(s.RunAsUser == nil || *s.RunAsUser != 0, "runAsUser")
	check(s.SeccompProfile != nil && s.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault, "seccompProfile")
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		checkContainer(c, check)
	}
	for _, v := range pod.Volumes {
		check(v.ConfigMap != nil || v.Secret != nil || v.EmptyDir != nil || v.PersistentVolumeClaim != nil ||
			v.Projected != nil, "volume "+v.Name)
	}
	return wrong
}

// checkContainer is the part of restricted that concerns one container.
func checkContainer(c corev1.Container, check func(ok bool, what string)) {
	sc := c.SecurityContext
	if sc == nil {
		sc = &corev1.SecurityContext{}
	}
	check(sc.Privileged == nil || !*sc.Privileged, c.Name+": privileged")
	check(sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation, c.Name+": allowPrivilegeEscalation")
	check(sc.Capabilities != nil && slices.Contains(sc.Capabilities.Drop, "ALL") && len(sc.Capabilities.Add) == 0,
		c.Name+": capabilities")
	check(sc.RunAsUser == nil || *sc.RunAsUser != 0, c.Name+": runAsUser")
	for _, p := range c.Ports {
		check(p.HostPort == 0, c.Name+": hostPort")
	}
}

func TestPodsPassPodSecurityRestricted(t *testing.T) {
	for _, path := range valueSets(t) {
		t.Run(setName(path), func(t *testing.T) {
			pods := 0
			for key, o := range objects(t, readValues(t, path)) {
				if !slices.Contains([]string{"Deployment", "DaemonSet", "CronJob"}, o.Kind) {
					continue
				}
				pods++
				pod := podOf(t, o)
				if wrong := restricted(pod); wrong != nil {
					t.Errorf("%s: %v", key, wrong)
				}
				for _, c := range pod.Containers {
					readOnly := c.SecurityContext.ReadOnlyRootFilesystem
					if c.Name != "beside" && (readOnly == nil || !*readOnly) {
						t.Errorf("%s: %s can write to its root", key, c.Name)
					}
				}
			}
			if pods == 0 {
				t.Error("no pod was checked")
			}
		})
	}
}

func TestPublishedAddressesHold(t *testing.T) {
	svc := decode[corev1.Service](t, objects(t, readValues(t, "outpost/ci/local.yaml"))["Service outpost"].text)
	ports := map[int32]string{}
	for _, p := range svc.Spec.Ports {
		ports[p.Port] = p.TargetPort.String()
	}
	if diff := cmp.Diff(map[int32]string{8080: "http", 22: "ssh"}, ports); diff != "" {
		t.Errorf("Service outpost (-want +got):\n%s", diff)
	}
	all := objects(t, readValues(t, "outpost/ci/nodeport-tls.yaml"))
	for name, want := range map[string]map[int32]int32{"outpost": {8080: 30080}, "outpost-ssh": {22: 30022}} {
		got := map[int32]int32{}
		for _, p := range decode[corev1.Service](t, all["Service "+name].text).Spec.Ports {
			got[p.Port] = p.NodePort
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("node ports of Service %s (-want +got):\n%s", name, diff)
		}
	}
}

func TestRightsAreTheLeast(t *testing.T) {
	type rule = struct{ APIGroups, Resources, ResourceNames, Verbs []string }
	type role struct{ Rules []rule }
	rights := func(t *testing.T, change string) map[string][]string {
		out := map[string][]string{}
		for _, o := range objects(t, with(t, change)) {
			if strings.HasPrefix(o.Kind, "Cluster") {
				t.Errorf("%s is not bound to one namespace", o.Kind)
			}
			if o.Kind != "Role" {
				continue
			}
			var r role
			if err := yaml.Unmarshal(o.text, &r); err != nil {
				t.Fatal(err)
			}
			for _, one := range r.Rules {
				for _, resource := range one.Resources {
					if resource == "namespaces" { // one of them
						resource += " " + strings.Join(one.ResourceNames, " ")
					}
					out[resource] = append(out[resource], one.Verbs...)
				}
			}
		}
		return out
	}
	least := map[string][]string{
		"pods": {"get", "list", "watch", "create", "delete"}, "pods/log": {"get"},
		"services": {"get", "create", "delete"}, "pods/finalizers": {"update"}, "events": {"list", "watch"},
		"namespaces outpost": {"get"}, "persistentvolumeclaims": {"get"},
	}
	plus := func(more map[string][]string) map[string][]string {
		out := map[string][]string{}
		for _, m := range []map[string][]string{least, more} {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	get := func(resources ...string) map[string][]string {
		out := map[string][]string{}
		for _, resource := range resources {
			out[resource] = []string{"get"}
		}
		return out
	}
	//nolint:lll // a case a line
	for _, c := range []struct {
		name, change string
		want         map[string][]string
	}{
		{"by default", "{}", least},
		{"with internal TLS", "internalSsl: true", plus(map[string][]string{"secrets": {"get", "create", "patch", "delete"}})},
		{"with homes", "config: {spawner: {homes: {}}}", plus(map[string][]string{"persistentvolumeclaims": {"get", "create"}})},
		{"with homes of one hub", "config: {hubs: {a: {spawner: {homes: {per: server}}}}}", plus(map[string][]string{"persistentvolumeclaims": {"get", "create"}})},
		{"with logins to registries", "config: {hubs: {a: {allowedOptions: [image], allowedRegistries: [quay.io]}, b: null}}", plus(map[string][]string{"secrets": {"get", "create", "patch", "delete"}})},
		{"with the removal of homes", "rbac: {homes: true}", plus(map[string][]string{"persistentvolumeclaims": {"get", "list", "delete"}})},
		{"without homes", "config: {spawner: {homes: none}}", least},
		{"with claims", "config: {spawner: {storage_pvc_ensure: true}}", plus(map[string][]string{"persistentvolumeclaims": {"get", "create"}})},
		{"with Secrets by names", `config: {spawner: {volumes: [{name: v, projected: {sources: [{secret: {name: "{username}"}}]}}]}}`, plus(get("secrets"))},
		{"with ConfigMaps by names, of a profile", `config: {spawner: {profile_list: [{display_name: p, kubespawner_override: {extra_pod_config: {volumes: [{name: v, configMap: {name: "c-{username}"}}]}}}]}}`, plus(get("configmaps"))},
		{"with accounts by names, of a flavor", `flavors: {flavors: {a: {resources: {service_account: "{username}"}}}}`, plus(get("serviceaccounts"))},
		{"with Secrets of the operator's", "config: {spawner: {volumes: [{name: v, secret: {secretName: s}}], environment: {A_SECRET: '{username}'}}}", least},
		{"with volumes that a hub may name", "config: {hubs: {h: {allowedOptions: [volumes]}}}", plus(get("configmaps", "secrets", "serviceaccounts"))},
		{"with Secrets for images that a hub may name", "config: {hubs: {h: {allowedOptions: [image, image_pull_secrets]}}}", plus(get("secrets"))},
		{"with a shared database", "persistence: {enabled: false}\nextraEnvVarsSecrets: [db]\nhostKeySecret: k", plus(map[string][]string{"leases": {"create", "get", "update"}})},
		{"none", "rbac: {create: false}", map[string][]string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, rights(t, c.change)); diff != "" {
				t.Errorf("rights (-want +got):\n%s", diff)
			}
		})
	}
}

// Images of all places that name one are pulled, each once, with the Secrets that servers pull them with.
func TestPrePullerFollowsProfiles(t *testing.T) {
	daemonSet := decode[appsv1.DaemonSet](t, objects(t, with(t, `
imagePullSecrets: [{name: outpost}]
prePuller: {enabled: true, fromProfiles: true, images: [listed]}
config:
  spawner:
    image: general
    image_pull_secrets: [{name: servers}, plain, "of-{username}"]
    profile_list:
    - {display_name: A, kubespawner_override: {image: profile}}
    - display_name: B
      profile_options:
        image:
          display_name: Image
          choices:
            a: {display_name: A, kubespawner_override: {image: choice}}
            b: {display_name: B, kubespawner_override: {image: general}}
          unlisted_choice: {enabled: true, display_name: Other, kubespawner_override: {image: "{value}"}}
  hubs: {a: {spawner: {image: hub}}, b: null}
flavors: {flavors: {gpu: {resources: {image: flavor}}, cpu: {}}}
`))["DaemonSet outpost-prepuller"].text)
	type pulled struct{ Images, Secrets []string }
	var got pulled
	for _, c := range daemonSet.Spec.Template.Spec.InitContainers {
		got.Images = append(got.Images, c.Image)
	}
	for _, s := range daemonSet.Spec.Template.Spec.ImagePullSecrets {
		got.Secrets = append(got.Secrets, s.Name)
	}
	slices.Sort(got.Images)
	want := pulled{
		Images:  []string{"choice", "flavor", "general", "hub", "listed", "profile"},
		Secrets: []string{"outpost", "servers", "plain"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is pulled (-want +got):\n%s", diff)
	}
	one := decode[appsv1.DaemonSet](t, objects(t, with(t, `
prePuller: {enabled: true, images: [listed]}
config: {spawner: {image_pull_secrets: one}}
`))["DaemonSet outpost-prepuller"].text).Spec.Template.Spec.ImagePullSecrets
	if len(one) != 1 || one[0].Name != "one" {
		t.Errorf("Secrets of an option that is one name: %v", one)
	}
}

// A hub whose options name a namespace of its own gets its pods there, with the same rights and policy.
func TestNamespacesOfHubsHaveRightsAndPolicy(t *testing.T) {
	got := map[string][]string{}
	hubs := "config: {hubs: {a: {spawner: {namespace: of-a}}, b: {spawner: {namespace: of-a}}, c: {}}}"
	for _, o := range objects(t, with(t, hubs)) {
		role := o.Kind == "Role" || o.Kind == "RoleBinding"
		if role && o.Metadata.Name == "outpost" ||
			o.Kind == "NetworkPolicy" && o.Metadata.Name == "outpost-singleuser" {
			got[o.Kind] = append(got[o.Kind], o.Metadata.Namespace)
			slices.Sort(got[o.Kind])
		}
	}
	both := []string{"of-a", "outpost"}
	want := map[string][]string{"Role": both, "RoleBinding": both, "NetworkPolicy": both}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
}

func TestConfigRestartsThePodAndReloadedFilesDoNot(t *testing.T) {
	before := deployment(t, objects(t, with(t, "{flavors: {flavors: {a: {}}}, credits: {credits: {a: {}}}}")))
	for _, c := range []struct {
		name, change string
		restart      bool
	}{
		{"config", "{config: {globalMaxPerUser: 3}, flavors: {flavors: {a: {}}}, credits: {credits: {a: {}}}}", true},
		{"flavors", "{flavors: {flavors: {b: {}}}, credits: {credits: {a: {}}}}", false},
		{"credits", "{flavors: {flavors: {a: {}}}, credits: {credits: {b: {}}}}", false},
		{"public keys", "{sshPublicKeys: [k], flavors: {flavors: {a: {}}}, credits: {credits: {a: {}}}}", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := !cmp.Equal(before, deployment(t, objects(t, with(t, c.change)))); got != c.restart {
				t.Errorf("a change restarts the pod: %v, want %v", got, c.restart)
			}
		})
	}
}

func TestAuthorizedKeysFilesAreNamedForTheirHubs(t *testing.T) {
	//nolint:lll // a case a line
	for _, c := range []struct {
		set  string
		want map[string]string
	}{
		{"nodeport-tls", map[string]string{"authorized_keys": "restrict,port-forwarding ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN1Jm2f3WPTnu3iTK0AzBmmAlbGkAxv6kRaFWTRzZ0bM hub\n"}},
		{"several-hubs", map[string]string{
			"first-hub":  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN1Jm2f3WPTnu3iTK0AzBmmAlbGkAxv6kRaFWTRzZ0bM first\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF0nWbYp3yYcG3nMyUu2m1nVwTj8mYwZC3QZqj8nCk0q first, next\n",
			"second-hub": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBqX0CqgwCkWY5m3H2Xl0yQTd0v1m0eJkqv0oQ1T8rTz second\n",
		}},
		{"defaults", nil},
	} {
		t.Run(c.set, func(t *testing.T) {
			got := decode[corev1.ConfigMap](t, objects(t, readValues(t, "outpost/ci/"+c.set+".yaml"))["ConfigMap outpost-auth"].text)
			if diff := cmp.Diff(c.want, got.Data); diff != "" {
				t.Errorf("data (-want +got):\n%s", diff)
			}
		})
	}
}

// Under whatever names, the outpost knows what is its own: what its pod reads and runs as, as it is rendered.
func TestTheOutpostKnowsItsOwnObjects(t *testing.T) {
	overrides := []string{
		"{}", "nameOverride: north", "fullnameOverride: north", "nameOverride: a\nfullnameOverride: b",
	}
	changes := slices.Concat(overrides, []string{
		"persistence: {existingClaim: of-old}", "serviceAccount: {create: false}", "serviceAccount: {name: runner}",
		"imagePullSecrets: [{name: registry}]", "backup: {enabled: true, claim: kept}",
		"ingress: {enabled: true, hosts: [a.example.org], tls: [{secretName: web}]}",
		"extraVolumes: [{name: v, projected: {sources: [{secret: {name: s}}]}}, {name: w, secret: {secretName: t}}]",
		"extraEnvVars: [{name: SQL_PASSWORD, valueFrom: {secretKeyRef: {name: db, key: p}}}]",
		"initContainers: [{name: c, image: i, envFrom: [{secretRef: {name: first}}]}]",
	})
	var sets []map[string]any
	for _, change := range changes {
		sets = append(sets, with(t, change))
	}
	for _, path := range valueSets(t) {
		for _, change := range overrides {
			changed := decode[map[string]any](t, []byte(change))
			sets = append(sets, chartutil.CoalesceTables(changed, readValues(t, path)))
		}
	}
	for _, values := range sets {
		all := objects(t, values)
		env := outpostContainer(t, deployment(t, all)).Env
		i := slices.IndexFunc(env, func(e corev1.EnvVar) bool { return e.Name == "OUTPOST_OWN_OBJECTS" })
		if i < 0 {
			t.Fatal("no OUTPOST_OWN_OBJECTS")
		}
		own := strings.Split(env[i].Value, ",")
		for key, o := range all {
			if o.Kind == "Deployment" || o.Kind == "CronJob" {
				for _, want := range usedBy(podOf(t, o)) {
					if !slices.Contains(own, want) {
						t.Errorf("%s uses %s, which is not among %v", key, want, own)
					}
				}
			}
			resource := map[string]string{
				"PersistentVolumeClaim": "persistentvolumeclaims", "ServiceAccount": "serviceaccounts",
			}[o.Kind]
			if want := resource + "/" + o.Metadata.Name; resource != "" && !slices.Contains(own, want) {
				t.Errorf("%s is made, but not among %v", want, own)
			}
		}
	}
}

// usedBy lists what a pod reads, and what it runs as if it has a token, but for ConfigMaps that are not of its own
// chart.
func usedBy(pod corev1.PodSpec) (used []string) {
	account := pod.ServiceAccountName
	if account == "" {
		account = "default"
	}
	if token := pod.AutomountServiceAccountToken; token == nil || *token {
		used = append(used, "serviceaccounts/"+account)
	}
	for _, s := range pod.ImagePullSecrets {
		used = append(used, "secrets/"+s.Name)
	}
	for _, v := range pod.Volumes {
		if v.Secret != nil {
			used = append(used, "secrets/"+v.Secret.SecretName)
		}
		if v.PersistentVolumeClaim != nil {
			used = append(used, "persistentvolumeclaims/"+v.PersistentVolumeClaim.ClaimName)
		}
		if v.ConfigMap != nil && slices.Contains([]string{"config", "authorized-keys", "flavors", "credits"}, v.Name) {
			used = append(used, "configmaps/"+v.ConfigMap.Name)
		}
		if v.Projected != nil {
			for _, source := range v.Projected.Sources {
				if source.Secret != nil {
					used = append(used, "secrets/"+source.Secret.Name)
				}
			}
		}
	}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		for _, from := range c.EnvFrom {
			if from.SecretRef != nil {
				used = append(used, "secrets/"+from.SecretRef.Name)
			}
		}
		for _, e := range c.Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				used = append(used, "secrets/"+e.ValueFrom.SecretKeyRef.Name)
			}
		}
	}
	return used
}

func TestNoSecretIsRendered(t *testing.T) {
	for _, path := range valueSets(t) {
		for key, o := range objects(t, readValues(t, path)) {
			if o.Kind == "Secret" {
				t.Errorf("%s: %s: the chart names Secrets, it never makes them", setName(path), key)
			}
		}
	}
	for _, v := range config.Variables() {
		if strings.Contains(v.Name, "PASSWORD") || strings.Contains(v.Name, "password") ||
			strings.Contains(v.Name, "TOKEN") {
			if v.Chart() {
				t.Errorf("%s is a secret and must not come from values", v.Name)
			}
		}
	}
	env := outpostContainer(t, deployment(t, objects(t, readValues(t, "outpost/ci/everything.yaml")))).Env
	for _, e := range env {
		if e.Name == "OUTPOST_CRYPT_KEY" && (e.Value != "" || e.ValueFrom == nil || e.ValueFrom.SecretKeyRef == nil) {
			t.Errorf("OUTPOST_CRYPT_KEY is not taken from a Secret: %+v", e)
		}
	}
}
