package lifecycle_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// Start and stop of a server are uses of its home; those who remove homes go by them. A database that cannot note them
// is in nobody's way.
func TestUseOfHomesIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{})
		w.Spawner.Home = "claim-maria"
		w.Up(t)
		used := func() time.Time {
			t.Helper()
			synctest.Wait()
			all, err := w.Store.Homes(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return all[outpost.Home{Namespace: "outpost", Name: "claim-maria"}]
		}
		r := outposttest.Request("lab-one")
		begin := time.Now()
		mustStart(t, w, r)
		if at := used(); !at.Equal(begin) {
			t.Errorf("used at %s, started at %s", at, begin)
		}
		time.Sleep(time.Hour)
		if _, err := w.Stop(t.Context(), r.Key, outpost.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		if at := used(); !at.Equal(begin.Add(time.Hour)) {
			t.Errorf("used at %s, stopped an hour after %s", at, begin)
		}
		w.Store.Fail(func(op string) error {
			if op == "UseHome" {
				return errDown
			}
			return nil
		})
		r.StartID = "next"
		mustStart(t, w, r)
	})
}
