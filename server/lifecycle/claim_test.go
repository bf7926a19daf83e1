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

// failing lets the named calls of the Store fail as a database does that does not answer.
func failing(calls ...string) func(op string) error {
	return func(op string) error {
		for _, call := range calls {
			if op == call {
				return errDown
			}
		}
		return nil
	}
}

// wantOnly fails the test unless a service is all that there is, in rows and pods, and was never stopped.
func wantOnly(t *testing.T, w *outposttest.World, k outpost.Key) {
	t.Helper()
	if diff := cmp.Diff([]outpost.Key{k}, w.Store.Rows()); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]outpost.Key{k}, w.Spawner.Pods()); diff != "" {
		t.Errorf("pods (-want +got):\n%s", diff)
	}
	if n := w.Spawner.Stops(k); n != 0 {
		t.Errorf("stopped %d times", n)
	}
}

// A hub sends a start again, with its id, to another process, whose insert fails without a word whether it was done.
func TestResentStartLeavesTheServerOfAnotherProcess(t *testing.T) {
	for name, down := range map[string][]string{
		"the insert times out":              {"Insert"},
		"then the database does not answer": {"Insert", "Get", "List", "MarkStopping", "Delete"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := twoProcesses(t, lifecycle.Options{})
				r := outposttest.Request("lab-one")
				mustStart(t, a, r)
				time.Sleep(time.Second) // two starts have two dates
				a.Store.Fail(failing(down...))
				_, err := b.Start(t.Context(), r)
				wantKind(t, err, outpost.KindUnavailable)
				for range 40 {
					if result, err := b.Poll(t.Context(), r.Key, false); err == nil && result.Ended {
						t.Fatalf("poll while the row is in doubt: %+v", result)
					}
					time.Sleep(time.Second)
				}
				a.Store.Fail(nil)
				time.Sleep(10 * time.Minute)
				wantOnly(t, a, r.Key)
				wantPoll(t, a, r.Key, outpost.PollResult{})
				wantPoll(t, b, r.Key, outpost.PollResult{})
			})
		})
	}
}

// The same, the other way round: the first process has not inserted anything, and finds out only when the second runs
// the server.
func TestDoubtfulStartLeavesALaterOneOfAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := twoProcesses(t, lifecycle.Options{})
		r := outposttest.Request("lab-one")
		a.Store.Fail(failing("Insert", "Get"))
		_, err := b.Start(t.Context(), r)
		wantKind(t, err, outpost.KindUnavailable)
		a.Store.Fail(failing("Get"))
		time.Sleep(time.Second)
		mustStart(t, a, r)
		a.Store.Fail(nil)
		time.Sleep(10 * time.Minute)
		wantOnly(t, a, r.Key)
		wantPoll(t, b, r.Key, outpost.PollResult{})
	})
}

// A start that was not inserted has made no pod: nothing is removed, since a pod of its key can only be another's.
func TestRefusedInsertRemovesNoPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		w.Store.Fail(failing("Insert"))
		r := outposttest.Request("lab-one")
		_, err := w.Start(t.Context(), r)
		wantKind(t, err, outpost.KindUnavailable)
		time.Sleep(time.Minute)
		if n := w.Spawner.Stops(r.Key); n != 0 {
			t.Errorf("stopped %d times", n)
		}
	})
}

// A DELETE is about the key, whichever process has the server.
func TestStopWhileTheRowIsInDoubt(t *testing.T) {
	for _, async := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a, b := twoProcesses(t, lifecycle.Options{})
			r := outposttest.Request("lab-one")
			mustStart(t, a, r)
			time.Sleep(time.Second)
			a.Store.Fail(failing("Insert", "Get"))
			_, err := b.Start(t.Context(), r)
			wantKind(t, err, outpost.KindUnavailable)
			if _, err := b.Stop(t.Context(), r.Key, outpost.StopOptions{Async: async}); err != nil {
				t.Fatal(err)
			}
			a.Store.Fail(nil)
			time.Sleep(time.Minute)
			wantNothing(t, a)
		})
	}
}

// A start that fails late does not take the server with it that another process has started under the key since.
func TestFailedStartLeavesALaterOneOfAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := twoProcesses(t, lifecycle.Options{})
		var later atomic.Bool
		a.Spawner.OnStart = func(context.Context, outpost.Key, func(outpost.Event)) error {
			if later.Swap(true) {
				return nil
			}
			time.Sleep(2 * time.Second)
			return outpost.Errorf(outpost.KindFailed, "It cannot start.")
		}
		r := outposttest.Request("lab-one")
		failed := make(chan error, 1)
		go func() {
			_, err := a.Start(context.Background(), r)
			failed <- err
		}()
		time.Sleep(time.Second)
		if _, err := b.Stop(t.Context(), r.Key, outpost.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		mustStart(t, b, r)
		wantKind(t, <-failed, outpost.KindFailed)
		time.Sleep(10 * time.Minute)
		if diff := cmp.Diff([]outpost.Key{r.Key}, a.Spawner.Pods()); diff != "" {
			t.Errorf("pods (-want +got):\n%s", diff)
		}
		wantPoll(t, a, r.Key, outpost.PollResult{})
		wantPoll(t, b, r.Key, outpost.PollResult{})
	})
}

// The end date of a server that is gone does not end the one that another process has started under its key.
func TestEndDateIsOfOneStartOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{Shared: true})
		w.Store.Put(row("lab-one", func(s *outpost.Service) { s.EndDate = s.StartDate.Add(2 * time.Minute) }))
		w.Spawner.AddPod(outposttest.Key("lab-one"))
		w.Up(t)
		time.Sleep(time.Minute)
		w.Store.Put(row("lab-one", func(*outpost.Service) {}))
		time.Sleep(20 * time.Minute)
		wantOnly(t, w, outposttest.Key("lab-one"))
	})
}
