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
)

const (
	rounds  = 6 // of killing the process
	workers = 6 // that start and stop servers meanwhile
)

// ledger is what the outpost has answered to the hub, which must still hold after each kill.
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
	t.Parallel()
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
		for range workers + 2 + rand.IntN(2*workers) {
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
		if status, _, err := p.call(t.Context(), http.MethodGet, "/services/nobody/0", nil, false); err != nil ||
			status != http.StatusNotFound {
			//nolint:errorlint // it may be nil
			return fmt.Errorf("left-overs are still being removed: status %d, %v", status, err)
		}
		rows := p.services(t)
		if diff := cmp.Diff(rows, c.pods(t)); diff != "" {
			return errors.New("(-rows +pods):\n" + diff)
		}
		if services, pods := c.servicesAndPods(t); !slices.Equal(services, pods) {
			return fmt.Errorf("Services are %q, pods %q", services, pods)
		}
		for _, key := range l.keys(l.stopped) {
			if slices.Contains(rows, key) {
				return fmt.Errorf("%s was answered as stopped, and still exists", key)
			}
		}
		return nil
	})
	rows := p.services(t)
	for _, key := range l.keys(l.running) {
		if !slices.Contains(rows, key) {
			t.Errorf("%s was answered as started, and is lost", key)
		}
		if status, answer, err := p.call(t.Context(), http.MethodGet, "/services/"+key, nil, false); err != nil ||
			!strings.Contains(answer, `"status":null`) {
			t.Errorf("poll of %s: status %d, %s, %v", key, status, answer, err)
		}
	}
	t.Logf("%d kills; %d servers run, %d were answered as started, %d as stopped", rounds, len(rows),
		len(l.keys(l.running)), len(l.keys(l.stopped)))
	if len(l.keys(l.running)) == 0 || len(l.keys(l.stopped)) == 0 {
		t.Error("the test proves nothing: no start or no stop was answered")
	}
}

// startAndStop starts servers of its own names, some of them asynchronously, and stops every second one, until ctx
// ends. It reports each answer.
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
