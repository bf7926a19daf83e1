//go:build e2e

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/store/storetest"
)

const (
	rounds  = 6 // of killing the process
	workers = 6 // that start and stop servers meanwhile
)

// ledger is what the hub was told: the truth that must still hold after each kill.
type ledger struct {
	mu      sync.Mutex
	running map[string]bool // answered as started, and no stop was asked for
	stopped map[string]bool // answered as stopped
}

func (l *ledger) set(m map[string]bool, key string, value bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m[key] = value
	if !value {
		delete(m, key)
	}
}

func (l *ledger) keys(m map[string]bool) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// A process that is killed at any moment, again and again, loses no server, leaves no pod and keeps no row.
func TestE2EKilledProcessLosesNothing(t *testing.T) {
	c := newCluster(t)
	p := c.newProcess(t, t.TempDir())
	l := &ledger{running: map[string]bool{}, stopped: map[string]bool{}}
	for round := range rounds {
		p.start(t)
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		answers := make(chan struct{})
		for worker := range workers {
			work.Go(func() { startAndStop(ctx, p, l, fmt.Sprintf("r%d-w%d", round, worker), answers) })
		}
		// After some answers and a moment more, so that every state is met, on a quick machine as on a slow one.
		for range 2 + rand.IntN(3*workers) {
			select {
			case <-answers:
			case <-time.After(3 * time.Minute):
				t.Fatal("no answer for three minutes")
			}
		}
		time.Sleep(rand.N(time.Second))
		p.kill()
		stop()
		work.Wait()
	}
	p.start(t)
	wait(t, 3*time.Minute, "rows are pods, and what was stopped is gone", func() error {
		if status, _, err := p.call(t.Context(), http.MethodGet, "/services/nobody/0", nil, false); err != nil || status != http.StatusNotFound {
			return fmt.Errorf("left-overs are still dealt with: status %d, %v", status, err)
		}
		rows := p.services(t)
		if diff := cmp.Diff(rows, c.pods(t)); diff != "" {
			return errors.New("(-rows +pods):\n" + diff)
		}
		for _, key := range l.keys(l.stopped) {
			if slices.Contains(rows, key) {
				return fmt.Errorf("%s was answered as stopped, and is there", key)
			}
		}
		return nil
	})
	rows := p.services(t)
	for _, key := range l.keys(l.running) {
		if !slices.Contains(rows, key) {
			t.Errorf("%s was answered as started, and is lost", key)
		}
		if status, answer, err := p.call(t.Context(), http.MethodGet, "/services/"+key, nil, false); err != nil || !strings.Contains(answer, `"status":null`) {
			t.Errorf("poll of %s: status %d, %s, %v", key, status, answer, err)
		}
	}
	t.Logf("%d kills; %d servers run, %d were answered as started, %d as stopped", rounds, len(rows), len(l.keys(l.running)), len(l.keys(l.stopped)))
	if len(l.keys(l.running)) == 0 || len(l.keys(l.stopped)) == 0 {
		t.Error("the test has shown nothing: no start or no stop was answered")
	}
}

// startAndStop starts servers of its own names, some of them asynchronously, and stops every second one, until ctx ends. It
// reports each answer.
func startAndStop(ctx context.Context, p *process, l *ledger, prefix string, answers chan<- struct{}) {
	answered := func() {
		select {
		case answers <- struct{}{}:
		case <-ctx.Done():
		}
	}
	for i := 0; ctx.Err() == nil; i++ {
		name, startID := fmt.Sprintf("%s-%d", prefix, i), fmt.Sprintf("s%d", i)
		key := name + "/" + startID
		async := i%3 == 2
		status, _, err := p.startService(ctx, name, startID, async)
		if err != nil {
			return // the process is dead
		}
		answered()
		if !async && status == http.StatusOK {
			l.set(l.running, key, true)
		}
		if i%2 == 0 {
			continue
		}
		l.set(l.running, key, false)
		status, _, err = p.call(ctx, http.MethodDelete, "/services/"+key, nil, i%4 == 1)
		if err == nil && (status == http.StatusOK || status == http.StatusAccepted) {
			l.set(l.stopped, key, true)
			answered()
		}
	}
}

