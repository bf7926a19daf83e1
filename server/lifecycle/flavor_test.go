package lifecycle_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

func mustFlavors(t testing.TB, text string) *flavor.Flavors {
	t.Helper()
	f, err := flavor.Parse([]byte(text))
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

func TestFlavorsHaveTheirPresentUse(t *testing.T) {
	w := outposttest.NewWorld(t, lifecycle.Options{Flavors: mustFlavors(t, twoFlavors)})
	typeOf := func(weight int, display string) flavor.Flavor {
		return flavor.Flavor{
			"max":          5,
			"weight":       weight,
			"display_name": display,
			"runtime":      map[string]any{"hours": 2},
			"current":      0,
		}
	}
	for hub, want := range map[string]map[string]flavor.Flavor{
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

func TestFlavorsAndCreditsOfAUser(t *testing.T) {
	credits, err := flavor.ParseCredits(
		[]byte("credits: {gpu: {cap: 100}}\nusers: {all: {authentication: {name: a}, forbidden: true}}"),
	)
	if err != nil {
		t.Fatal(err)
	}
	w := outposttest.NewWorld(t, lifecycle.Options{Credits: credits, Flavors: mustFlavors(t, twoFlavors+`
users: {a: {authentication: {name: a}, flavors: [typeb], flavorsOverride: {typeb: {max: 3}}}}
`)})
	user := object(t, `{"name": "a"}`)
	got, err := w.UserFlavors(t.Context(), "hub-a", user)
	if err != nil || len(got) != 1 || got["typeb"]["max"] != 3 || got["typeb"]["current"] != 0 {
		t.Errorf("flavors %v, error %v", got, err)
	}
	got, err = w.UserCredits("hub-a", user)
	if err != nil || got["gpu"]["cap"] != 0 {
		t.Errorf("credits %v, error %v", got, err)
	}
	if got := w.Credits("hub-a"); got["gpu"]["cap"] != 100 {
		t.Errorf("credits of the hub %v", got)
	}
	for _, f := range []func() (map[string]flavor.Flavor, error){
		func() (map[string]flavor.Flavor, error) { return w.UserFlavors(t.Context(), "hub-a", "user1") },
		func() (map[string]flavor.Flavor, error) { return w.UserCredits("hub-a", []any{1}) },
	} {
		_, err := f()
		wantKind(t, err, outpost.KindInvalid)
	}
}

func TestNoFlavorsFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		got, err := w.Flavors(t.Context(), "hub-a")
		if err != nil || len(got) != 0 || got == nil {
			t.Errorf("flavors %v, error %v", got, err)
		}
		mustStart(t, w, outposttest.Request("none"))
		r := outposttest.Request("any")
		r.Flavor = "anything"
		mustStart(t, w, r)
	})
}

func TestRuntimeSetsTheEndDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{Flavors: mustFlavors(t, twoFlavors+`
users:
  key1: {authentication: {username: "us..1"}, flavorsOverride: {typea: {runtime: {hours: 4}}}}
`)}).Up(t)
		begin := time.Now().UTC()
		plain, user := outposttest.Request("plain"), outposttest.Request("user")
		plain.Flavor, user.Flavor = "typea", "typea"
		user.Authentication = object(t, `{"username": "user1"}`)
		mustStart(t, w, plain)
		mustStart(t, w, user)
		for name, want := range map[string]time.Time{
			"plain": begin.Add(2 * time.Hour), "user": begin.Add(4 * time.Hour),
		} {
			s, err := w.Store.Get(t.Context(), outposttest.Key(name))
			if err != nil || !s.EndDate.Equal(want) {
				t.Errorf("%s: end date %v, want %v, error %v", name, s.EndDate, want, err)
			}
		}
	})
}

func TestNoRuntimeNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{
			Flavors: mustFlavors(t, "flavors: {typea: {resources: {}}}"),
		}).Up(t)
		r := outposttest.Request("lab-one")
		r.Flavor = "typea"
		mustStart(t, w, r)
		s, err := w.Store.Get(t.Context(), r.Key)
		if err != nil || !s.EndDate.Equal(outpost.NoEnd) {
			t.Errorf("end date %v, error %v", s.EndDate, err)
		}
	})
}
