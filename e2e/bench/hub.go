package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/e2e/process"
)

// measureHub takes what servers cost the hub's one process: the real JupyterHub with the outposts' module, and the same
// hub with KubeSpawner. Pods and their servers are simulated, so that what is left is the hub's own.
func measureHub(ctx context.Context, r *run) (err error) {
	out, err := exec.CommandContext(ctx, "infra/hub/tests/environment", hubPair).Output()
	if err != nil {
		return fmt.Errorf("environment of %s: %w", hubPair, err)
	}
	python := strings.TrimSpace(string(out))
	for _, part := range []struct {
		topics []string
		take   func(context.Context, *run, []*hubWorld) error
	}{
		{[]string{"hub/start", "hub/starts", "hub/end"}, takeStarts},
		{[]string{"hub/running", "hub/restart"}, takeRunning},
	} {
		if slices.ContainsFunc(part.topics, r.wants) {
			err = errors.Join(err, inHubWorlds(ctx, r, python, part.take))
		}
	}
	return err
}

// inHubWorlds calls a function with a hub of each kind.
func inHubWorlds(
	ctx context.Context, r *run, python string, take func(context.Context, *run, []*hubWorld) error,
) (err error) {
	var worlds []*hubWorld
	for _, spawner := range []string{projectSubject, kubeSpawner} {
		w, err := newHubWorld(ctx, r, spawner, python)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.close()) }()
		if _, err := w.startHub(ctx); err != nil {
			return err
		}
		worlds = append(worlds, w)
	}
	if err := take(ctx, r, worlds); err != nil {
		for _, w := range worlds {
			err = fmt.Errorf("%w; %s: %s", err, w.spawner, w.lastLog())
		}
		return err
	}
	return nil
}

// takeStarts takes single starts, many at once, starts beside others that hang, and ends.
func takeStarts(ctx context.Context, r *run, worlds []*hubWorld) error {
	rounds := pick(r, 3, 1)
	for round := range rounds {
		for _, w := range worlds {
			r.say("hub: starts with %s, round %d of %d", w.spawner, round+1, rounds)
			err := errors.Join(w.startAlone(ctx, round), w.startThrough(ctx, round), w.startMany(ctx, round),
				w.endOne(ctx, round))
			if err != nil {
				return fmt.Errorf("%s: %w", w.spawner, err)
			}
		}
	}
	for _, w := range worlds {
		r.say("hub: starts beside others that hang, with %s", w.spawner)
		if err := w.startBeside(ctx); err != nil {
			return fmt.Errorf("%s: %w", w.spawner, err)
		}
	}
	return nil
}

func (w *hubWorld) add(name, unit string, sample float64) {
	w.run.add("hub/"+name, w.spawner, unit, "less", sample)
}

// users makes n users whose names begin alike, and returns their names.
func (w *hubWorld) users(ctx context.Context, n int, kind string, args ...any) ([]string, error) {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", fmt.Sprintf(kind, args...), i)
		if err := w.api.EnsureUser(ctx, names[i]); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// startAlone takes starts one after the other.
func (w *hubWorld) startAlone(ctx context.Context, round int) error {
	return w.takeInTurn(ctx, round, "alone", nearSystem, "")
}

// startThrough takes starts of servers that are reached through the tunnels, one after the other: for each of them, a
// Service is made and asked about.
func (w *hubWorld) startThrough(ctx context.Context, round int) error {
	if w.spawner == kubeSpawner {
		return nil
	}
	return w.takeInTurn(ctx, round, "through", tunnelSystem, ", tunnel")
}

// takeInTurn takes starts on a system, one after the other, of users of a kind. suffix is behind the names of the
// samples.
func (w *hubWorld) takeInTurn(ctx context.Context, round int, kind, system, suffix string) error {
	users, err := w.users(ctx, pick(w.run, 21, 6), "%s-%d", kind, round)
	if err != nil {
		return err
	}
	if _, err := w.inTurn(ctx, users[:1], system); err != nil { // the first one finds nothing prepared
		return err
	}
	begin := process.CPU(w.hub.Pid())
	times, err := w.inTurn(ctx, users[1:], system)
	if err != nil {
		return err
	}
	w.add("start/processor time"+suffix, "ms", milliseconds(process.CPU(w.hub.Pid())-begin)/float64(len(times)))
	w.add("start/alone"+suffix, "ms", milliseconds(times[len(times)/2]))
	return nil
}

// inTurn starts servers on a system, one after the other, and returns their times, sorted.
func (w *hubWorld) inTurn(ctx context.Context, users []string, system string) ([]time.Duration, error) {
	var times []time.Duration
	for _, user := range users {
		t, err := w.startServer(ctx, user, system)
		if err != nil {
			return nil, err
		}
		times = append(times, t)
	}
	slices.Sort(times)
	return times, nil
}

// startMany starts 100 servers at once, each of which takes two seconds.
func (w *hubWorld) startMany(ctx context.Context, round int) error {
	users, err := w.users(ctx, 100, slow+"-%d", round)
	if err != nil {
		return err
	}
	before, begin := process.CPU(w.hub.Pid()), time.Now()
	errs := make([]error, len(users))
	var group sync.WaitGroup
	for i, user := range users {
		group.Go(func() { _, errs[i] = w.startServer(ctx, user, nearSystem) })
	}
	group.Wait()
	w.add("starts/100 of 2 s at once", "s", time.Since(begin).Seconds())
	w.add("starts/processor time of each", "ms", milliseconds(process.CPU(w.hub.Pid())-before)/float64(len(users)))
	return errors.Join(errs...)
}

// endOne takes how long it is until the hub says that a server has ended whose pod is gone.
func (w *hubWorld) endOne(ctx context.Context, round int) error {
	user := fmt.Sprintf("alone-%d-0", round)
	pod, _, err := w.podOf(ctx, user)
	if err != nil {
		return err
	}
	if _, err := w.ask(ctx, http.MethodDelete, w.podsURL(nearSystem)+"/"+pod, ""); err != nil {
		return err
	}
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		servers, err := w.api.Servers(ctx, user)
		switch {
		case err != nil:
			return err
		case len(servers) == 0:
			w.add("end/known after", "s", time.Since(begin).Seconds())
			return nil
		case time.Since(begin) > 2*time.Minute:
			return fmt.Errorf("the end of the server of %s is not known", user)
		}
	}
}

