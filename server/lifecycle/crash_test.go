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

var errCrashed = errors.New("this process is dead")

// fuse ends a process at its n-th call to database or cluster, before or after the call has its effect. From then on
// none of its calls has any.
type fuse struct {
	after bool
	mu    sync.Mutex
	left  int
	blown bool
}

func (f *fuse) call(do func() error) error {
	f.mu.Lock()
	if f.blown {
		f.mu.Unlock()
		return errCrashed
	}
	f.left--
	f.blown = f.left == 0
	last := f.blown
	f.mu.Unlock()
	switch {
	case !last:
		return do()
	case f.after:
		_ = do()
	}
	return errCrashed
}

// mortalStore and mortalSpawner are the ways of one process to what all processes share.
type mortalStore struct {
	outpost.Store
	f *fuse
}

func (s mortalStore) Insert(ctx context.Context, v outpost.Service, check func(flavor.Usage) error) error {
	return s.f.call(func() error { return s.Store.Insert(ctx, v, check) })
}

func (s mortalStore) MarkStopping(ctx context.Context, k outpost.Key) (first bool, err error) {
	err = s.f.call(func() (err error) {
		first, err = s.Store.MarkStopping(ctx, k)
		return err
	})
	return first, err
}

func (s mortalStore) FinishStart(
	ctx context.Context,
	k outpost.Key,
	state outpost.State,
	address string,
	end time.Time,
) error {
	return s.f.call(func() error { return s.Store.FinishStart(ctx, k, state, address, end) })
}

func (s mortalStore) Delete(ctx context.Context, k outpost.Key) error {
	return s.f.call(func() error { return s.Store.Delete(ctx, k) })
}

func (s mortalStore) Touch(ctx context.Context, at map[outpost.Key]time.Time) error {
	return s.f.call(func() error { return s.Store.Touch(ctx, at) })
}

type mortalSpawner struct {
	*outposttest.Spawner
	f *fuse
}

func (s mortalSpawner) Start(
	ctx context.Context,
	p outpost.Plan,
	progress func(outpost.Event),
) (started outpost.Started, err error) {
	err = s.f.call(func() (err error) {
		started, err = s.Spawner.Start(ctx, p, progress)
		return err
	})
	return started, err
}

func (s mortalSpawner) Stop(ctx context.Context, k outpost.Key, state outpost.State) error {
	return s.f.call(func() error { return s.Spawner.Stop(ctx, k, state) })
}

func (f *fuse) dead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.blown
}

// answers is what the hub was told before the process died: a dead one tells nothing.
type answers struct{ started, stopped map[string]bool }

// hubScenario is what a hub does with one process: synchronous and asynchronous starts and stops, one of each
// cancelling the other. It gives up at the first error, as its clients do.
func hubScenario(ctx context.Context, m *lifecycle.Manager, f *fuse) answers {
	a := answers{started: map[string]bool{}, stopped: map[string]bool{}}
	start := func(name string, async bool) {
		r := eventRequest(name)
		r.Async = async
		_, err := m.Start(ctx, r)
		a.started[name] = err == nil && !f.dead()
	}
	stop := func(name string, async bool) {
		_, err := m.Stop(ctx, outposttest.Key(name), outpost.StopOptions{Async: async})
		a.stopped[name] = err == nil && !f.dead()
	}
	start("keep", false)
	start("keep-async", true)
	start("end", false)
	time.Sleep(time.Second)
	stop("end", false)
	start("end-async", true)
	stop("end-async", true)
	time.Sleep(time.Minute)
	return a
}

// A process may die at any moment of starts and stops: afterwards there are as many rows as pods, nothing that was
// answered as started is lost, and nothing that was answered as stopped runs.
func TestCrashAtAnyPointLosesNothing(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			reached := false
			t.Run(fmt.Sprintf("call %d, after its effect %v", n, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					reached = crashAt(t, n, after)
				})
			})
			if !reached {
				if n < 10 {
					t.Fatalf("the scenario has only %d calls", n)
				}
				break
			}
		}
	}
}

// crashAt runs the scenario on a process that dies at its n-th call, then a second process, and compares. It reports
// whether the first one died.
func crashAt(t *testing.T, n int, after bool) bool {
	store, spawner, hubAPI := outposttest.NewStore(), outposttest.NewSpawner(), outposttest.NewHubAPI()
	spawner.OnStart = waitOrCancelled(300 * time.Millisecond)
	f := &fuse{left: n, after: after}
	o := lifecycle.Options{Hubs: []outpost.Hub{eventHub()}}
	first, err := lifecycle.New(mortalStore{store, f}, mortalSpawner{spawner, f}, hubAPI, o)
	if err != nil {
		t.Fatal(err)
	}
	w := (&outposttest.World{Manager: first, Store: store, Spawner: spawner, HubAPI: hubAPI}).Up(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	a := hubScenario(ctx, first, f)
	w.Down()

	second := outposttest.NewWorldOn(t, store, spawner, hubAPI, o).Up(t)
	time.Sleep(time.Minute)
	if diff := cmp.Diff(store.Rows(), spawner.Pods()); diff != "" {
		t.Errorf("rows and pods differ (-rows +pods):\n%s", diff)
	}
	for name, ok := range a.started {
		result, err := second.Poll(t.Context(), outposttest.Key(name), false)
		_, stopAsked := a.stopped[name]
		async := name == "keep-async"
		failed := false
		for _, e := range events(second) {
			failed = failed || e.Failed
		}
		if ok && !stopAsked && (err != nil || result.Ended) && (!async || !failed) {
			t.Errorf("%s was answered as started, and is lost: %+v, %v", name, result, err)
		}
	}
	for name, ok := range a.stopped {
		if _, err := second.Poll(t.Context(), outposttest.Key(name), false); ok &&
			outpost.KindOf(err) != outpost.KindNotFound {
			t.Errorf("%s was answered as stopped, and is there: %v", name, err)
		}
	}
	return f.dead()
}
