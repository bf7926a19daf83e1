package lifecycle_test

import (
	"context"
	"errors"
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

// A stop cancels a start in every combination, and whatever it had made is gone afterwards (protocol 2.9).
func TestStopDuringStart(t *testing.T) {
	for _, startAsync := range []bool{false, true} {
		for _, stopAsync := range []bool{false, true} {
			t.Run(fmt.Sprintf("start async %v, stop async %v", startAsync, stopAsync), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{eventHub()}})
					w.Spawner.OnStart = waitOrCancelled(5 * time.Minute)
					w.Spawner.OnStop = func(context.Context, outpost.Key) error {
						time.Sleep(2 * time.Second)
						return nil
					}
					w.Up(t)
					r := eventRequest("lab-one")
					r.Async = startAsync
					answer := make(chan error, 1)
					go func() {
						_, err := w.Start(context.Background(), r)
						answer <- err
					}()
					time.Sleep(time.Minute)
					begin := time.Now()
					if _, err := w.Stop(t.Context(), r.Key, outpost.StopOptions{Async: stopAsync}); err != nil {
						t.Fatal(err)
					}
					want := 2 * time.Second
					if stopAsync {
						want = 0
					}
					if took := time.Since(begin); took != want {
						t.Errorf("the stop took %v, want %v", took, want)
					}
					time.Sleep(3 * time.Second)
					err := <-answer
					if startAsync != (err == nil) {
						t.Errorf("answer of the start: %v", err)
					}
					wantNothing(t, w)
					if n := w.Spawner.Stops(r.Key); n != 1 {
						t.Errorf("the pod was removed %d times", n)
					}
					for _, call := range w.HubAPI.Calls("event") {
						if call.Event.Failed {
							t.Errorf("a stopped start sent %+v", call.Event)
						}
					}
				})
			})
		}
	}
}

// The client gives up on a synchronous POST and sends DELETE two seconds later: the most common case.
func TestClientTimesOutOnSynchronousStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{})
		w.Spawner.OnStart = waitOrCancelled(75 * time.Second)
		w.Up(t)
		r := outposttest.Request("lab-one")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := w.Start(ctx, r)
		wantKind(t, err, outpost.KindUnavailable)
		wantPoll(t, w, r.Key, outpost.PollResult{})
		time.Sleep(2 * time.Second)
		if _, err := w.Stop(t.Context(), r.Key, outpost.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		wantNothing(t, w)
	})
}

// A start goes on when its client has hung up (protocol 2.2).
func TestStartOutlivesItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{})
		w.Spawner.OnStart = waitOrCancelled(75 * time.Second)
		w.Up(t)
		r := outposttest.Request("lab-one")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := w.Start(ctx, r)
		wantKind(t, err, outpost.KindUnavailable)
		time.Sleep(time.Minute)
		row, err := w.Store.Get(t.Context(), r.Key)
		if err != nil || row.StartPending || !row.StateStored {
			t.Errorf("row %+v, error %v", row, err)
		}
	})
}

// See protocol 2.9.
func TestSecondStopJoinsTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{})
		w.Spawner.OnStop = func(context.Context, outpost.Key) error { time.Sleep(10 * time.Second); return nil }
		w.Up(t)
		r := outposttest.Request("lab-one")
		mustStart(t, w, r)
		begin := time.Now()
		var stops sync.WaitGroup
		results := make([][]string, 3)
		for i := range results {
			stops.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				var err error
				if results[i], err = w.Stop(t.Context(), r.Key, outpost.StopOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(5 * time.Second)
		if len(w.Store.Rows()) != 1 || len(w.Spawner.Pods()) != 1 {
			t.Error("the row or the pod is gone before its time")
		}
		stops.Wait()
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("the stops took %v", took)
		}
		if diff := cmp.Diff([][]string{{}, nil, nil}, results); diff != "" {
			t.Errorf("logs (-want +got):\n%s", diff)
		}
		if n := w.Spawner.Stops(r.Key); n != 1 {
			t.Errorf("the pod was removed %d times", n)
		}
		wantNothing(t, w)
	})
}