// Many synchronous stops at once, and starts while they run, are all answered; polls stay quick. (The Python server hangs
// at 20 stops, X80.)
func TestE2EManyStopsAtOnce(t *testing.T) {
	c := newCluster(t)
	p := c.newProcess(t, t.TempDir())
	p.start(t)
	const stops, starts = 30, 16
	inParallel(t, stops+1, func(i int) error {
		return wantStatus(p.startService(t.Context(), fmt.Sprintf("old-%d", i), "s", false))
	})

	polling, done := context.WithCancel(t.Context())
	var slowest time.Duration
	var polls int
	var poller sync.WaitGroup
	poller.Go(func() {
		for polling.Err() == nil {
			begin := time.Now()
			if status, answer, err := p.call(polling, http.MethodGet, fmt.Sprintf("/services/old-%d/s", stops), nil, false); err == nil && status != http.StatusOK {
				t.Errorf("poll: status %d, %s", status, answer)
			}
			slowest = max(slowest, time.Since(begin))
			polls++
			time.Sleep(10 * time.Millisecond)
		}
	})
	begin := time.Now()
	inParallel(t, stops+starts, func(i int) error {
		if i < stops {
			return wantStatus(p.call(t.Context(), http.MethodDelete, fmt.Sprintf("/services/old-%d/s", i), nil, false))
		}
		return wantStatus(p.startService(t.Context(), fmt.Sprintf("new-%d", i), "s", false))
	})
	took := time.Since(begin)
	done()
	poller.Wait()
	t.Logf("%d stops and %d starts at once took %v; the slowest of %d polls took %v", stops, starts, took, polls, slowest)
	if slowest > time.Second {
		t.Errorf("a poll took %v", slowest)
	}
	rows := p.services(t)
	if len(rows) != starts+1 {
		t.Errorf("rows %v", rows)
	}
	if diff := cmp.Diff(rows, c.pods(t)); diff != "" {
		t.Errorf("(-rows +pods):\n%s", diff)
	}
}

// Two processes on one PostgreSQL: no start runs twice, a quota holds, and each knows what the other did.
func TestE2ETwoProcesses(t *testing.T) {
	c := newCluster(t)
	database := storetest.StartPostgres(t)
	env := []string{
		"SQL_TYPE=postgresql", "SQL_HOST=" + database.Host, "SQL_USER=" + database.User, "SQL_PASSWORD=" + storetest.Password,
		"SQL_DATABASE=" + database.NewDatabase(t), "OUTPOST_LEASE=outpost",
	}
	a, b := c.newProcess(t, t.TempDir(), env...), c.newProcess(t, t.TempDir(), env...)
	a.start(t)
	b.start(t)
	both := []*process{a, b}

	var good, refused sync.Map
	inParallel(t, 16, func(i int) error {
		status, answer, err := both[i%2].startService(t.Context(), "twice", "s", false)
		switch {
		case err == nil && status == http.StatusOK:
			good.Store(i, answer)
		case err == nil && status == 419:
			refused.Store(i, answer)
		default:
			return fmt.Errorf("status %d, %s, %w", status, answer, err)
		}
		return nil
	})
	if n := size(&good); n != 1 {
		t.Errorf("%d starts of one key were answered well", n)
	}
	if diff := cmp.Diff([]string{"twice/s"}, c.pods(t)); diff != "" {
		t.Errorf("pods (-want +got):\n%s", diff)
	}
	if err := wantStatus(b.call(t.Context(), http.MethodDelete, "/services/twice/s", nil, false)); err != nil {
		t.Error(err)
	}
	for _, p := range both {
		if status, answer, err := p.call(t.Context(), http.MethodGet, "/services/twice/s", nil, false); err != nil || status != http.StatusNotFound {
			t.Errorf("poll after the stop: status %d, %s, %v", status, answer, err)
		}
	}

	// The process that starts a server dies; the other one deals with what it leaves.
	if err := wantStatus(a.startService(t.Context(), "kept", "s", false)); err != nil {
		t.Fatal(err)
	}
	if status, _, err := a.startService(t.Context(), "left", "s", true); err != nil || status != http.StatusAccepted {
		t.Fatalf("status %d, %v", status, err)
	}
	a.kill()
	if status, answer, err := b.call(t.Context(), http.MethodGet, "/services/kept/s", nil, false); err != nil || !strings.Contains(answer, `"status":null`) {
		t.Errorf("poll of the kept one: status %d, %s, %v", status, answer, err)
	}
	for _, name := range []string{"kept", "left"} {
		if err := wantStatus(b.call(t.Context(), http.MethodDelete, "/services/"+name+"/s", nil, false)); err != nil {
			t.Error(err)
		}
	}
	if rows, pods := b.services(t), c.pods(t); len(rows)+len(pods) > 0 {
		t.Errorf("rows %v, pods %v", rows, pods)
	}
}

func size(m *sync.Map) (n int) {
	m.Range(func(any, any) bool { n++; return true })
	return n
}

func wantStatus(status int, answer string, err error) error {
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", status, answer)
	}
	return err
}

// inParallel runs f n times at once and reports every error.
func inParallel(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	var work sync.WaitGroup
	for i := range n {
		work.Go(func() {
			if err := f(i); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	work.Wait()
}
