package lifecycle_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// quota is one start and the exact text of its refusal, "" for a good one.
type quota struct {
	hub, name, flavor string
	user              int
	want              string
}

func ptr(n int) *int { return &n }

//nolint:lll // table of sentences
func TestQuotaTexts(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		global     *int
		starts     []quota
	}{
		{"max 0", "flavors: {tiny: {max: 0}}", nil, []quota{
			{"hub-a", "lab-one", "tiny", 1, "lab-one - Start with tiny for hub-a not allowed. Maximum (0) already reached."},
		}},
		{"global limit 0", "flavors: {tiny: {}}", ptr(0), []quota{
			{"hub-a", "lab-one", "tiny", 0, "lab-one - User with user id 0 of hub-a has reached the maximum limit of services (0)"},
		}},
		{"global limit 1", "flavors: {tiny: {}}", ptr(1), []quota{
			{"hub-a", "lab-one", "tiny", 42, ""},
			{"hub-a", "lab-two", "tiny", 42, "lab-two - User with user id 42 of hub-a has reached the maximum limit of services (1)"},
			{"hub-a", "lab-two", "tiny", 43, ""},
			{"hub-b", "lab-two", "tiny", 42, ""},
		}},
		{"global limit without a flavors file", "", ptr(1), []quota{
			{"hub-a", "lab-one", "", 42, ""},
			{"hub-a", "lab-two", "any", 42, "lab-two - User with user id 42 of hub-a has reached the maximum limit of services (1)"},
		}},
		{"one for each user", "flavors: {tiny: {maxPerUser: 1}, big: {}}", ptr(-1), []quota{
			{"hub-a", "lab-one", "tiny", 42, ""},
			{"hub-a", "lab-two", "tiny", 42, "lab-two - Start with flavor tiny not allowed. Each user may only start 1 of tiny"},
			{"hub-a", "lab-two", "big", 42, ""},
			{"hub-a", "lab-three", "tiny", 43, ""},
		}},
		{"maxPerUser means what max means", "flavors: {none: {maxPerUser: 0}, any: {maxPerUser: -1}}", nil, []quota{
			{"hub-a", "lab-one", "none", 42, "lab-one - Start with flavor none not allowed. Each user may only start 0 of none"},
			{"hub-a", "lab-one", "any", 42, ""},
			{"hub-a", "lab-two", "any", 42, ""},
		}},
		{"unknown flavor", twoFlavors, nil, []quota{
			{"hub-a", "lab-one", "typec", 42, "lab-one - Start with flavor typec not allowed. Allowed values for user: ['typea', 'typeb']"},
			{"hub-a", "lab-one", "", 42, "lab-one - Start with flavor None not allowed. Allowed values for user: ['typea', 'typeb']"},
			{"hub-b", "lab-one", "typea", 42, "lab-one - Start with flavor typea not allowed. Allowed values for user: []"},
		}},
		{"names as Python quotes them", `flavors: {"it's": {}, 'a"b''c': {}}`, nil, []quota{
			{"hub-a", "x", "no", 1, `x - Start with flavor no not allowed. Allowed values for user: ["it's", 'a"b\'c']`},
		}},
		{"the max of a flavor counts all hubs", "flavors: {tiny: {max: 2}}", nil, []quota{
			{"hub-a", "lab-one", "tiny", 1, ""},
			{"hub-b", "lab-two", "tiny", 2, ""},
			{"hub-a", "lab-three", "tiny", 3, "lab-three - Start with tiny for hub-a not allowed. Maximum (2) already reached."},
			{"hub-b", "lab-three", "tiny", 3, "lab-three - Start with tiny for hub-b not allowed. Maximum (2) already reached."},
		}},
		{"the max of an override counts its hub", `
flavors: {tiny: {max: 2}}
hubs: {b: {jupyterhub_name: [hub-b], flavorsOverride: {tiny: {max: 1}}}}
`, nil, []quota{
			{"hub-a", "lab-one", "tiny", 1, ""},
			{"hub-a", "lab-two", "tiny", 2, ""},
			{"hub-b", "lab-three", "tiny", 3, ""},
			{"hub-b", "lab-four", "tiny", 3, "lab-four - Start with tiny for hub-b not allowed. Maximum (1) already reached."},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := outposttest.NewWorld(t, lifecycle.Options{
					Flavors: mustFlavors(t, tc.file), GlobalMaxPerUser: tc.global,
				}).Up(t)
				for _, q := range tc.starts {
					r := outposttest.Request(q.name)
					r.Hub, r.Flavor, r.UserID = q.hub, q.flavor, q.user
					_, err := w.Start(t.Context(), r)
					if q.want == "" {
						if err != nil {
							t.Fatalf("%+v: %v", q, err)
						}
						continue
					}
					wantKind(t, err, outpost.KindQuota)
					if err.Error() != q.want {
						t.Errorf("%+v: got %q", q, err)
					}
				}
			})
		})
	}
}

