package hub

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/infratest"
	"github.com/outposts-dev/outposts/infra/values"
)

// TestPublishedDefects holds that the values have none of the defects that the values of the published usage text have,
// whatever the hub's exposure and image. What depends on the client is tested in tests/, what depends on a policy
// engine in e2e.
func TestPublishedDefects(t *testing.T) {
	hubs := map[string]func(*Args){
		"own image":   func(*Args) {},
		"stock image": func(a *Args) { a.Image = Image{} },
		"ingress": func(a *Args) {
			a.Exposure = Exposure{Type: exposure.Ingress, ClassName: "nginx", Host: "hub.example.org"}
		},
		"no outpost in the cluster": func(a *Args) {
			a.Systems = a.Systems[1:]
		},
	}
	for name, change := range hubs {
		for _, promise := range []struct {
			name  string
			check func(t *testing.T, made map[string]any)
		}{
			{"volumes have names that Kubernetes accepts, and mounts name a volume", checkVolumes},
			{"the hub runs the chart's own command", checkCommand},
			{"a start may take as long as pulling an image does", checkTimeouts},
			{"users log in with a password, and nobody opens the server of another user", checkLogin},
			{"a failing system does not restart the hub", checkFailureLimit},
			{"roles have names and scopes that JupyterHub accepts", checkRoles},
			{"each rule of the policy names its peers and its ports", checkPolicy},
			{"pods that nothing uses are not started", checkUnusedPods},
		} {
			t.Run(name+"/"+promise.name, func(t *testing.T) {
				a := soundArgs()
				change(&a)
				if faults := a.CheckValues(); len(faults) > 0 {
					t.Fatal(faults)
				}
				promise.check(t, a.values())
			})
		}
	}
}

func checkVolumes(t *testing.T, made map[string]any) {
	volumes := map[string]bool{}
	for _, v := range at[[]any](t, made, "hub", "extraVolumes") {
		volume := at[string](t, v.(map[string]any), "name")
		volumes[volume] = true
		if errs := validation.IsDNS1123Label(volume); len(errs) > 0 {
			t.Errorf("volume %q: %v", volume, errs)
		}
	}
	for _, m := range at[[]any](t, made, "hub", "extraVolumeMounts") {
		if volume := at[string](t, m.(map[string]any), "name"); !volumes[volume] {
			t.Errorf("a mount names volume %q, which does not exist", volume)
		}
	}
}

func checkCommand(t *testing.T, made map[string]any) {
	for _, key := range []string{"command", "args", "lifecycle"} {
		if value := values.At(made, "hub", key); value != nil {
			t.Errorf("hub.%s is %v: the chart's own upgrades the database and runs under tini", key, value)
		}
	}
}

// checkTimeouts holds that the module's own timeouts, which are long enough, are not said here: a default of the
// operator's class, or one for all spawners, would lose to that.
func checkTimeouts(t *testing.T, made map[string]any) {
	for _, class := range []string{"Spawner", "ForwardBaseSpawner", "OutpostSpawner"} {
		if set := values.At(made, "hub", "config", class); set != nil {
			t.Errorf("hub.config.%s is %v", class, set)
		}
	}
}

func checkLogin(t *testing.T, made map[string]any) {
	config := at[map[string]any](t, made, "hub", "config")
	if class := at[string](t, config, "JupyterHub", "authenticator_class"); class == "dummy" || class == "" {
		t.Errorf("authenticator %q lets anybody log in as anybody", class)
	}
	if at[bool](t, config, "JupyterHub", "admin_access") {
		t.Error("administrators may open the servers of others")
	}
	if password := at[string](t, config, "SharedPasswordAuthenticator", "user_password"); len(password) < 8 {
		t.Error("the login password is shorter than the 8 characters that the authenticator requires")
	}
}

func checkFailureLimit(t *testing.T, made map[string]any) {
	if limit := at[int](t, made, "hub", "consecutiveFailureLimit"); limit != 0 {
		t.Errorf("consecutiveFailureLimit is %d", limit)
	}
}

func checkRoles(t *testing.T, made map[string]any) {
	for role, definition := range at[map[string]any](t, made, "hub", "loadRoles") {
		if len(role) < 3 {
			t.Errorf("role %q: JupyterHub requires three characters", role)
		}
		for _, scope := range at[[]any](t, definition.(map[string]any), "scopes") {
			if strings.HasPrefix(scope.(string), "custom:") {
				t.Errorf("role %s has scope %s, which is not defined", role, scope)
			}
		}
	}
}

