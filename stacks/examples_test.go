package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/charts"
	"github.com/outposts-dev/outposts/infra/infratest"
	"github.com/outposts-dev/outposts/infra/schema/schematest"
)

// TestExamples holds that the documented examples are sound, and that the one by node ports says what the local
// clusters use.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(projectRoot(t), "docs", "examples", "*", "Pulumi.*.yaml"))
	if err != nil || len(files) != 14 {
		t.Fatalf("examples: %v, %v; want 14", files, err)
	}
	configs := map[string]Config{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		config, err := LoadConfig(configFrom(t, string(text)), "/")
		if err != nil {
			t.Errorf("%s:\n%v", file, err)
		}
		configs[filepath.Base(filepath.Dir(file))+" "+filepath.Base(file)] = config
	}
	committed, err := LoadConfig(committedConfig(t, "local"), "/")
	if err != nil {
		t.Fatal(err)
	}
	example := configs["nodeport Pulumi.local.yaml"]
	if diff := cmp.Diff(committed.Outposts[1].Exposure, example.Outposts[1].Exposure); diff != "" {
		t.Errorf("exposure by node ports (-committed +example):\n%s", diff)
	}
}

// TestPlatforms holds that the program runs with the stack of each platform, and then with that of a remote on the
// platform's page, which has the same sections as the others.
func TestPlatforms(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(projectRoot(t), "docs", "examples", "platforms", "*.yaml"))
	if err != nil || len(files) != 8 {
		t.Fatalf("platforms: %v, %v; want 8", files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "Pulumi."), ".yaml")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r := &infratest.Recorder{}
			outputs := outputsOf(t, "local", testWorld(configFrom(t, string(text))), r)
			for _, chart := range []string{"hub", "outpost"} {
				r.Find(t, "kubernetes:helm.sh/v4:Chart", chart)
			}
			remotes := examples(t, platformPage(t, name), "A remote there")
			if name == "minikube" { // whose page says why it has none
				return
			}
			if len(remotes) != 1 {
				t.Fatalf("%d remotes are on its page", len(remotes))
			}
			r = &infratest.Recorder{Stacks: map[string]map[string]any{"organization/outposts/local": outputs}}
			if err := runStack(t, r, "remote", testWorld(configFrom(t, remotes[0]))); err != nil {
				t.Fatal(err)
			}
			r.Find(t, "kubernetes:helm.sh/v4:Chart", "outpost")
		})
	}
}

// platformPage is the page of a platform. It says what every page of a platform says, and no other does.
func platformPage(t *testing.T, name string) string {
	t.Helper()
	page := filepath.Join(projectRoot(t), "docs", "howto", "platforms", name+".md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var sections []string
	for _, found := range regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(string(text), -1) {
		sections = append(sections, found[1])
	}
	want := []string{
		"What you type", "Storage", "Addresses and certificates", "Pod security", "NetworkPolicies", "A remote there",
		"What is not proved",
	}
	if diff := cmp.Diff(want, sections); diff != "" {
		t.Errorf("sections (-want +page):\n%s", diff)
	}
	if !strings.Contains(string(text), "](../../examples/platforms/Pulumi."+name+".yaml)") {
		t.Error("the page does not link the stack")
	}
	return page
}

// writtenConfigs are the documents of each example and of each committed config, by their files; not those of
// platforms, which have no other keys.
func writtenConfigs(t *testing.T) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(projectRoot(t), "docs", "examples", "*", "Pulumi.*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(file string) bool { return filepath.Base(filepath.Dir(file)) == "platforms" })
	for _, stack := range []string{"local", "remote"} {
		files = append(files, filepath.Join(projectRoot(t), "Pulumi."+stack+".yaml"))
	}
	documents := map[string]map[string]any{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		documents[file] = documentOf(configFrom(t, string(text)))
	}
	return documents
}

// isOperators reports whether the keys of a map are the operator's to choose. A committed config may have more of them
// than it came with.
func isOperators(level []string) bool {
	return len(level) > 0 && slices.Contains([]string{"annotations", "environment", "extraEnv"}, level[len(level)-1])
}

// TestUnknownKeysInExamples puts an unknown key into each level of each example and of each committed config.
// TestE2EUnknownKeysInExamples holds that an up refuses the same.
func TestUnknownKeysInExamples(t *testing.T) {
	refused := 0
	for file, document := range writtenConfigs(t) {
		for _, planted := range schematest.Plant(document) {
			_, err := LoadConfig(rawConfig(t, planted.Document), "/")
			switch level := strings.Join(planted.Level, "."); {
			case err != nil && strings.Contains(err.Error(), schematest.UnknownKey):
				refused++
			case !isOperators(planted.Level):
				t.Errorf("%s: %s: an unknown key is not refused by name: %v", file, level, err)
			}
		}
	}
	if refused < 50 {
		t.Errorf("%d levels were tried", refused)
	}
}

// TestShownValues holds that files of `helm show values` are accepted as values of both charts, and that the stack says
// what of them it does not take.
func TestShownValues(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(projectRoot(t), "infra", "hub", "defaults.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	shown := committedConfig(t, "local")
	change(t, shown, "hub.values", string(text))
	change(t, shown, "outpost.values", charts.OutpostValues)
	c, err := LoadConfig(shown, "/")
	if err != nil {
		t.Fatal(err)
	}
	const want = "outposts:hub.values has a copy of the chart's defaults, of which only changes are taken, and " +
		"these have another value here: cull.every, cull.removeNamedServers, hub.config.JupyterHub.admin_access, " +
		"hub.config.JupyterHub.authenticator_class, hub.consecutiveFailureLimit, " +
		"hub.networkPolicy.egressAllowRules.cloudMetadataServer, " +
		"proxy.chp.networkPolicy.egressAllowRules.cloudMetadataServer, proxy.service.type; " +
		"write only what you mean to change"
	if all := warnings(c, nil); !slices.Contains(all, want) {
		t.Errorf("warnings:\n%s", strings.Join(all, "\n"))
	}
}

// rawConfig is a config as Pulumi hands it over.
func rawConfig(t *testing.T, document map[string]any) map[string]string {
	t.Helper()
	raw := map[string]string{}
	for name, value := range document {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		raw[project+":"+name] = string(text)
	}
	return raw
}
