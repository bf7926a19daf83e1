package footprint

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// How much the heap grows between two garbage collections: by growth, in percent of what a collection has left. What is
// quiet leaves little garbage in a small heap, which grows by quietPercent at most. Tunnels that move data leave a
// packet's worth for each packet; then movePercent is growth of the smallest heap that Go counts with, 4 MiB. A large
// heap, as under a flood of connections, grows by leastPercent if that is more: twice its size in garbage is what would
// kill the process.
const (
	growth       = 48 << 20
	quietPercent = 200
	movePercent  = 1200
	leastPercent = 40
)

// Pace fits the process to the tunnels that move data and to its heap. GOMAXPROCS and GOGC win. Make it with [NewPace].
type Pace struct {
	processors, collector bool // not set by the operator

	mu      sync.Mutex
	moving  bool
	most    int // processors that Go chose, while data moves
	percent int // by which the heap grows
}

// NewPace returns the pace of a process whose tunnels are quiet, and sets it.
func NewPace(lookup func(string) (string, bool)) *Pace {
	p := &Pace{processors: !given(lookup, "GOMAXPROCS"), collector: !given(lookup, "GOGC")}
	if p.processors {
		runtime.SetDefaultGOMAXPROCS()
	}
	p.fit()
	return p
}

func given(lookup func(string) (string, bool), name string) bool {
	value, _ := lookup(name)
	return value != ""
}

// Moving takes the number of connections that move much data, one call at a time. There are as many processors as such
// connections, as sshd has a process for each, and no more than Go would take: a packet passes through three goroutines
// of the SSH library, and handing it from one processor to the other costs more than the second one is worth. One
// processor forwards several Gbit/s. Measured beside one bulk stream on two processors, medians of 7
// rounds with and without: 1.7 against 2.5 CPU-s for each GiB down and 2.2 against 2.7 up, and a faster stream; polls
// take 2.5 to 3.6 ms instead of 1.2 to 1.6, at the 99th percentile 11 to 14 ms instead of 7 to 10, and starts 14 to
// 15 ms instead of 10 to 12. No hub notices those milliseconds; the processor time is what a node runs out of.
func (p *Pace) Moving(connections int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	begins := !p.moving && connections > 0
	p.moving = connections > 0
	if begins {
		p.most = runtime.GOMAXPROCS(0)
	}
	switch {
	case !p.processors:
	case p.moving:
		runtime.GOMAXPROCS(min(connections, p.most))
	default:
		runtime.SetDefaultGOMAXPROCS()
	}
	p.fit()
}

// Run follows the heap, and gives memory back to the machine each time that the process becomes calm, until ctx ends.
func (p *Pace) Run(ctx context.Context) {
	r := newReleaser()
	p.followCollections(ctx)
	tick := time.NewTicker(releaseLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.follow()
			r.look()
		}
	}
}

// followCollections follows the heap as soon as a collection has measured it, until ctx ends. Between two ticks of
// [Pace.Run] there are twenty collections while data moves, which leave 3 to 10 MB, as packets are under way or not.
// Grown by the same percentage, the heap would have another size each time, and Go would give back memory after a small
// one that the next large one takes again, a page fault for each page.
func (p *Pace) followCollections(ctx context.Context) {
	type garbage struct{ _ *byte } // not of those small values that share memory
	var collected func(*garbage)
	collected = func(g *garbage) {
		if ctx.Err() == nil {
			p.follow()
			runtime.SetFinalizer(g, collected) // a cleanup would run later, when all garbage is swept
		}
	}
	runtime.SetFinalizer(new(garbage), collected)
}

// follow fits the collector to the size of the heap.
func (p *Pace) follow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fit()
}

// fit sets by how much the heap grows, if that has changed by more than a tenth: setting it stops the process for some
// microseconds. p.mu must be held.
func (p *Pace) fit() {
	if !p.collector {
		return
	}
	want := percent(live(), p.moving)
	if difference := want - p.percent; 10*max(difference, -difference) > p.percent {
		p.percent = want
		debug.SetGCPercent(want)
	}
}

// percent is how much a heap grows from which so many bytes are left by a collection.
func percent(live uint64, moving bool) int {
	most := uint64(quietPercent)
	if moving {
		most = movePercent
	}
	return int(min(most, max(leastPercent, growth*100/max(live, 1))))
}

// live is what the collector counts from: the heap after the last collection, stacks and global variables.
func live() (bytes uint64) {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}
	metrics.Read(samples)
	for _, s := range samples {
		bytes += s.Value.Uint64()
	}
	return bytes
}
