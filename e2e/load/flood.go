package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/e2e/process"
)

// What a flood is, and what must hold meanwhile.
const (
	silentConnections, halfConnections = 10000, 10000
	unreadChannels, channelsPerSecond  = 500, 100
	guessesPerSecond                   = 50
	floodBefore                        = 10 * time.Second      // begins before hubs work
	maxPeak                            = 256                   // MiB
	maxPoll                            = 50 * time.Millisecond // of 99 %
)

// flood attacks an outpost for a while with everything at once, while two hubs work: hub-a, which is also the one that
// does not read, and hub-b. Silent connections, wrong passwords and both hubs come from one address.
func flood(ctx context.Context, opts options) (r report, err error) {
	o, err := newOutpost(ctx, opts.outpost)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	servers, unread, err := prepareFlood(ctx, o)
	if err != nil {
		return r, err
	}
	if err := o.restart(ctx); err != nil { // which source a hub has is forgotten
		return r, err
	}
	attackers, stop, err := startAttacks(o, unread, opts.oneSource, []attackSize{
		{"guess", guessesPerSecond, guessesPerSecond},
		{"silent", silentConnections, opts.rate},
		{"half", halfConnections, opts.rate},
		{"unread", unreadChannels, channelsPerSecond},
	})
	if err != nil {
		return r, err
	}
	defer stop()
	if !sleepUntil(ctx, time.Now().Add(floodBefore)) {
		return r, ctx.Err()
	}
	pids := []int{o.process.Pid()}
	for _, a := range attackers {
		pids = append(pids, a.process.Pid())
	}
	began, before := time.Now(), cpuOf(pids)
	work := workOfHubs(ctx, o, servers, opts)
	took, after := time.Since(began), cpuOf(pids)
	r.tell("time", "%.0f s", took.Seconds())
	if err := r.outpost(ctx, o, after[0]-before[0], took); err != nil {
		return r, err
	}
	r.hubs(work)
	for i, a := range attackers {
		r.attacker(a, after[i+1]-before[i+1])
	}
	log, err := os.ReadFile(o.path("outpost.log"))
	r.notes = append(r.notes, fmt.Sprintf("lines in the log: %d", strings.Count(string(log), "\n")))
	return r, err
}

// cpuOf returns the processor time that each process has used.
func cpuOf(pids []int) []time.Duration {
	used := make([]time.Duration, len(pids))
	for i, pid := range pids {
		used[i] = process.CPU(pid)
	}
	return used
}

// prepareFlood starts a server of each hub, and those of hub-a that send without an end.
func prepareFlood(ctx context.Context, o *outpost) (servers []server, unread string, err error) {
	if err := o.start(ctx); err != nil {
		return nil, "", err
	}
	for _, h := range o.hubs {
		s, err := h.start(ctx, "own", false)
		if err != nil {
			return nil, "", err
		}
		servers = append(servers, s)
	}
	const channelsOfServer = 125
	var addresses []string
	for i := range unreadChannels / channelsOfServer {
		s, err := o.hubs[0].start(ctx, fmt.Sprint("unread-", i), false)
		if err != nil {
			return nil, "", err
		}
		addresses = append(addresses, s.address)
	}
	return servers, strings.Join(addresses, ","), nil
}

// work is what a hub does while it lasts.
type work struct {
	hub                                 string
	logins, polls, fresh, starts, stops tally
}

