package lifecycle_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// A hub that has lost its database, or got an old one back, lists none of its servers for a while (protocol 2.11).
func TestListWithoutAnyServerIsBelievedTwice(t *testing.T) {
	const interval = 30 * time.Minute
	one, two, three := outposttest.Key("one"), outposttest.Key("two"), outposttest.Key("three")
	every := []string{"42_one_0f3c", "42_two_0f3c", "42_three_0f3c"}
	for name, tc := range map[string]struct {
		lists [][]string // of the rounds after the first; nil is a hub that does not answer
		want  []outpost.Key
	}{
		"once":                     {[][]string{{}}, []outpost.Key{one, three, two}},
		"once, of other servers":   {[][]string{{"7_old_1", "8_old_1"}}, []outpost.Key{one, three, two}},
		"once, and then all":       {[][]string{{}, every}, []outpost.Key{one, three, two}},
		"twice":                    {[][]string{{}, {}}, []outpost.Key{}},
		"not twice in a row":       {[][]string{{}, every, {}}, []outpost.Key{one, three, two}},
		"with an error between":    {[][]string{{}, nil, {}}, []outpost.Key{one, three, two}},
		"once, and then some":      {[][]string{{}, every[:2]}, []outpost.Key{one, two}},
		"some are missing at once": {[][]string{every[:1]}, []outpost.Key{one}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				call := outpost.HubCall{URL: "https://a.org/hub/api/servers", Token: "a"}
				h := outpost.Hub{Name: "hub-a", Servers: &call}
				w := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{h}, Cleanup: interval})
				var down atomic.Bool
				w.HubAPI.OnCall(func(context.Context, outposttest.Call) error {
					if down.Load() {
						return errDown
					}
					return nil
				})
				for _, k := range []outpost.Key{one, two, three} {
					w.Store.Put(row(k.Name, func(s *outpost.Service) { s.StartDate = s.StartDate.Add(-2 * interval) }))
					w.Spawner.AddPod(k)
				}
				w.HubAPI.SetServers(h.Servers.URL, every...)
				w.Up(t)
				time.Sleep(interval / 2)
				for _, list := range tc.lists {
					down.Store(list == nil)
					w.HubAPI.SetServers(h.Servers.URL, list...)
					time.Sleep(interval)
				}
				if diff := cmp.Diff(tc.want, w.Spawner.Pods()); diff != "" {
					t.Errorf("pods (-want +got):\n%s", diff)
				}
			})
		})
	}
}
