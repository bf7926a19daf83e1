package hub

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/outposts-dev/outposts/infra/infratest"
	"k8s.io/apimachinery/pkg/util/validation"
)

// TestPublishedDefects holds the values to what goes wrong with the values of the published usage text, whatever the
// way to reach the hub and whichever its image. What depends on the client is tested in tests/, what on a policy engine
// in e2e.
func TestPublishedDefects(t *testing.T) {
	for name, change := range map[string]func(*Args){
		"own image":   func(*Args) {},
		"stock image": func(a *Args) { a.Image = Image{} },
		"ingress":     func(a *Args) { a.Exposure = Exposure{Type: Ingress, ClassName: "nginx", Host: "hub.example.org"} },
		"no outpost in the cluster": func(a *Args) {
			a.Systems = a.Systems[1:]
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := soundArgs()
			change(&a)
			made := a.values(placeholders())
			if faults := a.CheckValues(); len(faults) > 0 {
				t.Fatal(faults)
			}
			hub := at[map[string]any](t, made, "hub")

			t.Run("a volume's name is none that Kubernetes takes", func(t *testing.T) {
				volumes := map[string]bool{}
				for _, v := range at[[]any](t, hub, "extraVolumes") {
					volume := at[string](t, v.(map[string]any), "name")
					volumes[volume] = true
					if errs := validation.IsDNS1123Label(volume); len(errs) > 0 {
						t.Errorf("volume %q: %v", volume, errs)
					}
				}
				for _, m := range at[[]any](t, hub, "extraVolumeMounts") {
					if volume := at[string](t, m.(map[string]any), "name"); !volumes[volume] {
						t.Errorf("a mount is of volume %q, which is not there", volume)
					}
				}
			})
			t.Run("the hub's command is overridden", func(t *testing.T) {
				for _, key := range []string{"command", "args", "lifecycle"} {
					if hub[key] != nil {
						t.Errorf("hub.%s is set: the chart's own upgrades the database and runs under tini", key)
					}
				}
			})
			t.Run("packages are installed at whatever version is newest", func(t *testing.T) {
				text, err := json.Marshal(hub["initContainers"])
				if err != nil {
					t.Fatal(err)
				}
				for _, pkg := range []string{"jupyterhub-outpostspawner", "jupyterhub-forwardbasespawner", "kubernetes"} {
					if name == "stock image" && !strings.Contains(string(text), pkg+"==") {
						t.Errorf("%s has no version in %s", pkg, text)
					}
				}
			})
			t.Run("a start has the time-outs of another spawner", func(t *testing.T) {
				spawner := at[map[string]any](t, hub, "config", "OutpostSpawner")
				if start, answer := at[int](t, spawner, "start_timeout"), at[int](t, spawner, "http_timeout"); start < 300 || answer < 60 {
					t.Errorf("start_timeout %d, http_timeout %d; a start may pull an image", start, answer)
				}
			})
			t.Run("anybody logs in as anybody", func(t *testing.T) {
				config := at[map[string]any](t, hub, "config")
				if class := at[string](t, config, "JupyterHub", "authenticator_class"); class == "dummy" || class == "" {
					t.Errorf("authenticator %q", class)
				}
				if at[bool](t, config, "JupyterHub", "admin_access") {
					t.Error("administrators may open the servers of others")
				}
				if password := at[string](t, config, "SharedPasswordAuthenticator", "user_password"); len(password) < 8 {
					t.Error("the login password has fewer than the 8 characters that the authenticator asks for")
				}
			})
			t.Run("a failing system restarts the hub", func(t *testing.T) {
				if limit := at[int](t, hub, "consecutiveFailureLimit"); limit != 0 {
					t.Errorf("consecutiveFailureLimit is %d", limit)
				}
			})
			t.Run("a role's name or scope stops the hub", func(t *testing.T) {
				for role, definition := range at[map[string]any](t, hub, "loadRoles") {
					if len(role) < 3 {
						t.Errorf("role %q: JupyterHub wants three characters", role)
					}
					for _, scope := range at[[]any](t, definition.(map[string]any), "scopes") {
						if strings.HasPrefix(scope.(string), "custom:") {
							t.Errorf("role %s has scope %s, which is not defined", role, scope)
						}
					}
				}
			})
			t.Run("a policy admits everybody or nobody", func(t *testing.T) {
				for _, r := range at[[]any](t, hub, "networkPolicy", "ingress") {
					rule := r.(map[string]any)
					if from, ok := rule["from"].([]any); !ok || len(from) == 0 {
						t.Errorf("rule %v has no peers and admits everybody", rule)
					}
					if ports, ok := rule["ports"].([]any); !ok || len(ports) == 0 {
						t.Errorf("rule %v has no ports and opens all", rule)
					}
				}
			})
			t.Run("an ingress without a class is nobody's", func(t *testing.T) {
				if name == "ingress" && at[string](t, made, "ingress", "ingressClassName") != "nginx" {
					t.Error("ingressClassName is not set")
				}
			})
			t.Run("pods that nothing uses are started", func(t *testing.T) {
				for _, path := range [][]string{
					{"prePuller", "hook"}, {"prePuller", "continuous"}, {"scheduling", "userScheduler"}, {"scheduling", "userPlaceholder"},
				} {
					if at[bool](t, made, append(path, "enabled")...) {
						t.Errorf("%s is enabled", strings.Join(path, "."))
					}
				}
			})
			t.Run("a server is told an address of the hub that it cannot resolve", func(t *testing.T) {
				for system, data := range at[map[string]any](t, made, "custom", "outposts", "systems") {
					if api := at[string](t, data.(map[string]any), "hubApiUrl"); strings.HasPrefix(api, "http://hub:") {
						t.Errorf("system %s is told %s, a name of the hub's namespace", system, api)
					}
				}
			})
		})
	}
}

// TestBootstrapPackages holds what the bootstrap installs to the image recipe: both are the same pair, tested together, and
// the same files. With -update it copies versions and hashes from the recipe.
func TestBootstrapPackages(t *testing.T) {
	recipe, err := os.ReadFile("../../images/hub/jupyterhub-5.5.txt")
	if err != nil {
		t.Fatal(err)
	}
	pinned := map[string]string{}
	for _, block := range regexp.MustCompile(`(?m)^([a-z0-9-]+)==(?:.*\\\n)*.*\n`).FindAllStringSubmatch(string(recipe), -1) {
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
	for _, command := range regexp.MustCompile(`pip (?:install|download|wheel)(?:.*\\\n)*.*`).FindAllString(bootstrap, -1) {
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
			t.Fatalf("there is no %s", strings.Join(path, "."))
		}
		there = inner[key]
	}
	value, ok := there.(T)
	if !ok {
		t.Fatalf("%s is a %T", strings.Join(path, "."), there)
	}
	return value
}