// workOfHubs lets all hubs work for the time of the run: 80 polls in a second on connections that are kept, 20 on new
// ones, a login by SSH, a start, and a stop.
func workOfHubs(ctx context.Context, o *outpost, servers []server, opts options) []*work {
	ctx, cancel := context.WithTimeout(ctx, opts.duration)
	defer cancel()
	var all []*work
	var group sync.WaitGroup
	for i, h := range o.hubs {
		w, own := &work{hub: h.name}, servers[i]
		all = append(all, w)
		for what, t := range map[string]*tally{
			"login": &w.logins, "poll": &w.polls, "new poll": &w.fresh, "start": &w.starts, "stop": &w.stops,
		} {
			t.what, t.verbose = h.name+" "+what, opts.verbose
		}
		var started sync.Map
		name := func(i int) string { return fmt.Sprint("lab-", i) }
		group.Go(func() {
			w.logins.every(ctx, 1, func(ctx context.Context, _ int) error { return h.login(ctx, own) })
		})
		group.Go(func() {
			w.polls.every(ctx, 80, func(ctx context.Context, _ int) error { return h.poll(ctx, h.kept, own.name) })
		})
		group.Go(func() {
			w.fresh.every(ctx, 20, func(ctx context.Context, _ int) error { return h.poll(ctx, h.fresh, own.name) })
		})
		group.Go(func() {
			w.starts.every(ctx, 1, func(ctx context.Context, i int) error {
				_, err := h.start(ctx, name(i), false)
				started.Store(i, err == nil)
				return err
			})
		})
		group.Go(func() {
			w.stops.every(ctx, 1, func(ctx context.Context, i int) error {
				if ok, _ := started.Load(i - 3); ok != true {
					return nil // too early, or its start has failed
				}
				return h.stop(ctx, name(i-3))
			})
		})
	}
	group.Wait()
	return all
}

// outpost reports what the process has taken.
func (r *report) outpost(ctx context.Context, o *outpost, used, took time.Duration) error {
	peak, err := process.PeakMemory(o.process.Pid())
	if err != nil {
		return err
	}
	r.hold(peak < maxPeak, fmt.Sprintf("below %d MiB", maxPeak), "memory of the outpost, peak", "%.0f MiB", peak)
	r.tell("CPU of the outpost", "%.0f s, %.0f %% of a core", used.Seconds(), 100*used.Seconds()/took.Seconds())
	metrics, err := o.readMetrics(ctx)
	if err != nil {
		return err
	}
	for name, value := range metrics {
		for _, prefix := range []string{
			"outpost_http_connections_dropped_total", "outpost_ssh_handshakes_total", "outpost_ssh_closed_total",
			"outpost_ssh_refused_total", "outpost_tunnels", "outpost_api_connections", "go_goroutines",
			"go_memstats_heap_inuse_bytes", "go_memstats_stack_inuse_bytes", "process_open_fds",
		} {
			if strings.HasPrefix(name, prefix) {
				r.notes = append(r.notes, fmt.Sprintf("%s %.0f", name, value))
			}
		}
	}
	slices.Sort(r.notes)
	return nil
}

// hubs reports what came of the work of hubs.
func (r *report) hubs(all []*work) {
	for _, w := range all {
		for _, t := range []*tally{&w.logins, &w.polls, &w.fresh, &w.starts, &w.stops} {
			done, failed := t.counts()
			r.hold(failed == 0, "all answered", t.what, "%d answered, %d failed", done, failed)
			p99 := t.percentile(99)
			what, format := t.what+", p50 / p99 / longest", "%.1f / %.1f / %.1f ms"
			values := []any{milliseconds(t.percentile(50)), milliseconds(p99), milliseconds(t.percentile(100))}
			if t == &w.polls || t == &w.fresh {
				r.hold(done > 0 && p99 < maxPoll, fmt.Sprintf("p99 below %v", maxPoll), what, format, values...)
			} else {
				r.tell(what, format, values...)
			}
			for text, n := range t.failures {
				r.notes = append(r.notes, fmt.Sprintf("%s failed %d times: %s", t.what, n, text))
			}
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// attacker reports what an attacker has done.
func (r *report) attacker(a *attacker, used time.Duration) {
	counts := a.last.Load()
	r.tell("attack: "+a.role, "%d opened, %d ended by the outpost, %d not opened; %d open, at most %d; CPU %.0f s",
		counts.Opened, counts.Ended, counts.Failed, counts.Standing, a.peak.Load(), used.Seconds())
}
