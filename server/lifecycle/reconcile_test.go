package lifecycle_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// row is a stored service as an earlier process left it.
func row(name string, change func(*outpost.Service)) outpost.Service {
	r := eventRequest(name)
	now := time.Now().UTC()
	s := outpost.Service{
		Summary: outpost.Summary{
			Key: r.Key, UserID: r.UserID, StartDate: now, LastUpdate: now, EndDate: outpost.NoEnd, StateStored: true,
		},
		Body: r.Body, Address: outposttest.Address(r.Key),
		State: outpost.State{
			"kubespawner_version": "7.0.0",
			"pod_name":            outposttest.PodName(r.Key),
			"namespace":           "outpost",
		},
	}
	change(&s)
	return s
}

// See protocol 2.12.
func TestServersSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one")
		mustStart(t, first, r)
		first.Down()
		w := outposttest.NewWorldOn(t, first.Store, first.Spawner, first.HubAPI, lifecycle.Options{}).Up(t)
		synctest.Wait()
		wantPoll(t, w, r.Key, outpost.PollResult{})
		if _, ok := w.PermitOpen(t.Context(), "hub-a", outposttest.Host(r.Key), 41234); !ok {
			t.Error("its address is not open")
		}
		if _, err := w.Stop(t.Context(), r.Key, outpost.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		wantNothing(t, w)
	})
}

// Until rows and pods are reconciled nothing is answered that would let a hub give up a server (protocol 2.12).
func TestPollIsRunningUntilReconciled(t *testing.T) {
	for name, breakIt := range map[string]func(*outposttest.World, error){
		"database": func(w *outposttest.World, err error) {
			if err == nil {
				w.Store.Fail(nil)
				return
			}
			w.Store.Fail(func(op string) error {
				if op == "All" {
					return err
				}
				return nil
			})
		},
		"Kubernetes": func(w *outposttest.World, err error) { w.Spawner.Down(err) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := outposttest.NewWorld(t, lifecycle.Options{})
				stored := row("stored", func(*outpost.Service) {})
				w.Store.Put(stored)
				breakIt(w, errDown)
				w.Up(t)
				time.Sleep(time.Minute)
				unknown := outposttest.Key("unknown")
				wantPoll(t, w, unknown, outpost.PollResult{})
				wantPoll(t, w, stored.Key, outpost.PollResult{})
				if err := w.Ready(t.Context()); err == nil {
					t.Error("ready")
				}
				breakIt(w, nil)
				time.Sleep(time.Minute)
				_, err := w.Poll(t.Context(), unknown, false)
				wantKind(t, err, outpost.KindNotFound)
				wantPoll(t, w, stored.Key, outpost.PollResult{Ended: true, ExitCode: 1})
				if err := w.Ready(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What an interrupted process has left is adopted, finished or rolled back (protocol 2.12).
func TestLeftOversAreReconciled(t *testing.T) {
	starting := func(s *outpost.Service) { s.StartPending, s.StateStored, s.Address = true, false, "" }
	async := func(s *outpost.Service) {
		starting(s)
		s.State["outposts_async"], s.State["outposts_runtime"] = true, "0s"
	}
	stopping := func(s *outpost.Service) { s.StopPending = true }
	for _, tc := range []struct {
		name   string
		row    func(*outpost.Service) // nil: none
		pod    bool
		want   bool // row and pod are there afterwards
		failed bool // a failed event was sent
	}{
		{name: "running", row: func(*outpost.Service) {}, pod: true, want: true},
		{name: "stop with pod", row: stopping, pod: true},
		{name: "stop without pod", row: stopping},
		{name: "synchronous start with pod", row: starting, pod: true},
		{name: "synchronous start without pod", row: starting},
		{name: "start that was being stopped", row: func(s *outpost.Service) { async(s); stopping(s) }, pod: true},
		{name: "asynchronous start with pod", row: async, pod: true, want: true},
		{name: "asynchronous start without pod", row: async, failed: true},
		{name: "pod without row", pod: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{eventHub()}})
				k := outposttest.Key("lab-one")
				if tc.row != nil {
					w.Store.Put(row("lab-one", tc.row))
				}
				if tc.pod {
					w.Spawner.AddPod(k)
				}
				w.Up(t)
				synctest.Wait()
				if !tc.want {
					wantNothing(t, w)
					_, err := w.Poll(t.Context(), k, false)
					wantKind(t, err, outpost.KindNotFound)
				} else {
					wantPoll(t, w, k, outpost.PollResult{})
					s, err := w.Store.Get(t.Context(), k)
					if err != nil || s.StartPending || !s.StateStored || s.Address == "" {
						t.Errorf("row %+v, error %v", s, err)
					}
					if n := w.Spawner.Starts(k); n != 0 {
						t.Errorf("%d pods were made", n)
					}
				}
				failed := false
				for _, e := range events(w) {
					failed = failed || e.Failed
				}
				if failed != tc.failed {
					t.Errorf("failed event: %v, want %v", failed, tc.failed)
				}
			})
		})
	}
}

