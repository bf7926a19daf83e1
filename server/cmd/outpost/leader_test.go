package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
)

// Two processes: one works at a time, and when it ends the other takes over at once.
func TestOneProcessWorksAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		const rest = 10 * time.Second // of the work when it is told to end
		var working, most, terms atomic.Int32
		begun := make(chan string, 4)
		work := func(who string) func(context.Context) {
			return func(ctx context.Context) {
				now := working.Add(1)
				for {
					seen := most.Load()
					if now <= seen || most.CompareAndSwap(seen, now) {
						break
					}
				}
				terms.Add(1)
				begun <- who
				<-ctx.Done()
				time.Sleep(rest)
				working.Add(-1)
			}
		}
		var processes sync.WaitGroup
		stop := map[string]context.CancelFunc{}
		for _, who := range []string{"a", "b"} {
			ctx, cancel := context.WithCancel(t.Context())
			stop[who] = cancel
			e := election{
				client: client, namespace: "outpost", lease: "outpost", identity: who,
				log: slog.New(slog.DiscardHandler),
			}
			processes.Go(func() {
				if err := e.run(ctx, work(who)); err != nil {
					t.Errorf("%s: %v", who, err)
				}
			})
		}
		first := <-begun
		stop[first]()
		stopped := time.Now()
		second := <-begun
		if took := time.Since(stopped); took > rest+5*time.Second { // it looks every 2 s, and up to as much later
			t.Errorf("%s has taken over after %v", second, took)
		}
		if second == first {
			t.Errorf("%s worked again after its end", first)
		}
		stop[second]()
		processes.Wait()
		if most.Load() != 1 || terms.Load() != 2 {
			t.Errorf("%d worked at a time, in %d terms; want 1 and 2", most.Load(), terms.Load())
		}
	})
}

// A process that Kubernetes no longer hears, or that has died, is succeeded when its Lease has run out, and has ended
// its work before.
func TestSilentLeaderIsSucceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		var silent atomic.Bool
		client.PrependReactor("update", "leases", func(a k8stesting.Action) (bool, runtime.Object, error) {
			lease := a.(k8stesting.UpdateAction).GetObject().(*coordinationv1.Lease)
			holder := lease.Spec.HolderIdentity
			if silent.Load() && (holder == nil || *holder != "b") {
				return true, nil, errors.New("the network is away")
			}
			return false, nil, nil
		})
		begun, ended := make(chan time.Time, 1), make(chan time.Time, 1)
		var processes sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		process := func(who string, work func(context.Context)) {
			e := election{
				client: client, namespace: "outpost", lease: "outpost", identity: who,
				log: slog.New(slog.DiscardHandler),
			}
			processes.Go(func() {
				if err := e.run(ctx, work); err != nil {
					t.Errorf("%s: %v", who, err)
				}
			})
		}
		process("a", func(ctx context.Context) {
			begun <- time.Now()
			<-ctx.Done()
			ended <- time.Now()
		})
		<-begun
		process("b", func(ctx context.Context) {
			begun <- time.Now()
			<-ctx.Done()
		})
		time.Sleep(time.Minute) // a leader that is heard stays
		if len(begun) > 0 {
			t.Fatal("two work at a time")
		}
		silent.Store(true)
		since := time.Now()
		last, next := <-ended, <-begun
		// The last renewal was up to 2 s before; then 15 s, and up to 4 s until the other looks.
		if took := next.Sub(since); took > 20*time.Second || next.Before(last) {
			t.Errorf("taken over after %v, when the work before had ended after %v", took, last.Sub(since))
		}
		cancel()
		processes.Wait()
	})
}
