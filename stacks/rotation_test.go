package main

import (
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"github.com/outposts-dev/outposts/infra/infratest"
)

// rotation is a row of the table "Rotation" in docs/stacks.md: where the words of a secret are.
type rotation struct {
	secret, key string
	words       string // a new one in front, and the old one where two are valid at once
	remote      bool   // the remote's stack has to do with it
}

var rotations = []rotation{
	{"SSH key of the hub", "hub.rotation.sshKey", `["2", "1"]`, true},
	{"host key of the outpost beside the hub", "outposts.0.rotation.hostKey", `["2", "1"]`, false},
	{"host key of a remote outpost", "outposts.1.rotation.hostKey", `["2", "1"]`, true},
	{"certificate of a remote outpost", "outposts.1.rotation.tls", `["2", "1"]`, true},
	{"password of the outpost beside the hub", "outposts.0.rotation.password", `"2"`, false},
	{"password of a remote outpost", "outposts.1.rotation.password", `"2"`, true},
	{"Fernet key", "outpost.rotation.cryptKey", `["2", "1"]`, true},
	{"cookie secret", "hub.rotation.cookieSecret", `"2"`, false},
	{"proxy token", "hub.rotation.proxyToken", `"2"`, false},
	{"auth state key", "hub.rotation.authStateKey", `["2", "1"]`, false},
	{"login", "hub.rotation.login", `"2"`, false},
	{"verify token", "hub.rotation.verifyToken", `"2"`, false},
}

// stacks are those whose config has the words.
func (r rotation) stacks() []string {
	if strings.HasPrefix(r.key, "outpost.") {
		return []string{"local", "remote"}
	}
	return []string{"local"}
}

// TestChartsAreKnown holds that nothing that a chart is given hangs on a secret, whatever is rotated: in the preview of
// a rotation the new one is not known yet, and a chart that is given something unknown shows none of its objects there.
func TestChartsAreKnown(t *testing.T) {
	for _, r := range append([]rotation{{secret: "none"}}, rotations...) {
		t.Run(r.secret, func(t *testing.T) {
			told := &infratest.Recorder{}
			for _, stack := range []string{"local", "remote"} {
				w := testWorld(committedConfig(t, stack))
				recorded := &infratest.Recorder{Stacks: told.Stacks}
				for _, changed := range r.stacks() {
					if changed == stack && r.key != "" {
						change(t, w.config, r.key, r.words)
					}
				}
				outputs := outputsOf(t, stack, w, recorded)
				told.Stacks = map[string]map[string]any{"organization/outposts/" + stack: outputs}
				charts := 0
				for _, made := range recorded.Resources() {
					if made.Type == "kubernetes:helm.sh/v4:Chart" {
						charts++
						for path := range unsure(made.Inputs) {
							t.Errorf("%s: chart %s: %s hangs on something", stack, made.Name, path)
						}
					}
				}
				if want := map[string]int{"local": 3, "remote": 1}[stack]; charts != want {
					t.Errorf("%s: %d charts", stack, charts)
				}
			}
		})
	}
}

// unsure are the paths of what may be unknown in a preview.
func unsure(inputs resource.PropertyMap) map[string]bool {
	found := map[string]bool{}
	var walk func(path string, v resource.PropertyValue)
	walk = func(path string, v resource.PropertyValue) {
		switch {
		case v.IsComputed(), v.IsOutput(), v.IsSecret():
			found[path] = true
		case v.IsObject():
			for key, value := range v.ObjectValue() {
				walk(path+"."+string(key), value)
			}
		case v.IsArray():
			for _, value := range v.ArrayValue() {
				walk(path+"[]", value)
			}
		}
	}
	walk("", resource.NewProperty(inputs))
	return found
}

// TestOtherKeysAreAnotherPod holds what pods start again for: another word, another key that the operator gave, and
// keys that another stack of the same name made, whose words are alike.
func TestOtherKeysAreAnotherPod(t *testing.T) {
	const key, other = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM=", "YGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM="
	version := func(madeAt string, changes map[string]string) string {
		raw := configFrom(t, remoteConfig)
		for key, value := range changes {
			change(t, raw, key, value)
		}
		r := &infratest.Recorder{Stacks: map[string]map[string]any{"organization/outposts/local": localOutputs(t)}}
		if madeAt != "" {
			r.Made = map[string]any{"urn:pulumi:remote::outposts::outposts:credentials:Store::outpost": map[string]any{
				"type": "outposts:credentials:Store", "outputs": map[string]any{"sealsWith": "1", "madeAt": madeAt},
			}}
		}
		if err := runStack(t, r, "remote", testWorld(raw)); err != nil {
			t.Fatal(err)
		}
		chart := infratest.Values(t, r.Find(t, "kubernetes:helm.sh/v4:Chart", "outpost"))
		annotations, _ := chart["podAnnotations"].(map[string]any)
		text, _ := annotations["outposts.dev/keys"].(string)
		return text
	}
	first := version("", nil)
	if want := "made=2026-05-01T12:00:00Z cryptKey=1"; first != want {
		t.Errorf("version %q, want %q", first, want)
	}
	seen := map[string]string{first: "the first"}
	for name, text := range map[string]string{
		"another word":      version("", map[string]string{"outpost.rotation.cryptKey": `["2", "1"]`}),
		"a given key":       version("", map[string]string{"outpost.cryptKeys": "[" + key + "]"}),
		"another given key": version("", map[string]string{"outpost.cryptKeys": "[" + other + "]"}),
		"made before":       version("2025-01-01T00:00:00Z", nil),
	} {
		if seen[text] != "" || strings.Contains(text, key[:8]) {
			t.Errorf("%s: %q, as %s", name, text, seen[text])
		}
		seen[text] = name
	}
}

func TestFirstMade(t *testing.T) {
	now := time.Date(2026, 5, 1, 14, 0, 0, 0, time.FixedZone("", 2*60*60))
	for _, tt := range []struct {
		name string
		made sealing
		want string
	}{
		{"nothing yet", sealing{}, "2026-05-01T12:00:00Z"},
		{"killed before it was recorded", sealing{seeds: []string{"1"}}, "2026-05-01T12:00:00Z"},
		{"recorded", sealing{with: "1", madeAt: "2025-01-01T00:00:00Z"}, "2025-01-01T00:00:00Z"},
		{"made when it was not recorded", sealing{with: "1"}, ""},
	} {
		if got := tt.made.firstMade(now); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
