package lifecycle_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// twoProcesses are two Managers on one store and one cluster; the first is the leader.
func twoProcesses(t *testing.T, o lifecycle.Options) (leader, other *outposttest.World) {
	t.Helper()
	return twoProcessesOn(t, outposttest.NewStore(), o)
}

// twoProcessesOn is twoProcesses on a store that the test has prepared.
func twoProcessesOn(t *testing.T, store *outposttest.Store, o lifecycle.Options) (leader, other *outposttest.World) {
	t.Helper()
	o.Shared = true
	leader = outposttest.NewWorldOn(t, store, outposttest.NewSpawner(), outposttest.NewHubAPI(), o)
	other = outposttest.NewWorldOn(t, store, leader.Spawner, leader.HubAPI, o)
	return leader.Up(t), other.UpFollower(t)
}

// See protocol 2.13.
func TestSharedServiceIsKnownEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := twoProcesses(t, lifecycle.Options{})
		r := outposttest.Request("lab-one")
		mustStart(t, a, r)
		wantPoll(t, b, r.Key, outpost.PollResult{})
		if _, ok := b.PermitOpen(t.Context(), "hub-a", outposttest.Host(r.Key), 41234); !ok {
			t.Error("its address is not open")
		}
		if _, err := b.Stop(t.Context(), r.Key, outpost.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		_, err := a.Poll(t.Context(), r.Key, false)
		wantKind(t, err, outpost.KindNotFound)
		time.Sleep(10 * time.Second)
		if _, ok := a.PermitOpen(t.Context(), "hub-a", outposttest.Host(r.Key), 41234); ok {
			t.Error("its address is still open")
		}
		wantNothing(t, a)
	})
}

func TestSharedPermitOpenAsksTheStoreAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := twoProcesses(t, lifecycle.Options{})
		time.Sleep(2 * time.Second)
		r := outposttest.Request("lab-one")
		mustStart(t, a, r)
		if _, ok := b.PermitOpen(t.Context(), "hub-a", outposttest.Host(r.Key), 41234); !ok {
			t.Error("its address is not open")
		}
		calls := b.Store.Calls("List")
		var flood sync.WaitGroup
		began := time.Now()
		for range 100_000 {
			flood.Go(func() { b.PermitOpen(t.Context(), "hub-a", "10.0.0.1", 443) })
		}
		flood.Wait()
		if n := b.Store.Calls("List") - calls; n > 1 {
			t.Errorf("%d lists for refused addresses", n)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("refused after %s", took)
		}
	})
}

// Who comes while rows are read, or just after, is not refused for what those rows did not show yet.
func TestSharedPermitOpenWaitsForTheRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reading, goOn := make(chan struct{}), make(chan struct{})
		var hold atomic.Bool
		store := outposttest.NewStore()
		store.OnDone(func(op string) {
			if op == "List" && hold.CompareAndSwap(true, false) {
				close(reading)
				<-goOn
			}
		})
		a, b := twoProcessesOn(t, store, lifecycle.Options{})
		time.Sleep(2100 * time.Millisecond) // between the regular syncs
		hold.Store(true)
		refused := make(chan bool, 1)
		go func() {
			_, ok := b.PermitOpen(t.Context(), "hub-a", "10.0.0.1", 443)
			refused <- !ok
		}()
		<-reading // without the row that comes now
		r := outposttest.Request("lab-one")
		mustStart(t, a, r)
		var visitors sync.WaitGroup
		for range 20 {
			visitors.Go(func() {
				if _, ok := b.PermitOpen(t.Context(), "hub-a", outposttest.Host(r.Key), 41234); !ok {
					t.Error("its address is not open")
				}
			})
		}
		synctest.Wait()
		calls := b.Store.Calls("List")
		close(goOn)
		visitors.Wait()
		if n := b.Store.Calls("List") - calls; n != 1 {
			t.Errorf("%d more lists for 20 visitors", n)
		}
		if !<-refused {
			t.Error("a foreign address is open")
		}
	})
}