// See protocol 2.9.
func TestRowStaysUntilThePodIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one")
		mustStart(t, w, r)
		w.Spawner.Down(errDown)
		_, err := w.Stop(t.Context(), r.Key, outpost.StopOptions{})
		wantKind(t, err, outpost.KindUnavailable)
		time.Sleep(10 * time.Minute)
		if len(w.Store.Rows()) != 1 || len(w.Spawner.Pods()) != 1 {
			t.Fatal("the row or the pod is gone")
		}
		wantPoll(t, w, r.Key, outpost.PollResult{})
		w.Spawner.Down(nil)
		time.Sleep(time.Minute)
		wantNothing(t, w)
	})
}

// See protocol 2.3.
func TestFailedStartLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{})
		failure := &outpost.Error{Kind: outpost.KindFailed, Reason: "image", Message: "The image cannot be pulled."}
		w.Spawner.OnStart = func(context.Context, outpost.Key, func(outpost.Event)) error { return failure }
		w.Up(t)
		r := outposttest.Request("lab-one")
		_, err := w.Start(t.Context(), r)
		if !errors.Is(err, failure) {
			t.Errorf("error %v", err)
		}
		wantNothing(t, w)
		_, err = w.Poll(t.Context(), r.Key, false)
		wantKind(t, err, outpost.KindNotFound)
	})
}

// See protocol 2.3.
func TestPollOfFailedStartEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{})
		w.Spawner.OnStart = func(context.Context, outpost.Key, func(outpost.Event)) error { return errDown }
		w.Spawner.OnStop = func(context.Context, outpost.Key) error { time.Sleep(time.Minute); return nil }
		w.Up(t)
		r := outposttest.Request("lab-one")
		r.Async = true
		mustStart(t, w, r)
		synctest.Wait()
		wantPoll(t, w, r.Key, outpost.PollResult{Ended: true, ExitCode: 1})
	})
}

// A start that has just succeeded when the stop comes is a stopped one.
func TestStopWhileTheStartEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{})
		w.Spawner.OnStart = func(_ context.Context, k outpost.Key, _ func(outpost.Event)) error {
			_, err := w.Stop(context.Background(), k, outpost.StopOptions{Async: true})
			return err
		}
		w.Up(t)
		r := outposttest.Request("lab-one")
		_, err := w.Start(t.Context(), r)
		wantKind(t, err, outpost.KindFailed)
		if _, ok := w.PermitOpen(t.Context(), "hub-a", outposttest.Host(r.Key), 41234); ok {
			t.Error("its address is open")
		}
		wantNothing(t, w)
		if n := w.Spawner.Stops(r.Key); n != 1 {
			t.Errorf("the pod was removed %d times", n)
		}
	})
}

// A failed start whose pod cannot be removed yet no longer counts.
func TestFailedStartFreesItsQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := 1
		w := outposttest.NewWorld(t, lifecycle.Options{GlobalMaxPerUser: &one})
		w.Spawner.OnStart = func(_ context.Context, k outpost.Key, _ func(outpost.Event)) error {
			if k.Name == "bad" {
				return errDown
			}
			return nil
		}
		w.Spawner.OnStop = func(_ context.Context, k outpost.Key) error { return errDown }
		w.Up(t)
		_, err := w.Start(t.Context(), outposttest.Request("bad"))
		wantKind(t, err, outpost.KindInternal)
		mustStart(t, w, outposttest.Request("good"))
	})
}

// See protocol 2.2.
func TestRefusedPlanLeavesNoRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{})
		w.Spawner.OnPlan = func(outpost.StartRequest, flavor.Flavor) error {
			return outpost.Errorf(outpost.KindInvalid, "The option cpu_limit must be a number.")
		}
		w.Up(t)
		_, err := w.Start(t.Context(), outposttest.Request("lab-one"))
		wantKind(t, err, outpost.KindInvalid)
		wantNothing(t, w)
	})
}

// See protocol 2.7.
func TestPollDuringStartIsRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{})
		w.Spawner.OnStart = func(ctx context.Context, k outpost.Key, _ func(outpost.Event)) error {
			w.Spawner.Lose(k) // KubeSpawner would answer 1 now
			<-ctx.Done()
			return ctx.Err()
		}
		w.Up(t)
		r := outposttest.Request("lab-one")
		r.Async = true
		mustStart(t, w, r)
		time.Sleep(10 * time.Second)
		wantPoll(t, w, r.Key, outpost.PollResult{})
	})
}

