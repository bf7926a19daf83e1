package lifecycle_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

var errDown = errors.New("connection refused")

// mustStart starts a service and fails the test unless its address is the expected one.
func mustStart(t *testing.T, w *outposttest.World, r outpost.StartRequest) {
	t.Helper()
	address, err := w.Start(t.Context(), r)
	if err != nil {
		t.Fatalf("start %v: %v", r.Key, err)
	}
	want := ""
	if !r.Async {
		want = fmt.Sprintf("http://%s:41234", outposttest.Host(r.Key))
	}
	if address != want {
		t.Fatalf("start %v: address %q, want %q", r.Key, address, want)
	}
}

// wantPoll fails the test unless a poll is answered as expected.
func wantPoll(t *testing.T, w *outposttest.World, k outpost.Key, want outpost.PollResult) {
	t.Helper()
	got, err := w.Poll(t.Context(), k, false)
	if err != nil {
		t.Fatalf("poll %v: %v", k, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("poll %v (-want +got):\n%s", k, diff)
	}
}

// wantKind fails the test unless an error has a kind.
func wantKind(t *testing.T, err error, want outpost.Kind) {
	t.Helper()
	if err == nil || outpost.KindOf(err) != want {
		t.Fatalf("error %v (kind %v), want kind %v", err, outpost.KindOf(err), want)
	}
}

// wantNothing fails the test unless there are neither rows nor pods.
func wantNothing(t *testing.T, w *outposttest.World) {
	t.Helper()
	synctest.Wait()
	if rows, pods := w.Store.Rows(), w.Spawner.Pods(); len(rows)+len(pods) > 0 {
		t.Fatalf("left over: rows %v, pods %v", rows, pods)
	}
}

func TestStartPollStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one")
		mustStart(t, w, r)
		wantPoll(t, w, r.Key, outpost.PollResult{})
		logs, err := w.Stop(t.Context(), r.Key, outpost.StopOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{}, logs); diff != "" {
			t.Errorf("logs (-want +got):\n%s", diff)
		}
		_, err = w.Poll(t.Context(), r.Key, false)
		wantKind(t, err, outpost.KindNotFound)
		wantNothing(t, w)
	})
}

func TestAsynchronousStartAndStopAnswerAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{})
		w.Spawner.OnStart = waitOrCancelled(75 * time.Second)
		w.Spawner.OnStop = func(ctx context.Context, _ outpost.Key) error { time.Sleep(30 * time.Second); return nil }
		w.Up(t)
		r := outposttest.Request("lab-one")
		r.Async = true
		begin := time.Now()
		mustStart(t, w, r)
		wantPoll(t, w, r.Key, outpost.PollResult{})
		time.Sleep(100 * time.Second)
		wantPoll(t, w, r.Key, outpost.PollResult{})
		begin = begin.Add(100 * time.Second)
		if _, err := w.Stop(t.Context(), r.Key, outpost.StopOptions{Async: true}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("answers took %v", took)
		}
		wantPoll(t, w, r.Key, outpost.PollResult{})
		time.Sleep(31 * time.Second)
		_, err := w.Poll(t.Context(), r.Key, false)
		wantKind(t, err, outpost.KindNotFound)
		wantNothing(t, w)
	})
}

// waitOrCancelled is a start that takes d unless it is cancelled.
func waitOrCancelled(d time.Duration) func(context.Context, outpost.Key, func(outpost.Event)) error {
	return func(ctx context.Context, _ outpost.Key, _ func(outpost.Event)) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// See protocol 2.4.
func TestDuplicateStartIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one")
		mustStart(t, w, r)
		_, err := w.Start(t.Context(), r)
		wantKind(t, err, outpost.KindConflict)
		const want = "lab-one - This server is already started or being stopped (start id 0f3c); " +
			"a new start needs a new start id."
		if err.Error() != want {
			t.Errorf("message %q, want %q", err, want)
		}
		if n := w.Spawner.Starts(r.Key); n != 1 {
			t.Errorf("%d pods were made", n)
		}
		wantPoll(t, w, r.Key, outpost.PollResult{})
	})
}

