//go:build e2e

package lifecycle

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// How many servers are stopped and started at once. E2E_STOPS=200 E2E_STARTS=64 takes about ten minutes of two cores,
// most of them for making and removing containers.
const (
	fewStops                        = 20 // a class that ends
	defaultStops, defaultManyStarts = "40", "16"
)

// pollLimit is how long a poll may take meanwhile.
const pollLimit = 50 * time.Millisecond

// Many synchronous stops at once, and starts while they run, are all answered; polls stay quick, and nothing is
// orphaned.
func TestE2EManyStopsAtOnce(t *testing.T) {
	many, err1 := strconv.Atoi(setting("E2E_STOPS", defaultStops))
	starts, err2 := strconv.Atoi(setting("E2E_STARTS", defaultManyStarts))
	if err1 != nil || err2 != nil {
		t.Fatal("E2E_STOPS and E2E_STARTS are numbers: ", err1, err2)
	}
	c := newCluster(t)
	p := c.newProcess(t, t.TempDir())
	p.start(t)
	if err := wantStatus(p.startService(t.Context(), "kept", "s", false)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		prefix        string
		stops, starts int
	}{{"few", fewStops, 0}, {"many", many, starts}} {
		old := func(i int) string { return fmt.Sprintf("%s-old-%d", test.prefix, i) }
		begin := time.Now()
		atMost(t, test.stops, 32,
			func(i int) error { return wantStatus(p.startService(t.Context(), old(i), "s", false)) })
		t.Logf("%d servers were started within %v", test.stops, time.Since(begin).Round(time.Millisecond))

		meter := newMeter(t, p, "/services/kept/s")
		begin = time.Now()
		var stopped time.Duration
		var stopping sync.WaitGroup
		for i := range test.stops {
			stopping.Go(func() {
				err := wantStatus(p.call(t.Context(), http.MethodDelete,
					"/services/"+old(i)+"/s", nil, false))
				if err != nil {
					t.Errorf("stop %d: %v", i, err)
				}
			})
		}
		var starting sync.WaitGroup
		for i := range test.starts {
			starting.Go(func() {
				err := wantStatus(p.startService(t.Context(),
					fmt.Sprintf("%s-new-%d", test.prefix, i), "s", false))
				if err != nil {
					t.Errorf("start %d: %v", i, err)
				}
			})
		}
		stopping.Wait()
		stopped = time.Since(begin)
		starting.Wait()
		meter.stop(t, fmt.Sprintf("%d stops were answered within %v, %d starts meanwhile within %v",
			test.stops, stopped.Round(time.Millisecond), test.starts, time.Since(begin).Round(time.Millisecond)))

		rows := p.services(t)
		if want := 1 + test.starts; len(rows) != want {
			t.Errorf("%d rows are left, want %d: %v", len(rows), want, rows)
		}
		if diff := cmp.Diff(rows, c.pods(t)); diff != "" {
			t.Errorf("(-rows +pods):\n%s", diff)
		}
		// Kubernetes collects the Services of removed pods in its own time.
		wait(t, time.Minute, "each pod has its Service, and there is no other", func() error {
			services, pods := c.servicesAndPods(t)
			if diff := cmp.Diff(pods, services); diff != "" {
				return fmt.Errorf("(-pods +services):\n%s", diff)
			}
			return nil
		})
	}
}

// meter polls a service again and again. Beside each poll it asks a server that does nothing, on the same machine and
// by the same program: what that one takes is the machine's and the test's, not the outpost's.
type meter struct {
	polls, control []time.Duration
	end            context.CancelFunc
	done           chan struct{}
}

func newMeter(t *testing.T, p *process, path string) *meter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nothing := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter,
		_ *http.Request,
	) {
		_, _ = w.Write([]byte("{}"))
	})}
	go func() { _ = nothing.Serve(listener) }()
	t.Cleanup(func() { _ = nothing.Close() })
	control, outpost := newAPI("http://"+listener.Addr().String()), newAPI(p.url)
	ctx, end := context.WithCancel(t.Context())
	m := &meter{end: end, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			for _, ask := range []struct {
				api  *api
				into *[]time.Duration
			}{{outpost, &m.polls}, {control, &m.control}} {
				begin := time.Now()
				status, answer, err := ask.api.call(ctx, http.MethodGet, path, nil, false)
				if ctx.Err() != nil {
					return
				}
				if err != nil || status != http.StatusOK {
					t.Errorf("poll: status %d, %s, %v", status, answer, err)
				}
				*ask.into = append(*ask.into, time.Since(begin))
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return m
}

// stop returns how long polls took, and fails if one of ten took too long and that was not the machine's doing. The
// slowest of them say more of a machine that makes and removes containers with all its cores than of the outpost.
func (m *meter) stop(t *testing.T, what string) {
	t.Helper()
	m.end()
	<-m.done
	at := func(list []time.Duration, percent int) time.Duration {
		return list[min(len(list)*percent/100, len(list)-1)].Round(10 * time.Microsecond)
	}
	figures := func(list []time.Duration) string {
		slices.Sort(list)
		return fmt.Sprintf("%v (p50), %v (p90), %v (p99), %v (longest)", at(list, 50),
			at(list, 90), at(list, 99), at(list, 100))
	}
	t.Logf("%s; %d polls took %s; a server that does nothing %s", what, len(m.polls),
		figures(m.polls), figures(m.control))
	if got, limit := at(m.polls, 90), pollLimit+at(m.control, 90); got > limit {
		t.Errorf("1 of 10 polls took %v or more, want %v", got, limit)
	}
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

// atMost runs f n times, as many at once as are allowed.
func atMost(t *testing.T, n, atOnce int, f func(i int) error) {
	t.Helper()
	slots := make(chan struct{}, atOnce)
	inParallel(t, n, func(i int) error {
		slots <- struct{}{}
		defer func() { <-slots }()
		return f(i)
	})
}
