package flavor_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/flavor"
)

func mustParse(t testing.TB, text string) *flavor.Flavors {
	t.Helper()
	f, err := flavor.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// twoFlavors is a file with a pattern for hub-a and a list for hub-b.
const twoFlavors = `
flavors:
  typea: {max: 5, weight: 10, display_name: Two, runtime: {hours: 2}}
  typeb: {max: 5, weight: 9, display_name: Four, runtime: {hours: 2}}
hubs:
  default: {jupyterhub_name: "hub-[a]", flavors: [typea, typeb]}
  restricted: {jupyterhub_name: [hub-b], flavors: []}
`

// object decodes a JSON object as a hub sends it.
func object(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// userCases are the flavors that users are offered, most as observed at the Python outpost.
var userCases = []struct {
	name, file, hub, user string
	want                  map[string]flavor.Flavor
}{
	{
		name: "a hub set by pattern", file: twoFlavors, hub: "hub-a",
		user: `{"username": "user1"}`,
		want: map[string]flavor.Flavor{
			"typea": {"max": 5, "runtime": hours(2)},
			"typeb": {"max": 5, "runtime": hours(2)},
		},
	},
	{
		name: "a hub set with an empty list",
		file: twoFlavors,
		hub:  "hub-b",
		user: `{"username": "user1"}`,
		want: map[string]flavor.Flavor{},
	},
	{
		name: "a hub set that reduces and overrides", file: restrictedHub, hub: "hub-a",
		user: `{"username": "user1"}`,
		want: map[string]flavor.Flavor{"typea": {"max": 18, "runtime": hours(1)}},
	},
	{
		name: "the user set's list replaces the hub's and the hub's overrides stay", hub: "hub-a",
		user: `{"username": "user1"}`,
		file: restrictedHub + `
users:
  key1: {authentication: {username: user1}, flavors: [typea, typeb], flavorsOverride: {typea: {runtime: {hours: 2}}}}
`, want: map[string]flavor.Flavor{"typea": {"max": 18, "runtime": hours(2)}, "typeb": {"max": 5, "runtime": hours(2)}},
	},
	{
		name: "a user set without a list keeps the hub's",
		hub:  "hub-a",
		user: `{"username": "user1"}`,
		file: restrictedHub + `
users:
  vip: {authentication: {username: user1}, flavorsOverride: {typea: {max: 20}, typeb: {max: 20}}}
`,
		want: map[string]flavor.Flavor{"typea": {"max": 20, "runtime": hours(1)}},
	},
	{name: "a pattern without regard to case", hub: "hub-a", user: `{"username": "USER1"}`, file: twoFlavors + `
users:
  key1: {authentication: {username: "(?i)user1"}, flavors: [typeb]}
`, want: map[string]flavor.Flavor{"typeb": {"max": 5, "runtime": hours(2)}}},
	{name: "the highest weight wins", hub: "hub-a", user: `{"username": "user1"}`, file: twoFlavors + `
users:
  key2:
    weight: 6
    authentication: {username: user1}
    flavors: [typea]
    flavorsOverride: {typea: {runtime: {hours: 4}}}
  key1: {authentication: {username: user1}, flavors: [typeb]}
`, want: map[string]flavor.Flavor{"typea": {"max": 5, "runtime": hours(4)}}},
	{name: "of equal weights the last set wins", hub: "hub-a", user: `{"username": "user1"}`, file: twoFlavors + `
users:
  key1: {authentication: {username: user1}, flavors: [typea]}
  key2: {authentication: {username: user1}, flavors: [typeb]}
`, want: map[string]flavor.Flavor{"typeb": {"max": 5, "runtime": hours(2)}}},
	{name: "a regular expression", hub: "hub-a", user: `{"username": "user1"}`, file: twoFlavors + `
users:
  key1: {authentication: {username: "us..1"}, flavors: [typea]}
  key2: {authentication: {username: "us..2"}, flavors: [], weight: 9}
`, want: map[string]flavor.Flavor{"typea": {"max": 5, "runtime": hours(2)}}},
	{
		name: "an exact name with more weight than an expression",
		hub:  "hub-a",
		user: `{"username": "user1"}`,
		file: twoFlavors + `
users:
  key2: {weight: 4, authentication: {username: user1}, flavors: [typeb]}
  key1: {authentication: {username: "us..1"}, flavors: [typea]}
`,
		want: map[string]flavor.Flavor{"typeb": {"max": 5, "runtime": hours(2)}},
	},
	{
		name: "negated: member", hub: "hub-a",
		user: `{"username": "a@mycomp.org"}`, file: negated(".*mycomp.org", false),
		want: map[string]flavor.Flavor{
			"typea": {"max": 5, "runtime": hours(2)},
			"typeb": {"max": 5, "runtime": hours(2)},
		},
	},
	{
		name: "negated: other", hub: "hub-b",
		user: `{"username": "a@other.org"}`, file: negated(".*mycomp.org", false),
		want: map[string]flavor.Flavor{"minimal": {"max": 2}},
	},
	{
		name: "negated and forbidden: other", hub: "hub-a",
		user: `{"username": "a@other.org"}`, file: negated(".*mycomp.org", true),
		want: map[string]flavor.Flavor{},
	},
	{
		name: "negated glob: member", hub: "hub-a",
		user: `{"username": "a@mycomp.org"}`, file: negated("*mycomp.org", true),
		want: map[string]flavor.Flavor{
			"typea": {"max": 5, "runtime": hours(2)},
			"typeb": {"max": 5, "runtime": hours(2)},
		},
	},
	{
		name: "negated glob: other", hub: "hub-a",
		user: `{"username": "a@other.org"}`, file: negated("*mycomp.org", true),
		want: map[string]flavor.Flavor{},
	},
	{
		name: "negated, user without the attribute", hub: "hub-a",
		user: `{"groups": []}`, file: negated(".*mycomp.org", true),
		want: map[string]flavor.Flavor{},
	},
	{
		name: "no user set applies without attributes", hub: "hub-a",
		user: `{}`, file: negated(".*mycomp.org", true),
		want: map[string]flavor.Flavor{
			"typea": {"max": 5, "runtime": hours(2)},
			"typeb": {"max": 5, "runtime": hours(2)},
		},
	},
	{
		name: "keys are combined with or",
		hub:  "hub-a",
		user: `{"username": "x", "groups": ["guest", "staff"]}`,
		file: twoFlavors + `
users:
  key1: {authentication: {username: user1, groups: [staff, admin]}, flavors: [typea]}
`,
		want: map[string]flavor.Flavor{"typea": {"max": 5, "runtime": hours(2)}},
	},
	{name: "set of another hub", hub: "hub-a", user: `{"username": "user1"}`, file: twoFlavors + `
users:
  key1: {hubs: [hub-c], authentication: {username: user1}, forbidden: true}
`, want: map[string]flavor.Flavor{"typea": {"max": 5, "runtime": hours(2)}, "typeb": {"max": 5, "runtime": hours(2)}}},
	{name: "the hub set with the highest weight wins", hub: "hub-a", user: `{}`, file: `
flavors: {typea: {}, typeb: {}}
hubs:
  first: {jupyterhub_name: "hub-.*", flavors: [typea]}
  second: {jupyterhub_name: [hub-a], weight: 5, flavors: [typeb]}
  third: {jupyterhub_name: [hub-a], weight: 5, flavors: []}
`, want: map[string]flavor.Flavor{"typeb": {}}},
	{name: "a glob that is also a regular expression", hub: "hub-alpha", user: `{}`, file: `
flavors: {typea: {}, typeb: {}}
hubs:
  first: {jupyterhub_name: "hub-al*", flavors: [typea]}
`, want: map[string]flavor.Flavor{"typea": {}}},
	{
		name: "numbers and booleans are compared as text, objects and null not at all",
		hub:  "hub-a",
		user: `{"level": 3, "admin": true, "more": {"a": [null]}, "none": null}`,
		file: twoFlavors + `
users:
  nothing: {authentication: {more: ".*", none: ".*"}, forbidden: true, weight: 9}
  key1: {authentication: {level: "[3-5]"}, flavors: [typea]}
`,
		want: map[string]flavor.Flavor{"typea": {"max": 5, "runtime": hours(2)}},
	},
	{name: "a boolean", hub: "hub-a", user: `{"admin": true}`, file: twoFlavors + `
users:
  key1: {authentication: {admin: "true"}, flavors: [typeb]}
`, want: map[string]flavor.Flavor{"typeb": {"max": 5, "runtime": hours(2)}}},
	{
		name: "no hub set matches: all flavors", hub: "hub-z", user: `{}`, file: twoFlavors,
		want: map[string]flavor.Flavor{
			"typea": {"max": 5, "runtime": hours(2)},
			"typeb": {"max": 5, "runtime": hours(2)},
		},
	},
}

const restrictedHub = `
flavors:
  typea: {max: 5, runtime: {hours: 2}}
  typeb: {max: 5, runtime: {hours: 2}}
hubs:
  default: {jupyterhub_name: "hub-[a]", flavors: [typea], flavorsOverride: {typea: {runtime: {hours: 1}, max: 18}}}
`

func hours(n int) map[string]any { return map[string]any{"hours": n} }

func negated(pattern string, forbidden bool) string {
	return fmt.Sprintf(`
flavors:
  typea: {max: 5, runtime: {hours: 2}}
  typeb: {max: 5, runtime: {hours: 2}}
  minimal: {max: 2}
hubs:
  default: {jupyterhub_name: "hub-[a]", flavors: [typea, typeb]}
  restricted: {jupyterhub_name: [hub-b], flavors: []}
users:
  negateGroup: {negate_authentication: true, authentication: {username: %q}, flavors: [minimal], forbidden: %v}
`, pattern, forbidden)
}

// See protocol 4.3 and 4.4.
func TestOfUser(t *testing.T) {
	for _, tc := range userCases {
		t.Run(tc.name, func(t *testing.T) {
			got, err := mustParse(t, tc.file).OfUser(tc.hub, object(t, tc.user))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range got {
				delete(f, "weight")
				delete(f, "display_name")
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOfUserTakesAnObject(t *testing.T) {
	f := mustParse(t, negated(".*", true))
	for _, text := range []string{`"user1"`, `[1]`, `3`, `true`} {
		if _, err := f.OfUser("hub-a", object(t, text)); !errors.Is(err, flavor.ErrAuthentication) {
			t.Errorf("%s: error %v", text, err)
		}
	}
	for _, text := range []string{`{}`, `null`, `[]`, `""`} {
		got, err := f.OfUser("hub-a", object(t, text))
		if err != nil || len(got) != 2 {
			t.Errorf("%s: %v, error %v", text, got, err)
		}
	}
}

// See protocol 4.7.
func TestForbiddenCreditsKeepTheirShape(t *testing.T) {
	f, err := flavor.ParseCredits([]byte(`
credits:
  gpu: {cap: 100, grant_value: 10, grant_interval: 600, name: GPU hours}
  cpu: {cap: 50, grant_value: 5}
hubs:
  a: {jupyterhub_name: [hub-a], creditsOverride: {gpu: {cap: 200}}}
users:
  staff: {authentication: {groups: [staff]}, credits: [cpu]}
  bad: {authentication: {name: bad}, forbidden: true, weight: 1}
`))
	if err != nil {
		t.Fatal(err)
	}
	cpu := flavor.Flavor{"cap": 50, "grant_value": 5}
	gpu := flavor.Flavor{"cap": 200, "grant_value": 10, "grant_interval": 600, "name": "GPU hours"}
	for user, want := range map[string]map[string]flavor.Flavor{
		`{}`:                    {"gpu": gpu, "cpu": cpu},
		`{"groups": ["staff"]}`: {"cpu": cpu},
		`{"name": "bad"}`: {
			"gpu": {"cap": 0, "grant_value": 0, "grant_interval": 600, "name": "GPU hours"},
			"cpu": {"cap": 0, "grant_value": 0, "grant_interval": 86400},
		},
	} {
		got, err := f.OfUser("hub-a", object(t, user))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", user, diff)
		}
	}
	if got := f.OfHub("hub-b"); got["gpu"]["cap"] != 100 {
		t.Errorf("credits of hub-b %v", got)
	}
}

// A caller may change what it got without changing the file.
func TestOffersAreCopies(t *testing.T) {
	f := mustParse(t, twoFlavors)
	f.OfHub("hub-a")["typea"]["max"] = 1000
	if got := f.OfHub("hub-a")["typea"]["max"]; got != 5 {
		t.Errorf("max %v", got)
	}
}

// See protocol 4.1.
func TestBadFilesNameEveryFault(t *testing.T) {
	_, err := flavor.Parse([]byte(`
flavors:
  tiny: {max: "5", maxPerUser: -2, runtime: {hour: 2}}
  small: {runtime: 3, resources: [1]}
  nan: {max: 1.5, x-a: .nan}
  list: [1]
  named:
    display_name: 7
    description: null
    weight: heavy
    max: null
    maxPerUsr: 2
    users: [alice]
    runtime: {}
    resources:
  none: null
  groups: {allowedGroups: staff, deniedText: 7}
  words: {deniedText: Ask Bob.}
hubs:
  a: {jupyterhub_name: "(?!x)a", weight: heavy}
  b: {jupyterhub_name: {x: 1}, flavors: tiny}
  d: {flavors: [tiny]}
  e: {jupyterhub_name: [e], colour: red, flavors: null, weight: null}
  f: null
users:
  c: {authentication: {name: [{}]}, negate_authentication: maybe, flavorsOverride: {tiny: {max: many}}}
  g: {hubs: null, authentication: null, forbidden: null, flavorsOverride: {tiny: null, tinny: {max: 1}, none: {}}}
  h: {flavorOverride: {}}
  i: {flavorsOverride: {tiny: {resources: {mem_limit: null, cpu_limit: }}}}
hub: {}
`))
	if err == nil {
		t.Fatal("no error")
	}
	const null = "is null; leave the key out to keep what the flavor has, or write 0 to lift a limit"
	want := []string{
		`line 3: flavors.tiny.max: must be a whole number`,
		`line 3: flavors.tiny.maxPerUser: must be at least 0, or -1 for no limit`,
		`line 3: flavors.tiny.runtime: "hour" is not a unit of time`,
		`line 4: flavors.small.resources: must be a mapping`,
		`line 4: flavors.small.runtime: must be a mapping such as {hours: 2}`,
		`line 5: flavors.nan: holds a value that JSON cannot represent`,
		`line 6: flavors.list: must be a mapping`,
		`line 8: flavors.named.display_name: must be a string`,
		`line 9: flavors.named.description: is empty; leave the key out, or write its value`,
		`line 10: flavors.named.weight: must be a number`,
		`line 11: flavors.named.max: is empty; leave the key out, or write its value`,
		`line 12: flavors.named.maxPerUsr: unknown key; did you mean maxPerUser?`,
		`line 13: flavors.named.users: restricts nobody; write allowedGroups, ` +
			`or say under hubs and users of this file who is offered what`,
		`line 14: flavors.named.runtime: the sum must be more than 0 and at most 100 years`,
		`line 15: flavors.named.resources: is empty; leave the key out, or write its value`,
		`line 17: flavors.groups.allowedGroups: must be a list of names of groups, at least one`,
		`line 17: flavors.groups.deniedText: must be a sentence`,
		`line 18: flavors.words.deniedText: has no effect without allowedGroups`,
		`line 20: hubs.a.jupyterhub_name: "(?!x)a" uses "(?!", which is not supported (RE2 syntax)`,
		`line 20: hubs.a.weight: must be a number`,
		`line 21: hubs.b.jupyterhub_name: must be a list of strings or a pattern`,
		`line 21: hubs.b.flavors: must be a list`,
		`line 22: hubs.d.jupyterhub_name: is missing; without it no hub is meant`,
		`line 23: hubs.e.colour: unknown key; known keys: jupyterhub_name, weight, flavors, flavorsOverride`,
		`line 23: hubs.e.flavors: must be a list`,
		`line 23: hubs.e.weight: must be a number`,
		`line 24: hubs.f: is empty; leave the key out, or write its value`,
		`line 24: hubs.f.jupyterhub_name: is missing; without it no hub is meant`,
		`line 26: users.c.authentication.name: must be a list of strings`,
		`line 26: users.c.negate_authentication: must be true or false`,
		`line 26: users.c.flavorsOverride.tiny.max: must be a whole number`,
		`line 27: users.g.hubs: must be a list`,
		`line 27: users.g.authentication: is empty; leave the key out, or write its value`,
		`line 27: users.g.forbidden: must be true or false`,
		`line 27: users.g.flavorsOverride.tiny: is empty; leave the key out, or write its value`,
		`line 27: users.g.flavorsOverride: tinny is not among the flavors of this file; did you mean tiny?`,
		`line 28: users.h.flavorOverride: unknown key; did you mean flavorsOverride?`,
		`line 29: users.i.flavorsOverride.tiny.resources.cpu_limit: ` + null,
		`line 29: users.i.flavorsOverride.tiny.resources.mem_limit: ` + null,
		`line 30: hub: unknown key; did you mean hubs?`,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBadCreditsNameEveryFault(t *testing.T) {
	_, err := flavor.ParseCredits([]byte(`
credits:
  gpu: {cap: "100", grant_valu: 1, x-form: [1]}
  cpu: {cap: null, grant_interval: 600, project: {name: p}}
users:
  all: {flavors: [gpu], creditsOverride: {gpu: {cap: many}}}
`))
	want := `line 3: credits.gpu.cap: must be a number
line 3: credits.gpu.grant_valu: unknown key; did you mean grant_value?
line 4: credits.cpu.cap: is empty; leave the key out, or write its value
line 6: users.all.flavors: unknown key; known keys: ` +
		`hubs, authentication, negate_authentication, forbidden, weight, credits, creditsOverride
line 6: users.all.creditsOverride.gpu.cap: must be a number`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// A flavor that is null is not offered: taken away, not without limits.
func TestNullFlavorsAreNotOffered(t *testing.T) {
	f := mustParse(t, `
flavors:
  tiny: {max: 5}
  minimal: null
hubs:
  a: {jupyterhub_name: [hub-a], flavors: [tiny, minimal], flavorsOverride: {minimal: {max: 1}}}
`)
	want := map[string]flavor.Flavor{"tiny": {"max": 5}}
	for _, hub := range []string{"hub-a", "hub-b"} {
		if diff := cmp.Diff(want, f.OfHub(hub)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", hub, diff)
		}
	}
	entries := []flavor.Entry{{Key: "flavors.tiny", Name: "tiny", Flavor: want["tiny"], Own: want["tiny"]}}
	if diff := cmp.Diff(entries, f.All()); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
}

// An override that names some resources leaves the flavor's others, limits above all, as they are: those of a hub, of a
// user, and of both.
func TestOverridesKeepWhatTheyDoNotName(t *testing.T) {
	f := mustParse(t, `
flavors:
  tiny: {max: 5, runtime: {hours: 2}, resources: {cpu_limit: 1, mem_limit: 2G, node_selector: {a: b}}}
  bare: {}
hubs:
  a:
    jupyterhub_name: [hub-a]
    flavorsOverride: {tiny: {resources: {cpu_limit: 2}}, bare: {resources: {mem_limit: 1G}}}
users:
  b: {authentication: {name: bob}, flavorsOverride: {tiny: {runtime: {minutes: 5}, resources: {node_selector: {c: d}}}}}
`)
	tiny := func(cpu int, runtime, node map[string]any) flavor.Flavor {
		return flavor.Flavor{"max": 5, "runtime": runtime, "resources": map[string]any{
			"cpu_limit": cpu, "mem_limit": "2G", "node_selector": node,
		}}
	}
	pool, other := map[string]any{"a": "b"}, map[string]any{"c": "d"}
	bare := flavor.Flavor{"resources": map[string]any{"mem_limit": "1G"}}
	bob, err := f.OfUser("hub-a", map[string]any{"name": "bob"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ got, want map[string]flavor.Flavor }{
		"another hub": {f.OfHub("hub-b"), map[string]flavor.Flavor{"tiny": tiny(1, hours(2), pool), "bare": {}}},
		"a hub":       {f.OfHub("hub-a"), map[string]flavor.Flavor{"tiny": tiny(2, hours(2), pool), "bare": bare}},
		"a hub's user": {
			bob, map[string]flavor.Flavor{"tiny": tiny(2, map[string]any{"minutes": 5}, other), "bare": bare},
		},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A large limit is written out.
func TestRefusalsWriteLimitsOut(t *testing.T) {
	f := mustParse(t, "flavors: {tiny: {max: 1000000}, big: {maxPerUser: 20000000}}")
	for name, want := range map[string]string{
		"tiny": "Start with tiny for hub-a not allowed. Maximum (1000000) already reached.",
		"big":  "Start with flavor big not allowed. Each user may only start 20000000 of big",
	} {
		a, err := f.Admit("hub-a", nil, name)
		if err != nil {
			t.Fatal(err)
		}
		err = a.Check(flavor.Usage{
			TotalFlavor:  map[string]int{"tiny": 1000000},
			ByUserFlavor: map[int]map[string]int{1: {"big": 20000000}},
		}, 1, flavor.Limits{})
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// Overrides are entries of their own, over what they override.
func TestAllHasEveryOverride(t *testing.T) {
	f := mustParse(t, `
flavors:
  tiny: {max: 5, weight: 1}
hubs:
  a: {jupyterhub_name: [hub-a], flavorsOverride: {tiny: {max: 1}}}
users:
  b: {flavorsOverride: {tiny: {weight: 2}}}
`)
	base := flavor.Flavor{"max": 5, "weight": 1}
	want := []flavor.Entry{
		{Key: "flavors.tiny", Name: "tiny", Flavor: base, Own: base},
		{
			Key: "hubs.a.flavorsOverride.tiny", Name: "tiny", Flavor: flavor.Flavor{"max": 1, "weight": 1},
			Own: flavor.Flavor{"max": 1},
		},
		{
			Key: "users.b.flavorsOverride.tiny", Name: "tiny", Flavor: flavor.Flavor{"max": 5, "weight": 2},
			Own: flavor.Flavor{"weight": 2},
		},
	}
	if diff := cmp.Diff(want, f.All()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var none *flavor.Flavors
	if got := none.All(); got != nil {
		t.Errorf("got %v of no file", got)
	}
}

func TestEmptyAndOddFiles(t *testing.T) {
	for text, configured := range map[string]bool{
		"": false, "# nothing": false, "null": false, "---\n": false,
		"{}": true, "flavors:": true, "flavors: {tiny: }": true,
		"flavors: {tiny: &x {max: 1}, big: {<<: *x, weight: 2}}": true,
	} {
		f, err := flavor.Parse([]byte(text))
		if err != nil || (f != nil) != configured {
			t.Errorf("%q: configured %v, error %v", text, f != nil, err)
		}
	}
	for _, text := range []string{
		"a: [", "[]", "text", "flavors: [tiny]", "flavors: {a: {}, a: {}}", "hubs: &h {<<: *h}",
		"\xff", "? {a: b}\n: c", "hubs:", "users:", "hubs: {a: }",
		"flavors: {}\n---\nhubs: {}", "---\n---\nflavors: {}",
	} {
		if _, err := flavor.Parse([]byte(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func sentences(warnings []flavor.Fault) (all []string) {
	for _, w := range warnings {
		all = append(all, w.Error())
	}
	return all
}

func TestWarnings(t *testing.T) {
	f := mustParse(t, `
flavors:
  tiny: {maxPerUser: 0}
  big: null
hubs:
  b: {jupyterhub_name: [hub-b], flavors: [tinny, big]}
  c: {jupyterhub_name: [], flavors: []}
users:
  d: {hubs: [], authentication: {groups: [], name: [a]}, forbidden: true}
  e: {forbidden: true}
  f: {authentication: {}, flavors: [tiny]}
  g: {negate_authentication: true, flavors: [tiny]}
`)
	const nothing = "is an empty list, which nothing matches"
	want := []string{
		"line 3: flavors.tiny.maxPerUser: 0 refuses every start; use -1 or leave it out for no limit",
		"line 4: flavors.big: is null, so it is not offered",
		"line 6: hubs.b.flavors: tinny is not among the flavors of this file",
		"line 7: hubs.c.jupyterhub_name: " + nothing,
		"line 9: users.d.hubs: " + nothing,
		"line 9: users.d.authentication.groups: " + nothing,
		"line 10: users.e: has no authentication, so it applies to nobody",
		"line 11: users.f: has no authentication, so it applies to nobody",
	}
	if diff := cmp.Diff(want, sentences(f.Warnings)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Names of hubs that may not log in are told, with the one that is probably meant.
func TestUnknownHubs(t *testing.T) {
	f := mustParse(t, `
flavors: {tiny: {}}
hubs:
  a: {jupyterhub_name: [hub-a, hub-aa, other-site]}
  b: {jupyterhub_name: "hub-[ab]"}
  c: {jupyterhub_name: hub-z.*}
users:
  d: {hubs: [hbu-b], authentication: {name: [a]}}
`)
	const may = " may log in"
	want := []string{
		"line 4: hubs.a.jupyterhub_name: no hub of the name hub-aa" + may + "; did you mean hub-a?",
		"line 4: hubs.a.jupyterhub_name: no hub of the name other-site" + may,
		"line 6: hubs.c.jupyterhub_name: no hub that" + may + " has a name like this",
		"line 8: users.d.hubs: no hub of the name hbu-b" + may + "; did you mean hub-b?",
	}
	if diff := cmp.Diff(want, sentences(f.UnknownHubs([]string{"hub-a", "hub-b"}))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Any file is either refused or can be used for any user without a panic, and what it offers can be sent as JSON.
func FuzzFlavorsFile(f *testing.F) {
	for _, seed := range []string{
		twoFlavors, restrictedHub, negated("*mycomp.org", true), "", "a: [", "hubs: &h {<<: *h}",
		"flavors: &f {a: &a {max: 1}, b: {<<: [*a, {runtime: {weeks: 1e300}}]}}\n" +
			"hubs: {x: {jupyterhub_name: '[a', weight: .inf}}",
	} {
		f.Add([]byte(seed), `{"username": "user1", "groups": ["a", 1, null, {}]}`)
	}
	f.Fuzz(func(t *testing.T, file []byte, user string) {
		flavors, err := flavor.Parse(file)
		credits, creditsErr := flavor.ParseCredits(file)
		if err != nil || creditsErr != nil {
			return
		}
		var authentication any
		if json.Unmarshal([]byte(user), &authentication) != nil {
			return
		}
		for _, hub := range []string{"hub-a", "", "\xff"} {
			offered, err := flavors.OfUser(hub, authentication)
			if err == nil {
				if _, err := json.Marshal(offered); err != nil {
					t.Error(err)
				}
			}
			_, _ = credits.OfUser(hub, authentication)
		}
	})
}