// See protocol 2.4.
func TestParallelDuplicatesMakeOnePod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one")
		var starts sync.WaitGroup
		results := make(chan error, 64)
		for range cap(results) {
			starts.Go(func() {
				_, err := w.Start(t.Context(), r)
				results <- err
			})
		}
		starts.Wait()
		close(results)
		good := 0
		for err := range results {
			if err == nil {
				good++
			} else {
				wantKind(t, err, outpost.KindConflict)
			}
		}
		if good != 1 || w.Spawner.Starts(r.Key) != 1 || len(w.Store.Rows()) != 1 {
			t.Errorf("%d good answers, %d pods, rows %v", good, w.Spawner.Starts(r.Key), w.Store.Rows())
		}
	})
}

// The start id of clients that send none is always "0".
func TestStartIDDefaultsToZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one")
		r.StartID = ""
		if _, err := w.Start(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		wantPoll(t, w, outpost.Key{Hub: "hub-a", Name: "lab-one", StartID: "0"}, outpost.PollResult{})
	})
}

func TestEmptyStartIDNeverMatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		mustStart(t, w, outposttest.Request("lab-one"))
		k := outpost.Key{Hub: "hub-a", Name: "lab-one"}
		_, err := w.Poll(t.Context(), k, false)
		wantKind(t, err, outpost.KindNotFound)
		_, err = w.Stop(t.Context(), k, outpost.StopOptions{})
		wantKind(t, err, outpost.KindNotFound)
		if len(w.Spawner.Pods()) != 1 {
			t.Error("the service is gone")
		}
	})
}

// See protocol 1.3.
func TestUnnamedServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("")
		mustStart(t, w, r)
		wantPoll(t, w, r.Key, outpost.PollResult{})
		if _, err := w.Stop(t.Context(), r.Key, outpost.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		wantNothing(t, w)
	})
}

func TestAnotherHubGetsNotFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one")
		mustStart(t, w, r)
		foreign := r.Key
		foreign.Hub = "hub-b"
		_, err := w.Poll(t.Context(), foreign, false)
		wantKind(t, err, outpost.KindNotFound)
		_, err = w.Stop(t.Context(), foreign, outpost.StopOptions{})
		wantKind(t, err, outpost.KindNotFound)
		if _, err := w.Stop(t.Context(), r.Key, outpost.StopOptions{}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTwoHubsMayRunTheSameName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		a, b := outposttest.Request("lab-one"), outposttest.Request("lab-one")
		b.Hub = "hub-b"
		mustStart(t, w, a)
		mustStart(t, w, b)
		if diff := cmp.Diff([]outpost.Key{a.Key, b.Key}, w.Spawner.Pods()); diff != "" {
			t.Errorf("pods (-want +got):\n%s", diff)
		}
	})
}

func TestHubListsOnlyItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one")
		now := time.Now().UTC()
		mustStart(t, w, r)
		want := []outpost.Summary{
			{Key: r.Key, UserID: 42, StartDate: now, LastUpdate: now, EndDate: outpost.NoEnd, StateStored: true},
		}
		for hub, want := range map[string][]outpost.Summary{"hub-a": want, "hub-b": {}} {
			got, err := w.List(t.Context(), hub)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", hub, diff)
			}
		}
	})
}

func TestPollChangesLastUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one")
		mustStart(t, w, r)
		time.Sleep(3 * time.Second)
		polled := time.Now().UTC()
		wantPoll(t, w, r.Key, outpost.PollResult{})
		list, err := w.List(t.Context(), "hub-a")
		if err != nil {
			t.Fatal(err)
		}
		if got := list[0].LastUpdate; !got.Equal(polled) {
			t.Errorf("listed last update %v, want %v", got, polled)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		row, err := w.Store.Get(t.Context(), r.Key)
		if err != nil {
			t.Fatal(err)
		}
		if !row.LastUpdate.Equal(polled) {
			t.Errorf("stored last update %v, want %v", row.LastUpdate, polled)
		}
		if n := w.Store.Calls("Touch"); n != 1 {
			t.Errorf("%d writes", n)
		}
	})
}

func TestPollOfServiceInMemoryNeedsNoStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one")
		mustStart(t, w, r)
		w.Store.Fail(func(string) error { return errDown })
		wantPoll(t, w, r.Key, outpost.PollResult{})
		k := outposttest.Key("unknown")
		_, err := w.Poll(t.Context(), k, false)
		wantKind(t, err, outpost.KindUnavailable)
	})
}

