package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
	"github.com/outposts-dev/outposts/server/watch"
)

// watching opens a watch of hub-a and reads its snapshot, which is returned.
func watching(t *testing.T, w *outposttest.World) (*watch.Watch, []watch.Event) {
	t.Helper()
	watched, err := w.Watch(t.Context(), "hub-a")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watched.Close)
	return watched, readTo(t, watched, watch.KindSynced)
}

// readTo reads until an event of a kind, which is the last one that is returned. Heartbeats are left out.
func readTo(t *testing.T, watched *watch.Watch, last watch.Kind) (all []watch.Event) {
	t.Helper()
	for range 1000 {
		events, err := watched.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Kind != watch.KindHeartbeat || last == watch.KindHeartbeat {
				all = append(all, e)
			}
		}
		if len(all) > 0 && all[len(all)-1].Kind == last {
			return all
		}
	}
	t.Fatalf("no event of kind %v: %v", last, all)
	return nil
}

func service(k outpost.Key, r outpost.PollResult) watch.Event {
	return watch.Event{Kind: watch.KindService, Key: k, Result: r}
}

func wantEvents(t *testing.T, want, got []watch.Event) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// A life of a service as its hub sees it, each step at once (protocol 1.13).
func TestWatchALife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{})
		started := make(chan struct{})
		w.Spawner.OnStart = func(context.Context, outpost.Key, func(outpost.Event)) error { <-started; return nil }
		w.Up(t)
		watched, snapshot := watching(t, w)
		wantEvents(t, []watch.Event{{Kind: watch.KindSynced}}, snapshot)
		begin := time.Now()

		r := outposttest.Request("lab-one")
		r.Async = true
		mustStart(t, w, r)
		wantEvents(t, []watch.Event{service(r.Key, outpost.PollResult{})}, readTo(t, watched, watch.KindService))
		close(started)
		synctest.Wait()

		w.Spawner.Log(r.Key, "boom")
		w.Spawner.End(r.Key, 137, "It was killed.")
		end := outpost.PollResult{Ended: true, ExitCode: 137, Logs: []string{"boom"}}
		wantEvents(t, []watch.Event{service(r.Key, end)}, readTo(t, watched, watch.KindService))
		wantPoll(t, w, r.Key, end)

		w.Spawner.Lose(r.Key) // the ended pod is tidied away
		if _, err := w.Stop(t.Context(), r.Key, outpost.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		got := readTo(t, watched, watch.KindGone)
		wantEvents(t, []watch.Event{{Kind: watch.KindGone, Key: r.Key}}, got[len(got)-1:])
		if took := time.Since(begin); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// A start that fails, and one that is refused (protocol 2.3).
func TestWatchAFailedStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{})
		w.Spawner.OnStart = func(context.Context, outpost.Key, func(outpost.Event)) error {
			return outpost.Errorf(outpost.KindFailed, "It cannot start.")
		}
		removed := make(chan struct{})
		w.Spawner.OnStop = func(context.Context, outpost.Key) error { <-removed; return nil }
		w.Up(t)
		watched, _ := watching(t, w)
		r := outposttest.Request("lab-one")
		r.Async = true
		mustStart(t, w, r)
		synctest.Wait()
		failed := outpost.PollResult{Ended: true, ExitCode: 1}
		wantEvents(t, []watch.Event{service(r.Key, failed)}, readTo(t, watched, watch.KindService))
		close(removed)
		wantEvents(t, []watch.Event{{Kind: watch.KindGone, Key: r.Key}}, readTo(t, watched, watch.KindGone))
	})
}

