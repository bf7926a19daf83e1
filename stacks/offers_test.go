package main

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/infratest"
)

// offered are flavors of an outpost, as a YAML value: of them the hub is not offered all, one in other words, and
// one for some of its users.
const offered = "{flavors: {small: {display_name: Small, description: one core}, large: {display_name: Large}, " +
	"plain: {}, mine: {}, rest: {}}, hubs: {ours: {jupyterhub_name: [jupyterhub], flavors: [small, large, plain], " +
	"flavorsOverride: {large: {description: two cores}}}}, " +
	"users: {ann: {hubs: [jupyterhub], authentication: {name: ann}, flavors: [mine]}}}"

// declarations are flavors that a hub declares for an outpost with those above, and in what they differ.
var declarations = []struct {
	name, flavors, want string
}{
	{"none", "[]", ""},
	{"names alone", "[{name: mine}, {name: plain}, {name: large}, {name: small}]", ""},
	{
		"the same", "[{name: small, displayName: Small, description: one core}, {name: mine}, {name: plain, " +
			"displayName: plain}, {name: large, displayName: large, description: two cores}]", "",
	},
	{
		"another name", "[{name: small}, {name: larg}, {name: plain}, {name: mine}]",
		"it has larg, mine, plain, small (the outpost: large, mine, plain, small)",
	},
	{"fewer", "[{name: small}]", "it has small (the outpost: large, mine, plain, small)"},
	{
		"other texts", "[{name: mine, displayName: Mine}, {name: plain, description: \"a\\nb\"}, {name: large}, " +
			"{name: small, displayName: Tiny, description: half a core}]",
		`displayName of mine is "Mine" (the outpost: "mine"); description of plain is "a\nb" (the outpost: ""); ` +
			`displayName of small is "Tiny" (the outpost: "Small"); ` +
			`description of small is "half a core" (the outpost: "one core")`,
	},
	{
		"both", "[{name: rest, displayName: Rest}, {name: small, displayName: Tiny}]",
		`it has rest, small (the outpost: large, mine, plain, small); displayName of small is "Tiny" ` +
			`(the outpost: "Small")`,
	},
}

// TestFlavorsDeclaredTwice holds that a hub's stack names what it declares for its own outpost in another way than that
// one does.
func TestFlavorsDeclaredTwice(t *testing.T) {
	const before, after = "outposts:outposts[0].flavors differs from outposts:outpost.flavors: ",
		"; leave outposts[0].flavors out, since the outpost says what it offers; what this hub is not to have, " +
			"leave out in outposts:outpost.flavors.hubs"
	check := func(t *testing.T, outpost map[string]string, flavors, want string) {
		t.Helper()
		changes := map[string]string{
			"hub.values": "{hub: {config: {JupyterHub: {authenticator_class: github}}}}", "outposts.0.flavors": flavors,
			"outposts.1.flavors": "[{name: of-a-remote}]", // which this stack cannot know
		}
		maps.Copy(changes, outpost)
		var all []string
		if want != "" {
			all = []string{before + want + after}
		}
		if diff := cmp.Diff(all, warnings(loaded(t, localConfig, changes), nil)); diff != "" {
			t.Errorf("warnings (-want +got):\n%s", diff)
		}
	}
	for _, tt := range declarations {
		t.Run(tt.name, func(t *testing.T) {
			check(t, map[string]string{"outpost.flavors": offered}, tt.flavors, tt.want)
			check(t, map[string]string{"outpost.values": "{flavors: " + offered + "}"}, tt.flavors, tt.want)
		})
	}
	t.Run("without flavors at the outpost", func(t *testing.T) {
		check(t, nil, "[{name: small, displayName: Small}]", "it has small (the outpost has no file of flavors: it "+
			"takes any name, and limits nothing by it)")
	})
	t.Run("without flavors for this hub", func(t *testing.T) {
		theirs := map[string]string{
			"outpost.flavors": "{flavors: {small: {}}, hubs: {ours: {jupyterhub_name: [jupyterhub], flavors: []}}}",
		}
		check(t, theirs, "[{name: small}]", "it has small (the outpost: none)")
	})
}

// TestFlavorsDeclaredByHubs holds that a remote's stack names the same of what the stacks of its hubs declare for it:
// one from before, which does not tell, declares nothing.
func TestFlavorsDeclaredByHubs(t *testing.T) {
	const before = "outposts:outpost.flavors differs from the flavors of this system in outposts:outposts of "
	const after = "; leave those flavors out there, since the outpost says what it offers; what this hub is not to " +
		"have, leave out in outposts:outpost.flavors.hubs"
	for _, tt := range declarations {
		t.Run(tt.name, func(t *testing.T) {
			w := testWorld(committedConfig(t, "local"))
			change(t, w.config, "outposts.1.flavors", tt.flavors)
			r := &infratest.Recorder{}
			out, err := systemIn(outputsOf(t, "local", w, r), "remote")
			if err != nil {
				t.Fatal(err)
			}
			checkSecrets(t, r)
			var want []string
			if tt.want != "" {
				want = []string{before + "organization/outposts/local: " + tt.want + after}
			}
			c := loaded(t, remoteConfig, map[string]string{"outpost.flavors": offered})
			if diff := cmp.Diff(want, c.declaredElsewhere([]*systemOutput{&out})); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
	c := loaded(t, remoteConfig, map[string]string{
		"hubs": "[{name: jupyterhub, stack: organization/outposts/local}, {name: second, system: {hub: second}}, " +
			otherHub[1:],
		"outpost.flavors": "{flavors: {plain: {}, small: {}}, " +
			"hubs: {ours: {jupyterhub_name: [second], flavors: [plain]}}}",
	})
	got := c.declaredElsewhere([]*systemOutput{
		{Hub: "jupyterhub"}, {Hub: "second", Flavors: []hub.Flavor{{Name: "small\n"}}}, nil,
	})
	want := []string{before + `the stack of hub second: it has small\n (the outpost: plain)` + after}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings of several hubs (-want +got):\n%s", diff)
	}
	w := testWorld(committedConfig(t, "local"))
	change(t, w.config, "outposts.1.profiles", "[{slug: a b, profile_options: {image: {choices: {c: {}}}}}, {slug: d}]")
	out, err := systemIn(outputsOf(t, "local", w, &infratest.Recorder{}), "remote")
	if err != nil {
		t.Fatal(err)
	}
	want = []string{"the profiles a b, d of this system in outposts:outposts of organization/outposts/local have no " +
		"effect, since the outpost says its own, from outposts:outpost.config.spawner.profile_list; leave them out " +
		"there"}
	if diff := cmp.Diff(want, loaded(t, remoteConfig, nil).declaredElsewhere([]*systemOutput{&out})); diff != "" {
		t.Errorf("warnings of profiles (-want +got):\n%s", diff)
	}
	if got := c.declaredElsewhere(nil); got != nil {
		t.Errorf("warnings where a stack could not be read: %q", got)
	}
}
