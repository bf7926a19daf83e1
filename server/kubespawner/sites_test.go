package kubespawner

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/server/kubespawner/kubespawnertest"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

// site is a file of testdata/sites: the options of a hub in the style of a real one, and users of it.
type site struct {
	Users []struct {
		Name        string                     `json:"name"`
		ID          int                        `json:"id"`
		Server      string                     `json:"server"`
		UserOptions map[string]json.RawMessage `json:"user_options"`
	} `json:"users"`
	Options map[string]any `json:"options"`
}

// readSites reads the sites by their names.
func readSites(t *testing.T) map[string]site {
	t.Helper()
	paths, err := filepath.Glob("testdata/sites/*.yaml")
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d sites, error %v", len(paths), err)
	}
	sites := map[string]site{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var s site
		if err := yaml.UnmarshalStrict(text, &s); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if len(s.Users) != 3 {
			t.Errorf("%s: %d users, want 3", path, len(s.Users))
		}
		sites[strings.TrimSuffix(filepath.Base(path), ".yaml")] = s
	}
	return sites
}

// What is planned for the users of each site is what KubeSpawner makes, whole objects, but for the differences that are
// listed here.
func TestSitesAreKubeSpawners(t *testing.T) {
	var recorded struct {
		Sites map[string][]wantObjects `json:"sites"`
	}
	file, err := os.Open("testdata/sites/vectors.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(&recorded); err != nil {
		t.Fatal(err)
	}
	for name, s := range readSites(t) {
		want := recorded.Sites[name]
		if len(want) != len(s.Users) {
			t.Errorf("%s: %d users were recorded", name, len(want))
			continue
		}
		for i, user := range s.Users {
			t.Run(name+"/"+user.Name, func(t *testing.T) {
				env := map[string]string{}
				for _, v := range kubespawnertest.Decode[corev1.Pod](t, want[i].Pod).Spec.Containers[0].Env {
					if fromHub(v.Name) {
						env[v.Name] = v.Value
					}
				}
				env["JUPYTERHUB_USER_ID"] = strconv.Itoa(user.ID)
				r := outpost.StartRequest{
					Key:  outpost.Key{Hub: "hub", Name: user.Server, StartID: "1"},
					Body: outpost.Body{Env: env, UserOptions: user.UserOptions},
				}
				var p options.Problems
				o := testBuilder(t, "jhub", s.Options).objects(installation, outpost.Hub{Name: "hub"}, r, nil, "", &p)
				if err := p.Err(); err != nil {
					t.Fatal(err)
				}
				if want[i].Names.Namespace != "jhub" && s.Options["enable_user_namespaces"] != true {
					// KubeSpawner makes the name before it applies the profile, and it then leads elsewhere.
					want[i].Names.DNS = want[i].Names.Pod + "." + want[i].Names.Namespace + ".svc.cluster.local"
				}
				want[i].check(t, o, func(pod *corev1.Pod) {
					// A client's alone.
					id := corev1.EnvVar{Name: "JUPYTERHUB_USER_ID", Value: env["JUPYTERHUB_USER_ID"]}
					c := &pod.Spec.Containers[0]
					after := slices.IndexFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name > id.Name })
					c.Env = slices.Insert(c.Env, after, id)
					pod.Spec.EnableServiceLinks = new(false) // KubeSpawner shows every server all others
				})
			})
		}
	}
}

// fromHub reports whether a hub sends a variable; the others come from the options.
func fromHub(name string) bool {
	computed := []string{
		"JUPYTERHUB_SERVICE_URL", "JUPYTERHUB_DEBUG", "JUPYTERHUB_DEFAULT_URL", "JUPYTERHUB_DISABLE_USER_CONFIG",
		"JUPYTERHUB_ROOT_DIR",
	}
	return (strings.HasPrefix(name, "JUPYTERHUB_") || name == "JPY_API_TOKEN") && !slices.Contains(computed, name)
}
