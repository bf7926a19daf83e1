package footprint

import (
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A process is calm when it has allocated less than calmBytes in the last releaseLook. A calm one gives memory back if
// at least releaseBytes of it hold nothing. By itself Go would wait two minutes for a collection, and then keep a share
// of what is free.
const (
	releaseLook  = 500 * time.Millisecond
	calmBytes    = 256 << 10
	releaseBytes = 4 << 20
)

// releaser remembers what was allocated up to the last look.
type releaser struct {
	samples   []metrics.Sample
	allocated uint64
}

func newReleaser() *releaser {
	return &releaser{samples: []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}}
}

// look releases memory if the process is calm and there is enough to release, and reports whether it did.
func (r *releaser) look() (released bool) {
	metrics.Read(r.samples)
	value := func(i int) uint64 { return r.samples[i].Value.Uint64() }
	allocated, objects, live, free := value(0), value(1), value(2), value(3)
	calm := allocated-r.allocated < calmBytes
	r.allocated = allocated
	if !calm || objects-min(live, objects)+free < releaseBytes {
		return false
	}
	debug.FreeOSMemory()
	return true
}