// A process that ends during a start leaves the row, so that the next one finds it.
func TestShutdownDuringStart(t *testing.T) {
	for _, async := range []bool{false, true} {
		t.Run(fmt.Sprintf("async %v", async), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{eventHub()}})
				first.Spawner.OnStart = waitOrCancelled(time.Hour)
				first.Up(t)
				r := eventRequest("lab-one")
				r.Async = async
				answer := make(chan error, 1)
				go func() {
					_, err := first.Start(context.Background(), r)
					answer <- err
				}()
				time.Sleep(time.Minute)
				first.Down()
				if err := <-answer; async != (err == nil) {
					t.Errorf("answer %v", err)
				}
				if len(first.Store.Rows()) != 1 || len(first.Spawner.Pods()) != 1 {
					t.Fatal("row or pod are gone")
				}
				_, err := first.Start(t.Context(), eventRequest("late"))
				wantKind(t, err, outpost.KindUnavailable)

				first.Spawner.OnStart = nil
				w := outposttest.NewWorldOn(t, first.Store, first.Spawner, outposttest.NewHubAPI(), lifecycle.Options{
					Hubs: []outpost.Hub{eventHub()},
				}).Up(t)
				synctest.Wait()
				if !async {
					wantNothing(t, w)
					return
				}
				wantPoll(t, w, r.Key, outpost.PollResult{})
				if n := w.Spawner.Starts(r.Key); n != 1 {
					t.Errorf("%d pods were made", n)
				}
			})
		})
	}
}

// An asynchronous start that another process goes on with has the run time of its user, not that of its hub.
func TestResumedStartKeepsItsRunTime(t *testing.T) {
	flavors := `
flavors: {short: {runtime: {hours: 1}}, long: {}, own: {runtime: {hours: 1}}}
hubs: {all: {jupyterhub_name: hub-a, flavors: [short, long]}}
users:
  one:
    authentication: {username: maria}
    flavors: [short, long, own]
    flavorsOverride: {short: {runtime: {hours: 2}}, own: {runtime: {hours: 3}}}
`
	for flavor, want := range map[string]time.Duration{"short": 2 * time.Hour, "own": 3 * time.Hour, "long": 0} {
		t.Run(flavor, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := lifecycle.Options{Flavors: mustFlavors(t, flavors)}
				first := outposttest.NewWorld(t, o)
				first.Spawner.OnStart = waitOrCancelled(time.Hour)
				first.Up(t)
				r := outposttest.Request("lab-one")
				r.Async, r.Flavor, r.Authentication = true, flavor, map[string]any{"username": "maria"}
				if _, err := first.Start(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				first.Down()
				first.Spawner.OnStart = nil
				w := outposttest.NewWorldOn(t, first.Store, first.Spawner, first.HubAPI, o).Up(t)
				synctest.Wait()
				s, err := w.Store.Get(t.Context(), r.Key)
				if err != nil || s.StartPending {
					t.Fatalf("row %+v, error %v", s, err)
				}
				end := outpost.NoEnd
				if want > 0 {
					end = time.Now().UTC().Add(want)
				}
				if !s.EndDate.Equal(end) {
					t.Errorf("end date %s, want %s", s.EndDate, end)
				}
			})
		})
	}
}

