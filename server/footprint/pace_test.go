package footprint

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// collectAt reads what SetGCPercent has set.
func collectAt() int {
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(sample)
	return int(sample[0].Value.Uint64())
}

// restore undoes what a pace sets.
func restore(t *testing.T) {
	percent := collectAt()
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		runtime.SetDefaultGOMAXPROCS()
	})
}

func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}
}

func TestPaceFollowsTheConnectionsThatMove(t *testing.T) {
	restore(t)
	most := runtime.GOMAXPROCS(0)
	p := NewPace(environment(nil))
	for _, step := range []struct{ moving, processors int }{
		{0, most}, {1, 1}, {2, min(2, most)}, {1000, most}, {1, 1}, {0, most}, {1, 1}, {0, most},
	} {
		p.Moving(step.moving)
		if got := runtime.GOMAXPROCS(0); got != step.processors {
			t.Errorf("%d processors with %d connections, want %d", got, step.moving, step.processors)
		}
		if got := collectAt(); (got == quietPercent) != (step.moving == 0) && live() < growth/4 {
			t.Errorf("the heap grows by %d %% with %d connections", got, step.moving)
		}
	}
}

func TestPaceLeavesWhatTheOperatorHasSet(t *testing.T) {
	restore(t)
	debug.SetGCPercent(123)
	most := runtime.GOMAXPROCS(0)
	p := NewPace(environment(map[string]string{"GOGC": "123", "GOMAXPROCS": "2"}))
	for _, moving := range []int{0, 1, 0} {
		p.Moving(moving)
		if got := collectAt(); got != 123 {
			t.Errorf("the heap grows by %d %% with %d connections, want 123 %%", got, moving)
		}
		if got := runtime.GOMAXPROCS(0); got != most {
			t.Errorf("%d processors with %d connections, want %d", got, moving, most)
		}
	}
}

var heap [][]byte

// A heap that becomes large grows by less, whether data moves or not, and a heap that has become small again by more.
func TestPaceFollowsTheHeap(t *testing.T) {
	restore(t)
	p := NewPace(environment(nil))
	collect := func() int {
		runtime.GC()
		p.follow()
		return collectAt()
	}
	for _, moving := range []int{0, 1} {
		p.Moving(moving)
		before := collect()
		for range 160 {
			heap = append(heap, make([]byte, 1<<20))
		}
		if got := collect(); got != leastPercent {
			t.Errorf("%d connections move: a large heap grows by %d %%, want %d %%", moving, got, leastPercent)
		}
		heap = nil
		if got := collect(); got <= leastPercent || 10*got < 9*before {
			t.Errorf("%d connections move: a small heap grows by %d %%, before by %d %%", moving, got, before)
		}
	}
}

// The heap is followed after each collection, not only at the next tick.
func TestPaceFollowsEachCollection(t *testing.T) {
	restore(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := NewPace(environment(nil))
	p.Moving(1)
	p.followCollections(ctx)
	for _, large := range []bool{true, false, true, false} {
		if large {
			heap = [][]byte{make([]byte, 160<<20)}
		}
		runtime.GC()
		heap = nil
		for deadline := time.Now().Add(5 * time.Minute); (collectAt() == leastPercent) != large; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("large: %v, and the heap grows by %d %%", large, collectAt())
			}
		}
	}
}

func TestPercentIsBounded(t *testing.T) {
	for _, c := range []struct {
		live        uint64
		quiet, move int
	}{
		{0, quietPercent, movePercent},
		{1 << 20, quietPercent, movePercent},
		{growth / 12, quietPercent, 1200},
		{growth / 8, quietPercent, 800},
		{growth / 4, quietPercent, 400},
		{growth / 2, 200, 200},
		{growth, 100, 100},
		{2 * growth, 50, 50},
		{3 * growth, leastPercent, leastPercent},
		{1 << 30, leastPercent, leastPercent},
		{math.MaxUint64, leastPercent, leastPercent},
	} {
		if got := percent(c.live, false); got != c.quiet {
			t.Errorf("percent(%d, false) = %d, want %d", c.live, got, c.quiet)
		}
		if got := percent(c.live, true); got != c.move {
			t.Errorf("percent(%d, true) = %d, want %d", c.live, got, c.move)
		}
	}
}