// See protocol 2.7.
func TestPollEnded(t *testing.T) {
	for _, code := range []int{0, 137} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
				r := outposttest.Request("lab-one")
				mustStart(t, w, r)
				w.Spawner.Log(r.Key, "first", "last")
				w.Spawner.End(r.Key, code, "")
				want := outpost.PollResult{Ended: true, ExitCode: code}
				if code != 0 {
					want.Logs = []string{"first", "last"}
				}
				wantPoll(t, w, r.Key, want)
				w.Spawner.Lose(r.Key) // the ended pod is tidied away
				wantPoll(t, w, r.Key, want)
			})
		})
	}
}

// See protocol 2.8.
func TestPollCollectsLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{LogLines: 2}).Up(t)
		r := outposttest.Request("lab-one")
		mustStart(t, w, r)
		w.Spawner.Log(r.Key, "one", "two", "Papermill Job completed")
		got, err := w.Poll(t.Context(), r.Key, true)
		if err != nil {
			t.Fatal(err)
		}
		want := outpost.PollResult{Logs: []string{"two", "Papermill Job completed"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		logs, err := w.Stop(t.Context(), r.Key, outpost.StopOptions{CollectLogs: true})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Logs, logs); diff != "" {
			t.Errorf("logs of the stop (-want +got):\n%s", diff)
		}
	})
}

// See protocol 2.6.
func TestWrongAddressFailsTheStart(t *testing.T) {
	for _, port := range []string{"0", "70000"} {
		synctest.Test(t, func(t *testing.T) {
			w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
			r := outposttest.Request("lab-one")
			r.Body.Misc["port"] = json.RawMessage(port)
			_, err := w.Start(t.Context(), r)
			wantKind(t, err, outpost.KindInternal)
			wantNothing(t, w)
		})
	}
}

// See protocol 5.4.
func TestPermitOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one")
		host := outposttest.Host(r.Key)
		open := func(hub, host string, port int) bool {
			address, ok := w.PermitOpen(t.Context(), hub, host, port)
			if ok && address != fmt.Sprintf("%s:%d", host, port) {
				t.Errorf("address %q", address)
			}
			return ok
		}
		if open("hub-a", host, 41234) {
			t.Error("open before the start")
		}
		mustStart(t, w, r)
		if !open("hub-a", host, 41234) {
			t.Error("not open to its hub")
		}
		if open("hub-b", host, 41234) || open("hub-a", host, 22) || open("hub-a", "10.0.0.1", 443) ||
			open("hub-a", host, -1) {
			t.Error("open to others or elsewhere")
		}
		if _, err := w.Stop(t.Context(), r.Key, outpost.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		if open("hub-a", host, 41234) {
			t.Error("open after the stop")
		}
	})
}

// Rows of the Python outpost hold https with internal TLS.
func TestPermitOpenOfAdoptedRows(t *testing.T) {
	for address, want := range map[string]bool{
		"https://jupyter-a.outpost.svc.cluster.local:41234": true,
		"http://jupyter-a.outpost.svc.cluster.local:41234":  true,
		"jupyter-a.outpost.svc.cluster.local:41234":         true,
		"http://jupyter-a.outpost.svc.cluster.local:41234/": false,
		"ftp://jupyter-a.outpost.svc.cluster.local:41234":   false, "": false,
	} {
		t.Run(address, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := outposttest.NewWorld(t, lifecycle.Options{})
				w.Store.Put(row("lab-one", func(s *outpost.Service) { s.Address = address }))
				w.Spawner.AddPod(outposttest.Key("lab-one"))
				w.Up(t)
				const host = "jupyter-a.outpost.svc.cluster.local"
				if _, ok := w.PermitOpen(t.Context(), "hub-a", host, 41234); ok != want {
					t.Errorf("open: %v, want %v", ok, want)
				}
			})
		})
	}
}

func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		mustStart(t, w, outposttest.Request("one"))
		mustStart(t, w, outposttest.Request("two"))
		want := []lifecycle.Count{
			{Hub: "hub-a", State: "running", Services: 2},
			{Hub: "hub-a", State: "starting"},
			{Hub: "hub-a", State: "stopping"},
			{Hub: "hub-b", State: "running"},
			{Hub: "hub-b", State: "starting"},
			{Hub: "hub-b", State: "stopping"},
		}
		if diff := cmp.Diff(want, w.Counts()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