// The objects of a start carry the date of its row, also when another process goes on with it, which judges no groups.
func TestPlansHaveTheDateOfTheRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dates []time.Time
		var resumed []bool
		first := outposttest.NewWorld(t, lifecycle.Options{})
		first.Spawner.OnPlan = func(r outpost.StartRequest, _ flavor.Flavor) error {
			dates, resumed = append(dates, r.StartDate), append(resumed, r.Resumed)
			return nil
		}
		first.Spawner.OnStart = waitOrCancelled(time.Hour)
		first.Up(t)
		r := outposttest.Request("lab-one")
		r.Async = true
		if _, err := first.Start(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		first.Down()
		w := outposttest.NewWorldOn(t, first.Store, first.Spawner, first.HubAPI, lifecycle.Options{}).Up(t)
		synctest.Wait()
		s, err := w.Store.Get(t.Context(), r.Key)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]time.Time{s.StartDate, s.StartDate}, dates); diff != "" {
			t.Errorf("dates (-want +got):\n%s", diff)
		}
		if !slices.Equal(resumed, []bool{false, true}) {
			t.Errorf("resumed %v", resumed)
		}
	})
}

// A start that ends while rows are being compared is neither rolled back nor forgotten: the rows were read before.
func TestReconcileDuringTheEndOfAStart(t *testing.T) {
	for _, tc := range []struct {
		op     string // that reads the rows
		shared bool
	}{{"All", false}, {"All", true}, {"List", true}} {
		t.Run(fmt.Sprintf("%s, shared %v", tc.op, tc.shared), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := outposttest.NewWorld(t, lifecycle.Options{Shared: tc.shared})
				goOn := make(chan struct{})
				w.Spawner.OnStart = func(context.Context, outpost.Key, func(outpost.Event)) error { <-goOn; return nil }
				var armed atomic.Bool
				w.Store.OnDone(func(op string) {
					if op == tc.op && armed.CompareAndSwap(true, false) {
						close(goOn)
						time.Sleep(time.Second)
					}
				})
				w.Up(t)
				r := outposttest.Request("lab-one")
				go func() { mustStart(t, w, r) }()
				synctest.Wait()
				armed.Store(true)
				time.Sleep(6 * time.Minute)
				if armed.Load() {
					t.Fatal("the rows were not read")
				}
				wantPoll(t, w, r.Key, outpost.PollResult{})
				s, err := w.Store.Get(t.Context(), r.Key)
				if err != nil || s.StartPending || s.StopPending {
					t.Errorf("row %+v, error %v", s, err)
				}
				if _, ok := w.PermitOpen(t.Context(), "hub-a", outposttest.Host(r.Key), 41234); !ok {
					t.Error("its address is not open")
				}
			})
		})
	}
}

// A start that is inserted and ends after the rows were read is not among them, and is not forgotten.
func TestSyncDuringAWholeStart(t *testing.T) {
	for _, op := range []string{"All", "List"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := outposttest.NewWorld(t, lifecycle.Options{Shared: true})
				var armed atomic.Bool
				read := make(chan struct{})
				w.Store.OnCall(func(call string) {
					if call == "Insert" {
						armed.Store(true)
						<-read
					}
				})
				w.Store.OnDone(func(done string) {
					if done == op && armed.CompareAndSwap(true, false) {
						close(read)
						time.Sleep(time.Second)
					}
				})
				w.Up(t)
				if op == "All" {
					time.Sleep(5*time.Minute - 9*time.Second) // an insert must not take longer than ten seconds
				}
				r := outposttest.Request("lab-one")
				mustStart(t, w, r)
				time.Sleep(3 * time.Second)
				calls := w.Store.Calls("Get")
				wantPoll(t, w, r.Key, outpost.PollResult{})
				if n := w.Store.Calls("Get"); n != calls {
					t.Error("it was forgotten and read again")
				}
			})
		})
	}
}

func TestShutdownDuringStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one")
		mustStart(t, first, r)
		first.Spawner.Down(errDown)
		if _, err := first.Stop(t.Context(), r.Key, outpost.StopOptions{Async: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		first.Down()
		first.Spawner.Down(nil)
		w := outposttest.NewWorldOn(t, first.Store, first.Spawner, first.HubAPI, lifecycle.Options{}).Up(t)
		wantNothing(t, w)
	})
}

func TestLostPodIsReportedAndItsRowKeptForTheHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one")
		mustStart(t, w, r)
		w.Spawner.Lose(r.Key)
		time.Sleep(30 * time.Minute)
		wantPoll(t, w, r.Key, outpost.PollResult{Ended: true, ExitCode: 1})
		time.Sleep(70 * time.Minute) // nobody asks any more
		wantNothing(t, w)
	})
}

// See protocol 2.10.
func TestEndDates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{Flavors: mustFlavors(t, `
flavors:
  short: {runtime: {hours: 2}}
  long: {}
`)}).Up(t)
		for _, flavor := range []string{"short", "long"} {
			r := outposttest.Request(flavor)
			r.Flavor = flavor
			mustStart(t, w, r)
		}
		time.Sleep(2*time.Hour - time.Second)
		wantPoll(t, w, outposttest.Key("short"), outpost.PollResult{})
		time.Sleep(62 * time.Second)
		synctest.Wait()
		_, err := w.Poll(t.Context(), outposttest.Key("short"), false)
		wantKind(t, err, outpost.KindNotFound)
		if diff := cmp.Diff([]outpost.Key{outposttest.Key("long")}, w.Spawner.Pods()); diff != "" {
			t.Errorf("pods (-want +got):\n%s", diff)
		}
	})
}

func TestClockJumpEndsNothingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &outposttest.Clock{}
		w := outposttest.NewWorld(t, lifecycle.Options{
			Now: clock.Now, Flavors: mustFlavors(t, "flavors: {short: {runtime: {hours: 2}}}"),
		}).Up(t)
		r := outposttest.Request("lab-one")
		r.Flavor = "short"
		mustStart(t, w, r)
		time.Sleep(30 * time.Second)
		clock.Jump(24 * time.Hour)
		time.Sleep(time.Minute)
		clock.Jump(-24 * time.Hour)
		time.Sleep(10 * time.Minute)
		wantPoll(t, w, r.Key, outpost.PollResult{})
		clock.Jump(24 * time.Hour) // and this time it stays
		time.Sleep(3 * time.Minute)
		wantNothing(t, w)
	})
}

// The Python outpost stores an empty state until a start has finished (protocol 6.6): the pod of an interrupted one is
// known by what was asked for.
func TestInterruptedStartOfThePythonOutpostLeavesNoPod(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, w *outposttest.World, k outpost.Key){
		"rolled back": func(t *testing.T, w *outposttest.World, k outpost.Key) { w.Up(t) },
		"the hub's DELETE": func(t *testing.T, w *outposttest.World, k outpost.Key) {
			w.UpFollower(t)
			if _, err := w.Stop(t.Context(), k, outpost.StopOptions{}); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := outposttest.NewWorld(t, lifecycle.Options{})
				r := outposttest.Request("lab-one")
				now := time.Now().UTC()
				row := outpost.Service{Summary: outpost.Summary{
					Key: r.Key, UserID: r.UserID, StartPending: true,
					StartDate: now, LastUpdate: now, EndDate: outpost.NoEnd,
				}, Body: r.Body, State: outpost.State{}}
				if err := w.Store.Insert(t.Context(), row, func(flavor.Usage) error { return nil }); err != nil {
					t.Fatal(err)
				}
				w.Spawner.AddPythonPod(r.Key)
				end(t, w, r.Key)
				synctest.Wait()
				wantNothing(t, w)
			})
		})
	}
}