func checkPolicy(t *testing.T, made map[string]any) {
	for _, r := range at[[]any](t, made, "hub", "networkPolicy", "ingress") {
		rule := r.(map[string]any)
		if from, _ := rule["from"].([]any); len(from) == 0 {
			t.Errorf("rule %v has no peers and admits everybody", rule)
		}
		if ports, _ := rule["ports"].([]any); len(ports) == 0 {
			t.Errorf("rule %v has no ports and opens all", rule)
		}
	}
}

func checkUnusedPods(t *testing.T, made map[string]any) {
	for _, path := range [][]string{
		{"prePuller", "hook"},
		{"prePuller", "continuous"},
		{"scheduling", "userScheduler"},
		{"scheduling", "userPlaceholder"},
	} {
		if at[bool](t, made, append(path, "enabled")...) {
			t.Errorf("%s is enabled", strings.Join(path, "."))
		}
	}
}

// TestPublishedHubAddress: servers run in other namespaces, where a name of the hub's own cannot be resolved.
func TestPublishedHubAddress(t *testing.T) {
	for system, data := range at[map[string]any](t, soundArgs().sideValues(), "systems") {
		if api := at[string](t, data.(map[string]any), "hubApiUrl"); strings.HasPrefix(api, "http://hub:") {
			t.Errorf("system %s is given %s, a name in the hub's own namespace", system, api)
		}
	}
}

// TestPublishedIngressHasClass: an Ingress without a class is served by no controller.
func TestPublishedIngressHasClass(t *testing.T) {
	a := soundArgs()
	a.Exposure = Exposure{Type: exposure.Ingress, ClassName: "nginx", Host: "hub.example.org"}
	if class := at[string](t, a.values(), "ingress", "ingressClassName"); class != "nginx" {
		t.Errorf("ingressClassName is %q", class)
	}
}

// TestBootstrapPinsPackages: without a version, a start of the hub installs whatever is newest.
func TestBootstrapPinsPackages(t *testing.T) {
	a := soundArgs()
	a.Image = Image{}
	text, err := json.Marshal(at[[]any](t, a.values(), "hub", "initContainers"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range []string{"jupyterhub-outpostspawner", "jupyterhub-forwardbasespawner", "kubernetes"} {
		if !strings.Contains(string(text), pkg+"==") {
			t.Errorf("%s has no version in %s", pkg, text)
		}
	}
}

// TestBootstrapPackages holds what the bootstrap installs to the image recipe: both are the same pair, tested together,
// and the same files. With -update it copies versions and hashes from the recipe.
func TestBootstrapPackages(t *testing.T) {
	recipe, err := os.ReadFile("../../images/hub/jupyterhub-5.5.txt")
	if err != nil {
		t.Fatal(err)
	}
	pinned := map[string]string{}
	blocks := regexp.MustCompile(`(?m)^([a-z0-9-]+)==(?:.*\\\n)*.*\n`)
	for _, block := range blocks.FindAllStringSubmatch(string(recipe), -1) {
		pinned[block[1]] = block[0]
	}
	var want strings.Builder
	for _, requirement := range stockLacks() {
		name, _, _ := strings.Cut(requirement, "==")
		want.WriteString(pinned[name])
	}
	infratest.Golden(t, "../bootstrap.txt", []byte(want.String()))
}

// TestBootstrapHashes holds that the bootstrap installs nothing whose files are not known beforehand.
func TestBootstrapHashes(t *testing.T) {
	line := regexp.MustCompile(`^[a-z0-9-]+==[0-9.]+( --hash=sha256:[0-9a-f]{64})+$`)
	for _, requirement := range stockLacks() {
		if !line.MatchString(requirement) {
			t.Errorf("%q is not a package with a version and hashes", requirement)
		}
	}
	commands := regexp.MustCompile(`pip (?:install|download|wheel)(?:.*\\\n)*.*`)
	for _, command := range commands.FindAllString(bootstrap, -1) {
		for _, flag := range []string{"--require-hashes", "--only-binary :all:"} {
			if !strings.Contains(command, flag) {
				t.Errorf("%s is not in %s", flag, command)
			}
		}
	}
	if strings.Count(bootstrap, "--require-hashes") != 1 {
		t.Error("the bootstrap has not one installation with hashes")
	}
}

// at is what lies at a path of maps.
func at[T any](t *testing.T, data map[string]any, path ...string) T {
	t.Helper()
	var there any = data
	for _, key := range path {
		inner, ok := there.(map[string]any)
		if !ok || inner[key] == nil {
			t.Fatalf("%s is missing", strings.Join(path, "."))
		}
		there = inner[key]
	}
	value, ok := there.(T)
	if !ok {
		t.Fatalf("%s is a %T", strings.Join(path, "."), there)
	}
	return value
}