// A service that is being stopped counts no more, one that is starting does.
func TestQuotaCountsStartingAndNotStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{Flavors: mustFlavors(t, "flavors: {tiny: {max: 1}}")})
		w.Spawner.OnStart = waitOrCancelled(time.Minute)
		w.Up(t)
		one, two := outposttest.Request("one"), outposttest.Request("two")
		one.Flavor, two.Flavor, one.Async = "tiny", "tiny", true
		mustStart(t, w, one)
		synctest.Wait() // its start is under way
		_, err := w.Start(t.Context(), two)
		wantKind(t, err, outpost.KindQuota)
		w.Spawner.Down(errDown)
		if _, err := w.Stop(t.Context(), one.Key, outpost.StopOptions{Async: true}); err != nil {
			t.Fatal(err)
		}
		w.Spawner.Down(nil)
		w.Spawner.OnStart = nil
		mustStart(t, w, two)
	})
}

// See protocol 4.6.
func TestQuotaHoldsUnderParallelStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{Flavors: mustFlavors(t, "flavors: {tiny: {max: 7}}")}).Up(t)
		var starts sync.WaitGroup
		for i := range 64 {
			starts.Go(func() {
				r := outposttest.Request(fmt.Sprint("lab-", i))
				r.Flavor = "tiny"
				_, _ = w.Start(t.Context(), r)
			})
		}
		starts.Wait()
		if n := len(w.Spawner.Pods()); n != 7 {
			t.Errorf("%d pods", n)
		}
	})
}

func TestFlavorUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(
			t,
			lifecycle.Options{
				Hubs:    []outpost.Hub{eventHub()},
				Flavors: mustFlavors(t, "flavors: {typea: {max: 5}, typeb: {}}"),
			},
		).Up(t)
		updates := func() []outposttest.Call {
			synctest.Wait()
			return w.HubAPI.Calls("flavors")
		}
		for i := range 5 {
			r := eventRequest(fmt.Sprint("lab-", i))
			r.Flavor = "typea"
			r.Body.Env["JUPYTERHUB_FLAVORS_UPDATE_TOKEN"] = "secret1"
			mustStart(t, w, r)
			want := outposttest.Call{
				What:  "flavors",
				URL:   hubURL + "/outpostflavors/north",
				Token: "secret1",
				Flavors: map[string]flavor.Flavor{
					"typea": {"max": 5, "current": i + 1}, "typeb": {"current": 0},
				},
			}
			got := updates()
			if len(got) != i+1 {
				t.Fatalf("%d updates after start %d", len(got), i+1)
			}
			if diff := cmp.Diff(want, got[i]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		sixth := eventRequest("lab-5")
		sixth.Flavor = "typea"
		_, err := w.Start(t.Context(), sixth)
		wantKind(t, err, outpost.KindQuota)
		if n := len(updates()); n != 5 {
			t.Errorf("%d updates after a refusal", n)
		}
		if _, err := w.Stop(t.Context(), outposttest.Key("lab-0"), outpost.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		got := updates()
		if len(got) != 6 || got[5].Flavors["typea"]["current"] != 4 {
			t.Errorf("updates after the stop: %+v", got[5:])
		}
		mustStart(t, w, sixth)
		got = updates()
		if len(got) != 7 || got[6].Token != "hub-flavors-token" {
			t.Errorf("update with the hub's own token: %+v", got[6:])
		}
		silent := outposttest.Request("silent")
		silent.Flavor = "typeb"
		mustStart(t, w, silent)
		if n := len(updates()); n != 7 {
			t.Errorf("%d updates after a start without the URL", n)
		}
	})
}

func TestNoTokenNoUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := eventHub()
		h.FlavorsToken = ""
		w := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{h}}).Up(t)
		mustStart(t, w, eventRequest("lab-one"))
		synctest.Wait()
		if got := w.HubAPI.Calls("flavors"); len(got) > 0 {
			t.Errorf("updates %v", got)
		}
	})
}

func TestReplacedFlavorsApplyToTheNextStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{Flavors: mustFlavors(t, "flavors: {old: {}}")}).Up(t)
		r := outposttest.Request("lab-one")
		r.Flavor = "new"
		_, err := w.Start(t.Context(), r)
		wantKind(t, err, outpost.KindQuota)
		w.SetFlavors(mustFlavors(t, "flavors: {new: {resources: {cpu_limit: 2}}}"))
		mustStart(t, w, r)
		want := flavor.Flavor{"resources": map[string]any{"cpu_limit": 2}}
		if diff := cmp.Diff(want, w.Spawner.Flavor(r.Key)); diff != "" {
			t.Errorf("flavor of the pod (-want +got):\n%s", diff)
		}
	})
}
