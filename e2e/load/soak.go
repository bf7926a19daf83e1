package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // reads the outpost's rows
)

const (
	soakWorkers = 8  // of each hub: servers that come and go
	keptServers = 10 // of each hub: servers that run from early on until the end
	// A server that comes and goes runs for at most so long.
	longestRun = 4 * time.Second
)

// soakRun is the state of a soak.
type soakRun struct {
	outpost *outpost
	steady  atomic.Bool // nobody kills the outpost: it answers

	starts, interrupted, stops atomic.Int64 // interrupted are starts that a crash has cut off

	mu     sync.Mutex
	faults map[string]int
}

// soak lets two hubs start and stop servers under a small flood. For a third of the time the outpost is killed again
// and again; then it runs, and what it holds must stay the same. It is killed twice more, and in the end there must be
// exactly the servers that the hubs have been told of.
func soak(ctx context.Context, opts options) (r report, err error) {
	o, err := newOutpost(ctx, opts.outpost)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	if err := o.start(ctx); err != nil {
		return r, err
	}
	s := &soakRun{outpost: o, faults: map[string]int{}}
	unread, err := o.hubs[0].start(ctx, "unread", false)
	if err != nil {
		return r, err
	}
	_, stopFlood, err := startAttacks(o, unread.address, false, []attackSize{
		{"guess", 5, 5}, {"silent", 500, 50}, {"half", 500, 50}, {"unread", 50, 10},
	})
	if err != nil {
		return r, err
	}
	defer stopFlood()

	working, finish := context.WithCancel(ctx)
	defer finish()
	var workers sync.WaitGroup
	kept := make([][]string, len(o.hubs))
	for i, h := range o.hubs {
		workers.Go(func() { kept[i] = s.keep(working, h) })
		for n := range soakWorkers {
			workers.Go(func() { s.comeAndGo(working, h, n) })
		}
	}
	kills, err := s.killFor(ctx, opts.duration/3)
	if err != nil {
		return r, err
	}
	s.steady.Store(true)
	if err := r.steadyState(ctx, o, opts.duration-opts.duration/3); err != nil {
		return r, err
	}
	s.steady.Store(false)
	if err := errors.Join(o.crash(ctx), o.crash(ctx)); err != nil {
		return r, err
	}
	finish()
	workers.Wait()
	s.steady.Store(true)
	r.tell("kills of the outpost", "%d", kills+2)
	r.tell("starts", "%d, and %d cut off by a kill", s.starts.Load(), s.interrupted.Load())
	r.tell("stops", "%d", s.stops.Load())
	if err := r.compare(ctx, s, kept); err != nil {
		return r, err
	}
	for text, n := range s.faults {
		r.notes = append(r.notes, fmt.Sprintf("%d times: %s", n, text))
	}
	r.hold(len(s.faults) == 0, "none", "wrong answers", "%d kinds", len(s.faults))
	return r, ctx.Err()
}

// killFor kills the outpost again and again, and returns how often.
func (s *soakRun) killFor(ctx context.Context, d time.Duration) (kills int, err error) {
	for end := time.Now().Add(d); time.Now().Before(end); kills++ {
		pause := 2*time.Second + rand.N(18*time.Second)
		if !sleepUntil(ctx, time.Now().Add(min(pause, time.Until(end)))) {
			return kills, ctx.Err()
		}
		if err := s.outpost.crash(ctx); err != nil {
			return kills, err
		}
	}
	return kills, nil
}

// fault notes an answer that is wrong whoever is killed.
func (s *soakRun) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text := fmt.Sprintf(format, args...); len(s.faults) < 20 {
		s.faults[text]++
	}
}

// keep starts servers that stay, and polls them until ctx ends. It returns their names.
func (s *soakRun) keep(ctx context.Context, h *hub) (names []string) {
	for n := 0; len(names) < keptServers && ctx.Err() == nil; n++ {
		if name := fmt.Sprint("kept-", n); s.start(ctx, h, name) {
			names = append(names, name)
		}
	}
	for i := 0; sleepUntil(ctx, time.Now().Add(100*time.Millisecond)); i++ {
		s.poll(ctx, h, names[i%len(names)])
	}
	return names
}

// comeAndGo starts and stops servers until ctx ends, and leaves none behind.
func (s *soakRun) comeAndGo(ctx context.Context, h *hub, worker int) {
	for n := 0; ctx.Err() == nil; n++ {
		name := fmt.Sprintf("lab-%d-%d", worker, n)
		if !s.start(ctx, h, name) {
			continue
		}
		for end := time.Now().Add(rand.N(longestRun)); time.Now().Before(end); {
			if !sleepUntil(ctx, time.Now().Add(500*time.Millisecond)) {
				break
			}
			s.poll(ctx, h, name)
		}
		s.stop(ctx, h, name, false)
	}
}