// Unreachable is never ended: neither Kubernetes nor the database nor a row that cannot be opened.
func TestWatchOfWhatIsNotKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{})
		var away atomic.Bool
		w.Spawner.OnPoll = func(outpost.Key) error {
			if away.Load() {
				return outpost.NotListed(errors.New("no answer"))
			}
			return nil
		}
		w.Up(t)
		r := outposttest.Request("lab-one")
		mustStart(t, w, r)
		watched, _ := watching(t, w)
		away.Store(true)
		w.Spawner.Lose(r.Key)
		wantEvents(t, []watch.Event{{Kind: watch.KindUnknown, Key: r.Key}}, readTo(t, watched, watch.KindUnknown))
		time.Sleep(time.Minute)
		away.Store(false)
		wantEvents(t, []watch.Event{service(r.Key, outpost.PollResult{Ended: true, ExitCode: 1})},
			readTo(t, watched, watch.KindService))
		w.Down()

		w.Store.Spoil(r.Key)
		again := outposttest.NewWorldOn(t, w.Store, w.Spawner, w.HubAPI, lifecycle.Options{}).Up(t)
		_, snapshot := watching(t, again)
		wantEvents(t, []watch.Event{{Kind: watch.KindUnknown, Key: r.Key}, {Kind: watch.KindSynced, Services: 1}},
			snapshot)
	})
}

// An end is not held up by its log, which follows.
func TestWatchAnEndWithASlowLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{eventHub()}})
		w.Spawner.OnLogs = func(ctx context.Context, _ outpost.Key) error {
			select {
			case <-time.After(3 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		w.Up(t)
		r := eventRequest("lab-one")
		mustStart(t, w, r)
		watched, _ := watching(t, w)
		w.Spawner.Log(r.Key, "boom")
		begin := time.Now()
		w.Spawner.End(r.Key, 2, "")
		wantEvents(t, []watch.Event{service(r.Key, outpost.PollResult{Ended: true, ExitCode: 2, LogsDue: true})},
			readTo(t, watched, watch.KindService))
		if took := time.Since(begin); took > time.Second/2 {
			t.Errorf("after %v", took)
		}
		end := outpost.PollResult{Ended: true, ExitCode: 2, Logs: []string{"boom"}}
		wantEvents(t, []watch.Event{service(r.Key, end)}, readTo(t, watched, watch.KindService))
		synctest.Wait()
		reports := slices.DeleteFunc(events(w), func(e outpost.Event) bool {
			return !strings.Contains(e.HTMLMessage, "boom")
		})
		if len(reports) != 1 {
			t.Errorf("reports of the end: %v", reports)
		}
	})
}

// A watch is no poll; what the hub says it knows is one (protocol 2.11, 6.5).
func TestKnownCountsAsAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		known, other := outposttest.Request("known"), outposttest.Request("other")
		mustStart(t, w, known)
		mustStart(t, w, other)
		watching(t, w)
		time.Sleep(time.Hour)
		now := time.Now()
		keys := []outpost.Key{known.Key, outposttest.Key("nobody"), {Hub: "hub-b", Name: "other", StartID: "0f3c"}}
		if err := w.Known(t.Context(), "hub-a", keys); err != nil {
			t.Fatal(err)
		}
		touches := w.Store.Calls("Touch")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := w.Store.Calls("Touch") - touches; n != 1 {
			t.Errorf("%d writes", n)
		}
		want := map[string]bool{"known": true, "other": false}
		got := map[string]bool{}
		rows, err := w.Store.List(t.Context(), "hub-a")
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			got[row.Name] = !row.LastUpdate.Before(now)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("moved (-want +got):\n%s", diff)
		}
	})
}

