package main

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"k8s.io/client-go/kubernetes/fake"
)

// Two processes: one works at a time, and when it ends the other takes over at once.
func TestOneProcessWorksAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
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
		second := <-begun
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