// start starts a server and reports whether it runs. After a start without an answer the server is stopped, as a hub
// does.
func (s *soakRun) start(ctx context.Context, h *hub, name string) bool {
	steady := s.steady.Load()
	_, err := h.start(context.WithoutCancel(ctx), name, true)
	if err == nil {
		s.starts.Add(1)
		return true
	}
	s.interrupted.Add(1)
	if steady && s.steady.Load() {
		s.fault("start: %v", err)
	}
	s.stop(ctx, h, name, true)
	return false
}

// poll asks for a server that runs. An outpost that has been killed, or has just begun, may answer nothing, or 503.
func (s *soakRun) poll(ctx context.Context, h *hub, name string) {
	steady := s.steady.Load()
	code, body, err := h.send(context.WithoutCancel(ctx), h.kept, http.MethodGet, "/services/"+name+"/s", "")
	excused := !(steady && s.steady.Load()) && (err != nil || code == http.StatusServiceUnavailable)
	if !excused && (err != nil || code != http.StatusOK || body != running) {
		s.fault("poll of a server that runs: %d %.100s, %v", code, body, err)
	}
}

// stop stops a server, until it is known to be gone. One that has never been stopped is there, unless its start was cut
// off.
func (s *soakRun) stop(ctx context.Context, h *hub, name string, unsure bool) {
	ctx = context.WithoutCancel(ctx)
	for deadline := time.Now().Add(time.Minute); ; unsure = true {
		code, body, err := h.send(ctx, h.kept, http.MethodDelete, "/services/"+name+"/s", "")
		switch {
		case err == nil && code == http.StatusOK:
			s.stops.Add(1)
			return
		case err == nil && code == http.StatusNotFound && unsure:
			return
		case err == nil && !unsure:
			s.fault("stop: %d %.100s", code, body)
		case time.Now().After(deadline):
			s.fault("stop, for a minute: %d %.100s, %v", code, body, err)
			return
		}
		_ = sleepUntil(ctx, time.Now().Add(50*time.Millisecond)) // ctx does not end
	}
}

// steadyState samples the process for some time. What it holds in the last third of that must be what it held in the
// first one, after a tenth for warming up.
func (r *report) steadyState(ctx context.Context, o *outpost, d time.Duration) error {
	kinds := []struct {
		metric, what string
		scale, slack float64
	}{
		{"go_goroutines", "goroutines", 1, 20},
		{"go_memstats_heap_alloc_bytes", "heap, MiB", 1 << 20, 2},
		{"process_open_fds", "file descriptors", 1, 10},
		{"process_resident_memory_bytes", "resident memory, MiB", 1 << 20, 5},
	}
	samples := make([][]float64, len(kinds))
	end := time.Now().Add(d)
	for next := time.Now().Add(d / 10); next.Before(end); next = next.Add(time.Second) {
		if !sleepUntil(ctx, next) {
			return ctx.Err()
		}
		metrics, err := o.readMetrics(ctx)
		if err != nil {
			return err
		}
		for i, kind := range kinds {
			samples[i] = append(samples[i], metrics[kind.metric]/kind.scale)
		}
	}
	for i, kind := range kinds {
		third := len(samples[i]) / 3
		if third == 0 {
			return errors.New("the time is too short for samples")
		}
		first, last := median(samples[i][:third]), median(samples[i][len(samples[i])-third:])
		r.hold(last <= 1.1*first+kind.slack, "flat", kind.what+", medians of the first and the last third",
			"%.1f, %.1f", first, last)
	}
	return nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// compare compares rows, pods and Services with the servers that the hubs know, which all run.
func (r *report) compare(ctx context.Context, s *soakRun, kept [][]string) error {
	o, want := s.outpost, 1 // the one that sends without an end, which has no Service
	for i, h := range o.hubs {
		for _, name := range kept[i] {
			s.poll(ctx, h, name)
		}
		want += len(kept[i])
	}
	db, err := sql.Open("sqlite", "file://"+o.path("outpost.sqlite")+"?mode=ro")
	if err != nil {
		return err
	}
	defer db.Close()
	var rows int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM service").Scan(&rows); err != nil {
		return err
	}
	found, err := o.objects()
	if err != nil {
		return err
	}
	r.hold(rows == want && len(found.Pods) == want && len(found.Services) == want-1, "the same",
		"servers that hubs know / rows / pods / Services and one", "%d / %d / %d / %d",
		want, rows, len(found.Pods), len(found.Services)+1)
	return nil
}