// See protocol 1.13, 2.13.
func TestWatchAtAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := twoProcesses(t, lifecycle.Options{})
		a.Spawner.OnStart = waitOrCancelled(3 * time.Second)
		watched, _ := watching(t, b)
		early, late := outposttest.Request("early"), outposttest.Request("late")
		early.Async, late.Async = true, true
		synctest.Wait() // until the other process is told of pods, too
		mustStart(t, a, early)
		begin := time.Now()
		wantEvents(t, []watch.Event{service(early.Key, outpost.PollResult{})}, readTo(t, watched, watch.KindService))
		mustStart(t, a, late)
		_, snapshot := watching(t, b) // what was started anywhere before it is in it
		if n := snapshot[len(snapshot)-1].Services; n != 2 {
			t.Errorf("%d services in the snapshot", n)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("seen after %v", took)
		}
		time.Sleep(10 * time.Second)
		begin = time.Now()
		if _, err := a.Stop(t.Context(), early.Key, outpost.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		got := readTo(t, watched, watch.KindGone)
		for _, e := range got {
			if e.Result.Ended {
				t.Errorf("a server that was stopped is said to have ended: %v", e)
			}
		}
		wantEvents(t, []watch.Event{{Kind: watch.KindGone, Key: early.Key}}, got[len(got)-1:])
		if took := time.Since(begin); took > 1500*time.Millisecond {
			t.Errorf("gone after %v", took)
		}
	})
}

// While another process works on a service it is not gone, whatever its pod does, and while the database is away
// nobody is.
func TestWatchSaysGoneOnlyWhenTheRowIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := twoProcesses(t, lifecycle.Options{})
		r := outposttest.Request("lab-one")
		mustStart(t, a, r)
		watched, _ := watching(t, b)
		stopping := make(chan struct{})
		var deleted atomic.Bool
		a.Store.OnCall(func(op string) {
			if op == "Delete" && deleted.CompareAndSwap(false, true) {
				<-stopping
			}
		})
		answer := make(chan error, 1)
		go func() {
			_, err := a.Stop(t.Context(), r.Key, outpost.StopOptions{})
			answer <- err
		}()
		wantEvents(t, []watch.Event{{Kind: watch.KindHeartbeat}}, readTo(t, watched, watch.KindHeartbeat))
		a.Store.Fail(func(string) error { return errDown })
		time.Sleep(20 * time.Second)
		b.Changed(r.Key)
		synctest.Wait()
		for _, e := range readTo(t, watched, watch.KindHeartbeat) {
			if e.Kind == watch.KindGone || e.Result.Ended {
				t.Errorf("%v while the database is away", e)
			}
		}
		a.Store.Fail(nil)
		close(stopping)
		if err := <-answer; err != nil {
			t.Error(err)
		}
		readTo(t, watched, watch.KindGone)
	})
}

// A snapshot that a database could not be read for would lack what other processes start.
func TestNoWatchWithoutRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, b := twoProcesses(t, lifecycle.Options{})
		b.Store.Fail(func(string) error { return errDown })
		_, err := b.Watch(t.Context(), "hub-a")
		wantKind(t, err, outpost.KindUnavailable)
		b.Store.Fail(nil)
		watching(t, b)
	})
}

func TestWatchEndsWithTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		watched, _ := watching(t, w)
		ended := make(chan error, 1)
		go func() {
			_, err := watched.Next(context.Background())
			ended <- err
		}()
		synctest.Wait()
		w.Down()
		if err := <-ended; !errors.Is(err, watch.ErrEnded) {
			t.Errorf("%v", err)
		}
	})
}

// Many servers that end at once, with logs that cannot be read, are known at once.
func TestWatchManyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{})
		w.Spawner.OnLogs = func(ctx context.Context, _ outpost.Key) error { <-ctx.Done(); return ctx.Err() }
		w.Up(t)
		const many = 500
		for i := range many {
			mustStart(t, w, outposttest.Request(fmt.Sprint("lab-", i)))
		}
		watched, _ := watching(t, w)
		begin := time.Now()
		for i := range many {
			w.Spawner.End(outposttest.Key(fmt.Sprint("lab-", i)), 137, "")
		}
		known := map[outpost.Key]bool{}
		for len(known) < many {
			for _, e := range readTo(t, watched, watch.KindService) {
				known[e.Key] = known[e.Key] || e.Result.Ended
			}
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("after %v", took)
		}
	})
}
