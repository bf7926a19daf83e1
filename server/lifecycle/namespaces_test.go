package lifecycle_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// A namespace that cannot be read, as one deleted with its Role, costs the services of the others nothing, and its own
// only what cannot be known (protocol 2.12).
func TestOneUnreadableNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{})
		put := func(name, namespace string, change func(*outpost.Service)) outpost.Key {
			w.Store.Put(row(name, func(s *outpost.Service) {
				s.State["namespace"] = namespace
				change(s)
			}))
			return outposttest.Key(name)
		}
		pending := func(s *outpost.Service) { s.StartPending, s.StateStored, s.Address = true, false, "" }
		short := func(s *outpost.Service) { s.EndDate = s.StartDate.Add(time.Hour) }
		put("left-over", "outpost", pending)
		w.Spawner.AddPod(put("over", "outpost", short))
		ended := put("ended", "outpost", func(*outpost.Service) {})
		w.Spawner.AddPod(ended)
		w.Spawner.AddPod(outposttest.Key("stray"))
		hiddenPending := put("hidden-pending", "closed", pending)
		hidden := put("hidden", "closed", func(*outpost.Service) {})
		put("hidden-over", "closed", short)
		w.Spawner.Hide("closed")
		w.Up(t)

		if !isClosed(w.Reconciled()) {
			t.Fatal("left-overs are not dealt with")
		}
		if diff := cmp.Diff([]string{"closed"}, w.Unseen()); diff != "" {
			t.Errorf("unseen (-want +got):\n%s", diff)
		}
		w.Spawner.End(ended, 7, "")
		wantPoll(t, w, ended, outpost.PollResult{Ended: true, ExitCode: 7})
		time.Sleep(3 * time.Hour)
		if diff := cmp.Diff([]outpost.Key{ended, hidden, hiddenPending}, w.Store.Rows()); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]outpost.Key{ended}, w.Spawner.Pods()); diff != "" {
			t.Errorf("pods (-want +got):\n%s", diff)
		}

		w.Spawner.Hide()
		time.Sleep(2 * time.Minute)
		if diff := cmp.Diff([]outpost.Key{ended}, w.Store.Rows()); diff != "" {
			t.Errorf("rows once it can be read (-want +got):\n%s", diff)
		}
		if len(w.Unseen()) > 0 {
			t.Errorf("still unseen: %v", w.Unseen())
		}
	})
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// End dates need the services in memory alone: neither pods nor rows have to be listed.
func TestEndDatesHoldWithoutReconciliation(t *testing.T) {
	for name, breaks := range map[string]func(w *outposttest.World){
		"rows": func(w *outposttest.World) { w.Store.Fail(failing("All")) },
		"pods": func(w *outposttest.World) { w.Spawner.Down(errDown) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := outposttest.NewWorld(t, lifecycle.Options{})
				w.Store.Put(row("lab-one", func(s *outpost.Service) { s.EndDate = s.StartDate.Add(time.Hour) }))
				w.Spawner.AddPod(outposttest.Key("lab-one"))
				w.UpFollower(t) // loads the rows
				breaks(w)
				lead(t, w)
				time.Sleep(time.Hour + 2*time.Minute)
				if w.Spawner.Stops(outposttest.Key("lab-one")) == 0 {
					t.Error("nobody has tried to stop the server")
				}
				w.Spawner.Down(nil)
				time.Sleep(time.Minute)
				wantNothing(t, w)
			})
		})
	}
}

// lead does the leader's work until the end of the test.
func lead(t *testing.T, w *outposttest.World) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	loops.Go(func() {
		if err := w.RunLeader(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		loops.Wait()
	})
}
