package footprint

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
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
		if got := collectAt(); (got == quietPercent) != (step.moving == 0) && live() < moveGrowth/4 {
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

func TestPercentIsBounded(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, movePercent},
		{1 << 20, movePercent},
		{moveGrowth / 8, 800},
		{moveGrowth / 4, 400},
		{moveGrowth / 3, 300},
		{moveGrowth / 2, 200},
		{1 << 30, quietPercent},
		{math.MaxUint64, quietPercent},
	} {
		if got := percent(c.live); got != c.want {
			t.Errorf("percent(%d) = %d, want %d", c.live, got, c.want)
		}
	}
}
