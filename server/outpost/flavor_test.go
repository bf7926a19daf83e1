package outpost_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

func mustFlavors(t testing.TB, text string) *outpost.Flavors {
	t.Helper()
	f, err := outpost.ParseFlavors([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// twoFlavors is the file of the observed cases: a pattern set for hub-a, a list set for hub-b.
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

// names are the keys of a flavor map, sorted.
func names(flavors map[string]outpost.Flavor) []string {
	return slices.Sorted(maps.Keys(flavors))
}

func TestCase1HubFlavors(t *testing.T) {
	w := outposttest.NewWorld(t, outpost.Options{Flavors: mustFlavors(t, twoFlavors)})
	typeOf := func(weight int, display string) outpost.Flavor {
		return outpost.Flavor{"max": 5, "weight": weight, "display_name": display, "runtime": map[string]any{"hours": 2}, "current": 0}
	}
	for hub, want := range map[string]map[string]outpost.Flavor{
		"hub-a": {"typea": typeOf(10, "Two"), "typeb": typeOf(9, "Four")},
		"hub-b": {},
	} {
		got, err := w.Flavors(t.Context(), hub)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", hub, diff)
		}
	}
}

func TestNoFlavorsFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, outpost.Options{}).Up(t)
		got, err := w.Flavors(t.Context(), "hub-a")
		if err != nil || len(got) != 0 || got == nil {
			t.Errorf("flavors %v, error %v", got, err)
		}
		mustStart(t, w, outposttest.Request("case-2"))
		r := outposttest.Request("case-3")
		r.Flavor = "anything"
		mustStart(t, w, r)
	})
}