// No start runs twice, whichever process is asked.
func TestSharedDuplicateStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := twoProcesses(t, lifecycle.Options{})
		r := outposttest.Request("lab-one")
		var starts sync.WaitGroup
		good := make(chan struct{}, 64)
		for i := range cap(good) {
			starts.Go(func() {
				if _, err := []*outposttest.World{a, b}[i%2].Start(t.Context(), r); err == nil {
					good <- struct{}{}
				}
			})
		}
		starts.Wait()
		if len(good) != 1 || a.Spawner.Starts(r.Key) != 1 || len(a.Store.Rows()) != 1 {
			t.Errorf("%d good answers, %d pods, rows %v", len(good), a.Spawner.Starts(r.Key), a.Store.Rows())
		}
	})
}

func TestSharedQuotaHoldsUnderParallelStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		five := 5
		a, b := twoProcesses(t, lifecycle.Options{GlobalMaxPerUser: &five})
		var starts sync.WaitGroup
		good := make(chan struct{}, 64)
		for i := range cap(good) {
			starts.Go(func() {
				w := []*outposttest.World{a, b}[i%2]
				if _, err := w.Start(t.Context(), outposttest.Request(fmt.Sprint("lab-", i))); err == nil {
					good <- struct{}{}
				}
			})
		}
		starts.Wait()
		synctest.Wait()
		if len(good) != five || len(a.Store.Rows()) != five || len(a.Spawner.Pods()) != five {
			t.Errorf(
				"%d good answers, %d rows, %d pods, want %d",
				len(good),
				len(a.Store.Rows()),
				len(a.Spawner.Pods()),
				five,
			)
		}
	})
}

// A DELETE in another process cancels a start (protocol 2.13).
func TestStopOfAStartInAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := twoProcesses(t, lifecycle.Options{})
		a.Spawner.OnStart = waitOrCancelled(time.Hour)
		r := outposttest.Request("lab-one")
		answer := make(chan error, 1)
		go func() {
			_, err := a.Start(context.Background(), r)
			answer <- err
		}()
		time.Sleep(2 * time.Minute) // longer than a start of a dead process is left alone
		wantPoll(t, b, r.Key, outpost.PollResult{})
		if _, err := b.Stop(t.Context(), r.Key, outpost.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		err := <-answer
		wantKind(t, err, outpost.KindFailed)
		if want := "The server was stopped while it was starting."; err.Error() != want {
			t.Errorf("answer %q, want %q", err, want)
		}
		wantNothing(t, a)
	})
}

// The start that loses the race against a DELETE elsewhere removes what it has just made.
func TestSharedStartEndsAfterItsStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := twoProcesses(t, lifecycle.Options{})
		a.Spawner.OnStart = func(_ context.Context, k outpost.Key, _ func(outpost.Event)) error {
			a.Spawner.Lose(k)
			if _, err := b.Stop(context.Background(), k, outpost.StopOptions{}); err != nil {
				t.Error(err)
			}
			a.Spawner.AddPod(k) // the create request was under way
			return nil
		}
		r := outposttest.Request("lab-one")
		_, err := a.Start(t.Context(), r)
		wantKind(t, err, outpost.KindFailed)
		wantNothing(t, a)
	})
}

// What a dead process leaves is taken over, what a living one works on is not (protocol 2.13).
func TestSharedTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leader := outposttest.NewWorld(t, lifecycle.Options{Shared: true})
		o := lifecycle.Options{Shared: true}
		other := outposttest.NewWorldOn(t, leader.Store, leader.Spawner, leader.HubAPI, o).UpFollower(t)
		leader.Spawner.OnStart = waitOrCancelled(time.Hour)
		r := outposttest.Request("lab-one")
		go func() { _, _ = other.Start(context.Background(), r) }()
		synctest.Wait()
		leader.Up(t)
		time.Sleep(20 * time.Minute)
		if diff := cmp.Diff([]outpost.Key{r.Key}, leader.Spawner.Pods()); diff != "" {
			t.Fatalf("pods while the other lives (-want +got):\n%s", diff)
		}
		other.Down()
		time.Sleep(30 * time.Second)
		wantPoll(t, leader, r.Key, outpost.PollResult{})
		time.Sleep(10 * time.Minute)
		wantNothing(t, leader)
	})
}

