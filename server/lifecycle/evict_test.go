package lifecycle_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/maintenance"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// Fifty servers and a start that is under way end with a maintenance that says so: every user is told twice before,
// nothing is left but homes, and nobody can start anything until it is over (protocol 2.14).
func TestEvictForAMaintenance(t *testing.T) {
	const servers = 50
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{eventHub()}}).Up(t)
		want := map[string]int{} // notices, by URL
		for i := range servers {
			r := eventRequest(fmt.Sprintf("lab-%d", i))
			mustStart(t, w, r)
			want[r.Body.Env["JUPYTERHUB_EVENTS_URL"]] = 2
		}
		var pods sync.WaitGroup
		defer pods.Wait()
		w.Spawner.OnStart = waitOrCancelled(24 * time.Hour)
		late := eventRequest("late")
		from := time.Now().Add(2 * time.Hour)
		planned := &outpost.Maintenance{From: from, Until: from.Add(time.Hour), Text: "New <disks>.", Evict: true}
		if err := w.Store.SetMaintenance(t.Context(), planned); err != nil {
			t.Fatal(err)
		}
		keeper := maintenance.NewKeeper(w.Manager, time.Now, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		pods.Go(func() { keeper.Lead(ctx) })

		time.Sleep(time.Until(from) - time.Minute)
		pods.Go(func() { _, _ = w.Start(context.Background(), late) })
		synctest.Wait()
		if n := len(w.Spawner.Pods()); n < servers {
			t.Fatalf("%d servers run a minute before", n)
		}
		time.Sleep(2 * time.Minute)
		wantNothing(t, w)
		want[late.Body.Env["JUPYTERHUB_EVENTS_URL"]] = 1
		got := map[string]int{}
		sentence := "This server is stopped at " + from.UTC().Format("2006-01-02 15:04 MST") +
			", when a maintenance begins: save your work. New <disks>."
		for _, c := range w.HubAPI.Calls("event") {
			if !c.Event.Notice {
				continue
			}
			if got[c.URL]++; c.Event.Message != sentence || c.Token == "" {
				t.Errorf("notice %+v", c.Event)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("notices (-want +got):\n%s", diff)
		}
		if _, err := w.Start(t.Context(), eventRequest("early")); outpost.KindOf(err) != outpost.KindUnavailable {
			t.Errorf("a start meanwhile: %v", err)
		}
		time.Sleep(time.Hour)
		w.Spawner.OnStart = nil
		mustStart(t, w, eventRequest("after"))
		time.Sleep(time.Hour)
		if n := len(w.Spawner.Pods()); n != 1 {
			t.Errorf("%d servers run an hour after", n)
		}
		cancel()
	})
}

// What cannot be told, or stopped, is no error: the row cannot be opened, or is gone.
func TestEvictAndTellNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one") // names no URL
		mustStart(t, w, r)
		for _, k := range []outpost.Key{r.Key, outposttest.Key("gone")} {
			if err := w.Tell(t.Context(), k, "It ends."); err != nil {
				t.Errorf("%v: %v", k, err)
			}
		}
		if calls := w.HubAPI.Calls("event"); len(calls) > 0 {
			t.Errorf("calls %v", calls)
		}
		w.Evict(outposttest.Key("gone"))
		w.Evict(r.Key)
		wantNothing(t, w)
	})
}