// Many stops at once are all answered (protocol 2.9).
func TestManyStopsAtOnce(t *testing.T) {
	for _, n := range []int{20, 200} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := outposttest.NewWorld(t, lifecycle.Options{})
				w.Spawner.OnStop = func(context.Context, outpost.Key) error { time.Sleep(3 * time.Second); return nil }
				w.Up(t)
				for i := range n {
					mustStart(t, w, outposttest.Request(fmt.Sprintf("lab-%d", i)))
				}
				keep := outposttest.Request("keep")
				mustStart(t, w, keep)
				begin := time.Now()
				var work sync.WaitGroup
				for i := range n {
					work.Go(func() {
						key := outposttest.Key(fmt.Sprintf("lab-%d", i))
						if _, err := w.Stop(t.Context(), key, outpost.StopOptions{}); err != nil {
							t.Error(err)
						}
					})
				}
				for i := range 64 {
					work.Go(func() {
						if _, err := w.Start(t.Context(), outposttest.Request(fmt.Sprintf("new-%d", i))); err != nil {
							t.Error(err)
						}
						wantPoll(t, w, keep.Key, outpost.PollResult{})
					})
				}
				work.Wait()
				if took := time.Since(begin); took != 3*time.Second {
					t.Errorf("all took %v", took)
				}
				if rows, pods := len(w.Store.Rows()), len(w.Spawner.Pods()); rows != 65 || pods != 65 {
					t.Errorf("%d rows, %d pods, want 65", rows, pods)
				}
			})
		})
	}
}

func TestDatabaseDownDuringStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		w.Store.Fail(func(op string) error {
			if op == "Insert" {
				return errDown
			}
			return nil
		})
		r := outposttest.Request("lab-one")
		_, err := w.Start(t.Context(), r)
		wantKind(t, err, outpost.KindUnavailable)
		wantNothing(t, w)
		w.Store.Fail(nil)
		time.Sleep(time.Minute)
		mustStart(t, w, r)
	})
}

// The insert was done but its answer got lost: the row must not stay and count.
func TestDatabaseBreaksAfterInsert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		w.Store.FailAfter(func(op string) error {
			if op == "Insert" {
				return errDown
			}
			return nil
		})
		_, err := w.Start(t.Context(), outposttest.Request("lab-one"))
		wantKind(t, err, outpost.KindUnavailable)
		time.Sleep(time.Second)
		wantNothing(t, w)
	})
}

// A server that runs while the database is away is stored when it is back.
func TestDatabaseDownAtTheEndOfAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{})
		w.Spawner.OnStart = func(context.Context, outpost.Key, func(outpost.Event)) error {
			w.Store.Fail(func(string) error { return errDown })
			return nil
		}
		w.Up(t)
		time.AfterFunc(20*time.Second, func() { w.Store.Fail(nil) })
		r := outposttest.Request("lab-one")
		mustStart(t, w, r)
		wantPoll(t, w, r.Key, outpost.PollResult{})
	})
}

// The hub asks only once: a DELETE while the database is away must still end the server.
func TestDatabaseDownDuringStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one")
		mustStart(t, w, r)
		w.Store.Fail(func(string) error { return errDown })
		_, err := w.Stop(t.Context(), r.Key, outpost.StopOptions{})
		wantKind(t, err, outpost.KindUnavailable)
		if pods := w.Spawner.Pods(); len(pods) > 0 {
			t.Errorf("pods %v", pods)
		}
		time.Sleep(5 * time.Minute)
		w.Store.Fail(nil)
		time.Sleep(time.Minute)
		wantNothing(t, w)
	})
}

// See protocol 6.4.
func TestUnreadableRowIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one")
		mustStart(t, first, r)
		first.Down()
		first.Store.Spoil(r.Key)
		w := outposttest.NewWorldOn(t, first.Store, first.Spawner, first.HubAPI, lifecycle.Options{}).Up(t)
		time.Sleep(10 * time.Minute)
		_, err := w.Poll(t.Context(), r.Key, false)
		wantKind(t, err, outpost.KindInternal)
		for range 2 {
			_, err = w.Stop(t.Context(), r.Key, outpost.StopOptions{})
			wantKind(t, err, outpost.KindInternal)
		}
		if len(w.Store.Rows()) != 1 || len(w.Spawner.Pods()) != 1 {
			t.Error("the row or the pod is gone")
		}
	})
}