// The clocks of two machines say nothing about which process lives.
func TestSharedTakeOverWithoutATrueClock(t *testing.T) {
	for name, tc := range map[string]struct {
		leader, other time.Duration // how far each clock is ahead
		jump          time.Duration // of the other's clock, during its start
	}{
		"leader ahead":       {leader: time.Hour},
		"leader behind":      {leader: -time.Hour},
		"other jumps":        {jump: time.Hour},
		"other jumps back":   {jump: -time.Hour},
		"other behind jumps": {other: -time.Hour, jump: 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clocks := [2]*outposttest.Clock{{}, {}}
				clocks[0].Jump(tc.leader)
				clocks[1].Jump(tc.other)
				leader := outposttest.NewWorld(t, lifecycle.Options{Shared: true, Now: clocks[0].Now})
				o := lifecycle.Options{Shared: true, Now: clocks[1].Now}
				other := outposttest.NewWorldOn(t, leader.Store, leader.Spawner, leader.HubAPI, o).UpFollower(t)
				leader.Spawner.OnStart = waitOrCancelled(time.Hour)
				r := outposttest.Request("lab-one")
				go func() { _, _ = other.Start(context.Background(), r) }()
				synctest.Wait()
				leader.Up(t)
				time.Sleep(10 * time.Minute)
				clocks[1].Jump(tc.jump)
				time.Sleep(10 * time.Minute)
				if diff := cmp.Diff([]outpost.Key{r.Key}, leader.Spawner.Pods()); diff != "" {
					t.Fatalf("pods while the other lives (-want +got):\n%s", diff)
				}
				other.Down()
				time.Sleep(7 * time.Minute)
				wantNothing(t, leader)
			})
		})
	}
}

// A process dies, and a moment later another one is chosen to do the leader's work: what the dead one has left is not
// old enough then to be told from what a living one works on, and is dealt with a minute later, not five.
func TestSharedTakeOverSoonAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := outposttest.NewWorld(t, lifecycle.Options{Shared: true}).UpFollower(t)
		dead.Spawner.OnStart = waitOrCancelled(time.Hour)
		go func() { _, _ = dead.Start(context.Background(), outposttest.Request("lab-one")) }()
		time.Sleep(time.Minute)
		dead.Down()
		time.Sleep(15 * time.Second)
		leader := outposttest.NewWorldOn(t, dead.Store, dead.Spawner, dead.HubAPI, lifecycle.Options{
			Shared: true,
		}).Up(t)
		if diff := cmp.Diff([]outpost.Key{outposttest.Key("lab-one")}, leader.Spawner.Pods()); diff != "" {
			t.Fatalf("pods before (-want +got):\n%s", diff)
		}
		time.Sleep(70 * time.Second)
		wantNothing(t, leader)
	})
}

// Many starts and stops through two processes: no service is forgotten while its start ends.
func TestSharedSyncForgetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := twoProcesses(t, lifecycle.Options{})
		a.Spawner.OnStart = waitOrCancelled(4999 * time.Millisecond)
		worlds := []*outposttest.World{a, b}
		var work sync.WaitGroup
		for i := range 40 {
			work.Go(func() {
				time.Sleep(time.Duration(i) * 137 * time.Millisecond)
				r := outposttest.Request(fmt.Sprint("lab-", i))
				mustStart(t, worlds[i%2], r)
				for range 30 {
					time.Sleep(time.Second)
					wantPoll(t, worlds[(i+1)%2], r.Key, outpost.PollResult{})
					wantPoll(t, worlds[i%2], r.Key, outpost.PollResult{})
				}
				if _, err := worlds[(i+1)%2].Stop(t.Context(), r.Key, outpost.StopOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
		work.Wait()
		wantNothing(t, a)
	})
}