// startBeside takes starts while 64 others hang: on another system, or with KubeSpawner, which has one, in the same
// cluster.
func (w *hubWorld) startBeside(ctx context.Context) error {
	const hanging = 64
	alone, err := w.users(ctx, pick(w.run, 15, 5), "before")
	if err != nil {
		return err
	}
	beside, err := w.users(ctx, len(alone), "beside")
	if err != nil {
		return err
	}
	users, err := w.users(ctx, hanging, hangs)
	if err != nil {
		return err
	}
	before, err := w.inTurn(ctx, alone, nearSystem)
	if err != nil {
		return err
	}
	hung, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	for _, user := range users {
		group.Go(func() { _, _ = w.startServer(hung, user, farSystem) }) // it ends with an error
	}
	if err := w.waitForPods(ctx, hangs, hanging); err != nil {
		return err
	}
	times, err := w.inTurn(ctx, beside, nearSystem)
	if err != nil {
		return err
	}
	middle := len(times) / 2
	w.add("start/beside 64 that hang", "ms", milliseconds(times[middle]))
	w.add("start/beside 64 that hang, of the same alone", "times", times[middle].Seconds()/before[middle].Seconds())
	return nil
}

// takeRunning takes what servers cost that run, and a restart of the hub with them.
func takeRunning(ctx context.Context, r *run, worlds []*hubWorld) error {
	idle := map[*hubWorld]float64{}
	for _, w := range worlds {
		if _, err := w.users(ctx, 1, "model"); err != nil {
			return err
		}
		if _, err := w.startServer(ctx, "model-0", nearSystem); err != nil {
			return fmt.Errorf("%s: %w", w.spawner, err)
		}
		r.say("hub: idle, with %s", w.spawner)
		idle[w] = w.busy(ctx)
		w.add("running/busy, 0 servers", "% of a core", idle[w])
	}
	have := 0
	for _, n := range pick(r, []int{1000, 5000}, []int{1000}) {
		for _, w := range worlds {
			w.hub.Stop()
			r.say("hub: %d running servers, with %s", n, w.spawner)
			if err := w.seed(ctx, "model-0", have+1, n); err != nil {
				return fmt.Errorf("%s: %w", w.spawner, err)
			}
			if err := w.takeServers(ctx, n, idle[w]); err != nil {
				return fmt.Errorf("%s, %d servers: %w", w.spawner, n, err)
			}
		}
		have = n
	}
	return nil
}

// takeServers takes all figures of a hub that is started with n running servers.
func (w *hubWorld) takeServers(ctx context.Context, n int, idle float64) error {
	begin := time.Now()
	if _, err := w.startHub(ctx); err != nil {
		return err
	}
	// Users can work when the hub knows that the last one's server runs.
	if err := w.waitForServer(ctx, fmt.Sprintf("seed-%d", n)); err != nil {
		return err
	}
	w.add(fmt.Sprintf("restart/until users can work, %d servers", n), "s", time.Since(begin).Seconds())
	memory, err := process.PeakMemory(w.hub.Pid())
	if err != nil {
		return err
	}
	w.add(fmt.Sprintf("restart/memory, %d servers", n), "MiB", memory)
	w.add(fmt.Sprintf("running/busy above idle, %d servers", n), "% of a core", w.busy(ctx)-idle)
	const asks = 200
	times := make([]time.Duration, asks)
	for i := range times {
		begin := time.Now()
		if _, err := w.api.Servers(ctx, fmt.Sprintf("seed-%d", i*n/asks+1)); err != nil {
			return err
		}
		times[i] = time.Since(begin)
		time.Sleep(20 * time.Millisecond)
	}
	slices.Sort(times)
	w.add(fmt.Sprintf("running/p99 of the API, %d servers", n), "ms", milliseconds(times[asks*99/100]))
	return nil
}

// busy returns the processor time that the hub takes while nobody asks it, in per cent of a core, once it has settled.
func (w *hubWorld) busy(ctx context.Context) float64 {
	const settled = 35 * time.Second // longer than the interval of polls
	quiet := pick(w.run, 90*time.Second, 60*time.Second)
	sleep(ctx, settled)
	before := process.CPU(w.hub.Pid())
	sleep(ctx, quiet)
	return (process.CPU(w.hub.Pid()) - before).Seconds() / quiet.Seconds() * 100
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
