package footprint

import (
	"runtime/debug"
	"testing"
)

var garbage []byte

func TestReleaseWaitsForCalm(t *testing.T) {
	before := debug.SetGCPercent(-1) // so that nobody else collects
	t.Cleanup(func() { debug.SetGCPercent(before) })
	r := newReleaser()
	r.look()
	for range 32 {
		garbage = make([]byte, 1<<20)
	}
	garbage = nil
	for i, want := range []bool{false, true, false} { // busy, calm, calm with nothing to give back
		if got := r.look(); got != want {
			t.Errorf("look %d: released %v, want %v", i, got, want)
		}
	}
}