// userCases are the flavors that users are offered: the observed cases 30 to 36 and X51 to X58.
var userCases = []struct {
	name, file, hub, user string
	want                  map[string]outpost.Flavor
}{
	{
		name: "case 30, pattern set", file: twoFlavors, hub: "hub-a", user: `{"username": "user1"}`,
		want: map[string]outpost.Flavor{"typea": {"max": 5, "runtime": hours(2)}, "typeb": {"max": 5, "runtime": hours(2)}},
	},
	{name: "case 30, empty list", file: twoFlavors, hub: "hub-b", user: `{"username": "user1"}`, want: map[string]outpost.Flavor{}},
	{
		name: "case 31, restricted hub", file: restrictedHub, hub: "hub-a", user: `{"username": "user1"}`,
		want: map[string]outpost.Flavor{"typea": {"max": 18, "runtime": hours(1)}},
	},
	{
		name: "case 32, the user set's list replaces the hub's and the hub's overrides stay", hub: "hub-a", user: `{"username": "user1"}`,
		file: restrictedHub + `
users:
  key1: {authentication: {username: user1}, flavors: [typea, typeb], flavorsOverride: {typea: {runtime: {hours: 2}}}}
`, want: map[string]outpost.Flavor{"typea": {"max": 18, "runtime": hours(2)}, "typeb": {"max": 5, "runtime": hours(2)}},
	},
	{name: "X53, a user set without a list keeps the hub's", hub: "hub-a", user: `{"username": "user1"}`, file: restrictedHub + `
users:
  vip: {authentication: {username: user1}, flavorsOverride: {typea: {max: 20}, typeb: {max: 20}}}
`, want: map[string]outpost.Flavor{"typea": {"max": 20, "runtime": hours(1)}}},
	{name: "case 33, a pattern without regard to case", hub: "hub-a", user: `{"username": "USER1"}`, file: twoFlavors + `
users:
  key1: {authentication: {username: "(?i)user1"}, flavors: [typeb]}
`, want: map[string]outpost.Flavor{"typeb": {"max": 5, "runtime": hours(2)}}},
	{name: "case 34, the highest weight wins", hub: "hub-a", user: `{"username": "user1"}`, file: twoFlavors + `
users:
  key2: {weight: 6, authentication: {username: user1}, flavors: [typea], flavorsOverride: {typea: {runtime: {hours: 4}}}}
  key1: {authentication: {username: user1}, flavors: [typeb]}
`, want: map[string]outpost.Flavor{"typea": {"max": 5, "runtime": hours(4)}}},
	{name: "of equal weights the last set wins", hub: "hub-a", user: `{"username": "user1"}`, file: twoFlavors + `
users:
  key1: {authentication: {username: user1}, flavors: [typea]}
  key2: {authentication: {username: user1}, flavors: [typeb]}
`, want: map[string]outpost.Flavor{"typeb": {"max": 5, "runtime": hours(2)}}},
	{name: "case 35, regular expression", hub: "hub-a", user: `{"username": "user1"}`, file: twoFlavors + `
users:
  key1: {authentication: {username: "us..1"}, flavors: [typea]}
  key2: {authentication: {username: "us..2"}, flavors: [], weight: 9}
`, want: map[string]outpost.Flavor{"typea": {"max": 5, "runtime": hours(2)}}},
	{name: "case 35, the weighted one of two", hub: "hub-a", user: `{"username": "user1"}`, file: twoFlavors + `
users:
  key2: {weight: 4, authentication: {username: user1}, flavors: [typeb]}
  key1: {authentication: {username: "us..1"}, flavors: [typea]}
`, want: map[string]outpost.Flavor{"typeb": {"max": 5, "runtime": hours(2)}}},
	{
		name: "case 36, negated: member", hub: "hub-a", user: `{"username": "a@mycomp.org"}`, file: negated(".*mycomp.org", false),
		want: map[string]outpost.Flavor{"typea": {"max": 5, "runtime": hours(2)}, "typeb": {"max": 5, "runtime": hours(2)}},
	},
	{
		name: "case 36, negated: other", hub: "hub-b", user: `{"username": "a@other.org"}`, file: negated(".*mycomp.org", false),
		want: map[string]outpost.Flavor{"minimal": {"max": 2}},
	},
	{
		name: "case 36, negated and forbidden: other", hub: "hub-a", user: `{"username": "a@other.org"}`, file: negated(".*mycomp.org", true),
		want: map[string]outpost.Flavor{},
	},
	{
		name: "case 36, glob: member", hub: "hub-a", user: `{"username": "a@mycomp.org"}`, file: negated("*mycomp.org", true),
		want: map[string]outpost.Flavor{"typea": {"max": 5, "runtime": hours(2)}, "typeb": {"max": 5, "runtime": hours(2)}},
	},
	{
		name: "case 36, glob: other", hub: "hub-a", user: `{"username": "a@other.org"}`, file: negated("*mycomp.org", true),
		want: map[string]outpost.Flavor{},
	},
	{
		name: "negated, user without the attribute", hub: "hub-a", user: `{"groups": []}`, file: negated(".*mycomp.org", true),
		want: map[string]outpost.Flavor{},
	},
	{
		name: "X16, no attributes: no user rule applies", hub: "hub-a", user: `{}`, file: negated(".*mycomp.org", true),
		want: map[string]outpost.Flavor{"typea": {"max": 5, "runtime": hours(2)}, "typeb": {"max": 5, "runtime": hours(2)}},
	},
	{name: "keys are combined with or", hub: "hub-a", user: `{"username": "x", "groups": ["guest", "staff"]}`, file: twoFlavors + `
users:
  key1: {authentication: {username: user1, groups: [staff, admin]}, flavors: [typea]}
`, want: map[string]outpost.Flavor{"typea": {"max": 5, "runtime": hours(2)}}},
	{name: "set of another hub", hub: "hub-a", user: `{"username": "user1"}`, file: twoFlavors + `
users:
  key1: {hubs: [hub-c], authentication: {username: user1}, forbidden: true}
`, want: map[string]outpost.Flavor{"typea": {"max": 5, "runtime": hours(2)}, "typeb": {"max": 5, "runtime": hours(2)}}},
	{name: "X51, the hub set with the highest weight wins", hub: "hub-a", user: `{}`, file: `
flavors: {typea: {}, typeb: {}}
hubs:
  first: {jupyterhub_name: "hub-.*", flavors: [typea]}
  second: {jupyterhub_name: [hub-a], weight: 5, flavors: [typeb]}
  third: {jupyterhub_name: [hub-a], weight: 5, flavors: []}
`, want: map[string]outpost.Flavor{"typeb": {}}},
	{name: "X52, a glob that is also a regular expression", hub: "hub-alpha", user: `{}`, file: `
flavors: {typea: {}, typeb: {}}
hubs:
  first: {jupyterhub_name: "hub-al*", flavors: [typea]}
`, want: map[string]outpost.Flavor{"typea": {}}},
	{name: "X58, attributes that are no text", hub: "hub-a", user: `{"level": 3, "admin": true, "more": {"a": [null]}, "none": null}`, file: twoFlavors + `
users:
  nothing: {authentication: {more: ".*", none: ".*"}, forbidden: true, weight: 9}
  key1: {authentication: {level: "[3-5]"}, flavors: [typea]}
`, want: map[string]outpost.Flavor{"typea": {"max": 5, "runtime": hours(2)}}},
	{name: "X58, a boolean", hub: "hub-a", user: `{"admin": true}`, file: twoFlavors + `
users:
  key1: {authentication: {admin: "true"}, flavors: [typeb]}
`, want: map[string]outpost.Flavor{"typeb": {"max": 5, "runtime": hours(2)}}},
	{
		name: "no hub set matches: all flavors", hub: "hub-z", user: `{}`, file: twoFlavors,
		want: map[string]outpost.Flavor{"typea": {"max": 5, "runtime": hours(2)}, "typeb": {"max": 5, "runtime": hours(2)}},
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

func TestUserFlavors(t *testing.T) {
	for _, tc := range userCases {
		t.Run(tc.name, func(t *testing.T) {
			w := outposttest.NewWorld(t, outpost.Options{Flavors: mustFlavors(t, tc.file)})
			got, err := w.UserFlavors(t.Context(), tc.hub, object(t, tc.user))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range got {
				if f["current"] != 0 {
					t.Errorf("flavor without current: %v", f)
				}
				delete(f, "current")
				delete(f, "weight")
				delete(f, "display_name")
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestUserFlavorsOfSomethingElseThanAnObject(t *testing.T) {
	f := mustFlavors(t, negated(".*", true))
	w := outposttest.NewWorld(t, outpost.Options{Flavors: f})
	for _, text := range []string{`"user1"`, `[1]`, `3`, `true`} {
		_, err := w.UserFlavors(t.Context(), "hub-a", object(t, text))
		wantKind(t, err, outpost.KindInvalid)
	}
	for _, text := range []string{`{}`, `null`, `[]`, `""`} {
		got, err := w.UserFlavors(t.Context(), "hub-a", object(t, text))
		if err != nil || len(got) != 2 {
			t.Errorf("%s: %v, error %v", text, names(got), err)
		}
	}
}

func TestX59ForbiddenCreditsKeepTheirShape(t *testing.T) {
	f, err := outpost.ParseCredits([]byte(`
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
	w := outposttest.NewWorld(t, outpost.Options{Credits: f})
	cpu := outpost.Flavor{"cap": 50, "grant_value": 5}
	gpu := outpost.Flavor{"cap": 200, "grant_value": 10, "grant_interval": 600, "name": "GPU hours"}
	for user, want := range map[string]map[string]outpost.Flavor{
		`{}`:                    {"gpu": gpu, "cpu": cpu},
		`{"groups": ["staff"]}`: {"cpu": cpu},
		`{"name": "bad"}`: {
			"gpu": {"cap": 0, "grant_value": 0, "grant_interval": 600, "name": "GPU hours"},
			"cpu": {"cap": 0, "grant_value": 0, "grant_interval": 86400},
		},
	} {
		got, err := w.UserCredits("hub-a", object(t, user))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", user, diff)
		}
	}
	got, err := w.Credits("hub-b")
	if err != nil || got["gpu"]["cap"] != 100 {
		t.Errorf("credits of hub-b %v, error %v", got, err)
	}
}

// A caller may change what it got without changing the file.
func TestFlavorsAreCopies(t *testing.T) {
	w := outposttest.NewWorld(t, outpost.Options{Flavors: mustFlavors(t, twoFlavors)})
	got, err := w.Flavors(t.Context(), "hub-a")
	if err != nil {
		t.Fatal(err)
	}
	got["typea"]["max"] = 1000
	again, err := w.Flavors(t.Context(), "hub-a")
	if err != nil || again["typea"]["max"] != 5 {
		t.Errorf("max %v, error %v", again["typea"]["max"], err)
	}
}

func TestX57X60BadFilesNameEveryFault(t *testing.T) {
	_, err := outpost.ParseFlavors([]byte(`
flavors:
  tiny: {max: "5", maxPerUser: -2, runtime: {hour: 2}}
  small: {runtime: 3, resources: [1]}
  nan: {max: 1.5, x: .nan}
  list: [1]
hubs:
  a: {jupyterhub_name: "(?!x)a", weight: heavy}
  b: {jupyterhub_name: {x: 1}, flavors: tiny}
users:
  c: {authentication: {name: [{}]}, negate_authentication: maybe, flavorsOverride: {tiny: {max: many}}}
`))
	if err == nil {
		t.Fatal("no error")
	}
	want := []string{
		`line 3: flavors.tiny.max: a whole number is needed`,
		`line 3: flavors.tiny.maxPerUser: a number of at least 0, or -1 for no limit, is needed`,
		`line 3: flavors.tiny.runtime: "hour" is not a unit of time`,
		`line 4: flavors.small.runtime: a mapping such as {hours: 2} is needed`,
		`line 4: flavors.small.resources: a mapping is needed`,
		`line 5: flavors.nan: it has a value that JSON cannot carry`,
		`line 6: flavors.list: a mapping is needed`,
		`line 8: hubs.a.jupyterhub_name: "(?!x)a" uses "(?!", which is not supported (RE2 syntax)`,
		`line 8: hubs.a.weight: a number is needed`,
		`line 9: hubs.b.jupyterhub_name: a list of texts or a pattern is needed`,
		`line 9: hubs.b.flavors: a list is needed`,
		`line 11: users.c.authentication.name: a list of texts is needed`,
		`line 11: users.c.negate_authentication: true or false is needed`,
		`line 11: users.c.flavorsOverride.tiny.max: a whole number is needed`,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEmptyAndOddFiles(t *testing.T) {
	for text, configured := range map[string]bool{
		"": false, "# nothing": false, "null": false, "---\n": false,
		"{}": true, "flavors:": true, "hubs:": true, "flavors: {tiny: }": true,
		"flavors: {tiny: &x {max: 1}, big: {<<: *x, min: 2}}": true,
	} {
		f, err := outpost.ParseFlavors([]byte(text))
		if err != nil || (f != nil) != configured {
			t.Errorf("%q: configured %v, error %v", text, f != nil, err)
		}
	}
	for _, text := range []string{"a: [", "[]", "text", "flavors: [tiny]", "flavors: {a: {}, a: {}}", "hubs: &h {<<: *h}", "\xff", "? {a: b}\n: c"} {
		if _, err := outpost.ParseFlavors([]byte(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestWarningsOfTheFile(t *testing.T) {
	f := mustFlavors(t, `
flavors:
  tiny: {maxPerUser: 0}
hub: {}
hubs:
  a: {flavors: [tiny]}
  b: {jupyterhub_name: [hub-b], flavors: [tinny], colour: red}
`)
	want := []string{
		"line 3: flavors.tiny.maxPerUser: 0 refuses every start; -1 or leaving it out is no limit",
		"line 4: hub: this key has no effect",
		"line 6: hubs.a: without jupyterhub_name it matches no hub",
		"line 7: hubs.b.flavors: tinny is not in flavors of this file",
		"line 7: hubs.b.colour: this key has no effect",
	}
	if diff := cmp.Diff(want, f.Warnings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCase26RuntimeSetsTheEndDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, outpost.Options{Flavors: mustFlavors(t, twoFlavors+`
users:
  key1: {authentication: {username: "us..1"}, flavorsOverride: {typea: {runtime: {hours: 4}}}}
`)}).Up(t)
		begin := time.Now().UTC()
		plain, user := outposttest.Request("plain"), outposttest.Request("user")
		plain.Flavor, user.Flavor = "typea", "typea"
		user.Authentication = object(t, `{"username": "user1"}`)
		mustStart(t, w, plain)
		mustStart(t, w, user)
		for name, want := range map[string]time.Time{"plain": begin.Add(2 * time.Hour), "user": begin.Add(4 * time.Hour)} {
			s, err := w.Store.Get(t.Context(), outposttest.Key(name))
			if err != nil || !s.EndDate.Equal(want) {
				t.Errorf("%s: end date %v, want %v, error %v", name, s.EndDate, want, err)
			}
		}
	})
}

func TestCase27NoRuntimeNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, outpost.Options{Flavors: mustFlavors(t, "flavors: {typea: {runtime: {}}}")}).Up(t)
		r := outposttest.Request("lab-one")
		r.Flavor = "typea"
		mustStart(t, w, r)
		s, err := w.Store.Get(t.Context(), r.Key)
		if err != nil || !s.EndDate.Equal(outpost.NoEnd) {
			t.Errorf("end date %v, error %v", s.EndDate, err)
		}
	})
}
