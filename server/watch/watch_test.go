package watch_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/watch"
)

// source is a watch.Source in memory: what a poll of each service would be answered.
type source struct {
	*watch.Boards
	reconciled chan struct{}
	onLook     func(outpost.Key)
	onList     func() error

	mu       sync.Mutex
	services map[outpost.Key]answer
	looks    int
}

type answer struct {
	result outpost.PollResult
	err    error
}

// newSource returns a source whose left-overs are reconciled. It is closed with the test.
func newSource(t testing.TB) *source {
	t.Helper()
	s := &source{reconciled: make(chan struct{}), services: map[outpost.Key]answer{}}
	close(s.reconciled)
	s.Boards = watch.New(s)
	t.Cleanup(s.Close)
	return s
}

func (s *source) Look(_ context.Context, k outpost.Key) (outpost.PollResult, error) {
	if s.onLook != nil {
		s.onLook(k)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	a, ok := s.services[k]
	if !ok {
		return outpost.PollResult{}, outpost.ErrNotFound
	}
	return a.result, a.err
}

func (s *source) Services(_ context.Context, hub string) ([]outpost.Key, error) {
	if s.onList != nil {
		if err := s.onList(); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []outpost.Key
	for k := range s.services {
		if k.Hub == hub {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

func (s *source) Reconciled() <-chan struct{} { return s.reconciled }

// set changes what a poll is answered, and says so.
func (s *source) set(k outpost.Key, a answer) {
	s.mu.Lock()
	s.services[k] = a
	s.mu.Unlock()
	s.Changed(k)
}

func (s *source) remove(k outpost.Key) {
	s.mu.Lock()
	delete(s.services, k)
	s.mu.Unlock()
	s.Changed(k)
}

func (s *source) open(t testing.TB, hub string) *watch.Watch {
	t.Helper()
	w, err := s.Open(t.Context(), hub)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func key(name string) outpost.Key { return outpost.Key{Hub: "hub-a", Name: name, StartID: "1"} }

func ended(code int) answer {
	return answer{result: outpost.PollResult{Ended: true, ExitCode: code, KubeReason: "Error", Logs: []string{"boom"}}}
}

var errAway = outpost.Errorf(outpost.KindUnavailable, "Kubernetes does not answer; try again.")

// line is an event in short: "lab running", "lab ended 1", "lab gone", "synced 3".
func line(e watch.Event) string {
	switch e.Kind {
	case watch.KindGone:
		return e.Key.Name + " gone"
	case watch.KindUnknown:
		return e.Key.Name + " unknown"
	case watch.KindSynced:
		return fmt.Sprint("synced ", e.Services)
	case watch.KindResync:
		return "resync"
	case watch.KindHeartbeat:
		return "heartbeat"
	case watch.KindMaintenance:
		if e.Maintenance == nil {
			return "no maintenance"
		}
		return fmt.Sprint("maintenance ", e.Maintenance.Text, " ", e.Maintenance.Active)
	}
	if e.Result.Ended {
		return fmt.Sprint(e.Key.Name, " ended ", e.Result.ExitCode)
	}
	return e.Key.Name + " running"
}

// until reads until an event in short is there, and returns all.
func until(t testing.TB, w *watch.Watch, last string) (lines []string) {
	t.Helper()
	for {
		events, err := w.Next(t.Context())
		if err != nil {
			t.Fatalf("%v after %q", err, lines)
		}
		found := false
		for _, e := range events {
			lines = append(lines, line(e))
			found = found || lines[len(lines)-1] == last
		}
		if found {
			return lines
		}
	}
}

func wantLines(t testing.TB, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSnapshotThenChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		s.set(key("a"), answer{})
		s.set(key("b"), ended(1))
		s.set(key("c"), answer{err: errAway})
		w := s.open(t, "hub-a")
		got := until(t, w, "synced 3")
		slices.Sort(got)
		wantLines(t, []string{"a running", "b ended 1", "c unknown", "synced 3"}, got)
		s.set(key("d"), answer{})
		wantLines(t, []string{"d running"}, until(t, w, "d running"))
		s.set(key("a"), ended(137))
		wantLines(t, []string{"a ended 137"}, until(t, w, "a ended 137"))
		s.remove(key("a"))
		wantLines(t, []string{"a gone"}, until(t, w, "a gone"))
	})
}

// What is announced is told at the beginning, and again when it changes; a watch that begins without any hears nothing.
func TestAnnouncements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		s.set(key("a"), answer{})
		early := s.open(t, "hub-a")
		wantLines(t, []string{"a running", "synced 1"}, until(t, early, "synced 1"))
		end := time.Now().Add(time.Hour)
		announce := func(text string, active bool) {
			until := end
			s.Announce(&catalog.Maintenance{From: end, Until: &until, Text: text, Active: active})
		}
		announce("disks", false)
		announce("disks", false)
		wantLines(t, []string{"maintenance disks false"}, until(t, early, "maintenance disks false"))
		late, other := s.open(t, "hub-a"), s.open(t, "hub-b")
		wantLines(t, []string{"maintenance disks false", "a running", "synced 1"}, until(t, late, "synced 1"))
		wantLines(t, []string{"maintenance disks false", "synced 0"}, until(t, other, "synced 0"))
		announce("disks", true)
		for _, w := range []*watch.Watch{early, late, other} {
			wantLines(t, []string{"maintenance disks true"}, until(t, w, "maintenance disks true"))
		}
		announce("more", true)
		s.Announce(nil)
		wantLines(t, []string{"no maintenance"}, until(t, early, "no maintenance")) // the newest only
		wantLines(t, []string{"a running", "synced 1"}, until(t, s.open(t, "hub-a"), "synced 1"))
	})
}

// Nothing is said twice, and several changes of one service are its newest state.
func TestChangesAreMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		s.set(key("a"), answer{})
		s.set(key("b"), answer{})
		w := s.open(t, "hub-a")
		until(t, w, "synced 2")
		for i := range 1000 {
			s.set(key("a"), ended(i%7))
			synctest.Wait()
		}
		s.set(key("b"), ended(9))
		synctest.Wait()
		wantLines(t, []string{"a ended 5", "b ended 9"}, until(t, w, "b ended 9"))
		s.Changed(key("a"))
		wantLines(t, []string{"heartbeat"}, until(t, w, "heartbeat"))
	})
}

func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		w := s.open(t, "hub-a")
		until(t, w, "synced 0")
		for range 3 {
			begin := time.Now()
			wantLines(t, []string{"heartbeat"}, until(t, w, "heartbeat"))
			if took := time.Since(begin); took != watch.Heartbeat {
				t.Errorf("after %v", took)
			}
		}
	})
}

// A watch whose reader is to be told nothing more says nothing more, whatever there is to tell.
func TestAnEndedContextIsToldNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		s.set(key("a"), answer{})
		w := s.open(t, "hub-a")
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if events, err := w.Next(ctx); len(events) != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("told %v, %v", events, err)
		}
	})
}

func TestAnotherHubIsNeverShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		other := outpost.Key{Hub: "hub-b", Name: "secret", StartID: "1"}
		s.set(key("a"), answer{})
		s.set(other, answer{})
		w, b := s.open(t, "hub-a"), s.open(t, "hub-b")
		wantLines(t, []string{"a running", "synced 1"}, until(t, w, "synced 1"))
		wantLines(t, []string{"secret running", "synced 1"}, until(t, b, "synced 1"))
		s.set(other, ended(1))
		s.remove(other)
		wantLines(t, []string{"heartbeat"}, until(t, w, "heartbeat"))
	})
}

// Until left-overs are reconciled a poll of a server that has ended is answered "running", and so is one of a service
// that does not exist: nothing may follow from a snapshot.
func TestSyncedWaitsForTheReconciliation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		s.reconciled = make(chan struct{})
		s.set(key("a"), answer{})
		w := s.open(t, "hub-a")
		wantLines(t, []string{"a running", "heartbeat"}, until(t, w, "heartbeat"))
		s.mu.Lock()
		s.services[key("a")] = ended(1) // unsignalled, as what has always been so
		s.mu.Unlock()
		close(s.reconciled)
		wantLines(t, []string{"a ended 1", "synced 1"}, until(t, w, "synced 1"))
	})
}

// A snapshot has each service, also those whose state takes its time.
func TestSyncedWaitsForSlowLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		s.onLook = func(k outpost.Key) {
			if k.Name == "slow" {
				time.Sleep(25 * time.Second)
			}
		}
		s.set(key("slow"), answer{})
		s.set(key("quick"), answer{})
		w := s.open(t, "hub-a")
		wantLines(t, []string{"quick running", "heartbeat", "heartbeat", "slow running", "synced 2"},
			until(t, w, "synced 2"))
	})
}

// What changes while it is looked at is looked at again: the last line is the newest state.
func TestChangeDuringALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		s.set(key("a"), answer{})
		w := s.open(t, "hub-a")
		until(t, w, "synced 1")
		looking, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		s.onLook = func(outpost.Key) {
			once.Do(func() {
				close(looking)
				<-goOn
			})
		}
		s.Changed(key("a"))
		<-looking
		s.set(key("a"), ended(3))
		s.remove(key("a"))
		close(goOn)
		until(t, w, "a gone")
	})
}

func TestUnknownIsLookedAtAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		s.set(key("a"), answer{err: errAway})
		w := s.open(t, "hub-a")
		wantLines(t, []string{"a unknown", "synced 1"}, until(t, w, "synced 1"))
		s.mu.Lock()
		s.services[key("a")] = answer{}
		s.mu.Unlock()
		begin := time.Now()
		wantLines(t, []string{"a running"}, until(t, w, "a running"))
		if took := time.Since(begin); took > time.Second {
			t.Errorf("after %v", took)
		}
	})
}

// A change that nobody has signalled is found as late as a poll would find it, and what has ended costs nothing more.
func TestEverythingThatRunsIsLookedAtFromTimeToTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		s.set(key("a"), answer{})
		s.set(key("b"), ended(0))
		w := s.open(t, "hub-a")
		until(t, w, "synced 2")
		s.mu.Lock()
		s.services[key("a")] = ended(1)
		s.looks = 0
		s.mu.Unlock()
		begin := time.Now()
		until(t, w, "a ended 1")
		if took := time.Since(begin); took > 31*time.Second {
			t.Errorf("after %v", took)
		}
		time.Sleep(10 * time.Minute)
		if s.looks > 2 {
			t.Errorf("%d looks", s.looks)
		}
	})
}

func TestFourWatchesOfAHub(t *testing.T) {
	s := newSource(t)
	var all []*watch.Watch
	for range watch.PerHub {
		all = append(all, s.open(t, "hub-a"))
	}
	_, err := s.Open(t.Context(), "hub-a")
	if outpost.KindOf(err) != outpost.KindUnavailable {
		t.Fatalf("one more: %v", err)
	}
	s.open(t, "hub-b")
	if diff := cmp.Diff(map[string]int{"hub-a": watch.PerHub, "hub-b": 1}, s.Counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	all[2].Close()
	all[2].Close()
	s.open(t, "hub-a")
}

// A list that cannot be read leaves no watch behind.
func TestOpenFails(t *testing.T) {
	s := newSource(t)
	s.onList = func() error { return errAway }
	for range 2 * watch.PerHub {
		if _, err := s.Open(t.Context(), "hub-a"); !errors.Is(err, errAway) {
			t.Fatalf("%v", err)
		}
	}
	if n := len(s.Counts()); n > 0 {
		t.Errorf("%d hubs", n)
	}
}

func TestCloseEndsWatchesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		w := s.open(t, "hub-a")
		until(t, w, "synced 0")
		result := make(chan error, 1)
		go func() {
			_, err := w.Next(context.Background())
			result <- err
		}()
		synctest.Wait()
		begin := time.Now()
		s.Close()
		if err := <-result; !errors.Is(err, watch.ErrEnded) || time.Since(begin) > 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if _, err := s.Open(t.Context(), "hub-a"); outpost.KindOf(err) != outpost.KindUnavailable {
			t.Errorf("a watch after the end: %v", err)
		}
		s.Changed(key("a"))
	})
}

// A reader that misses more services that went than are kept is told everything anew.
func TestResync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		const many = 10_000
		for i := range many {
			s.set(key(fmt.Sprint(i)), answer{})
		}
		w := s.open(t, "hub-a")
		until(t, w, fmt.Sprint("synced ", many))
		for i := range many {
			s.remove(key(fmt.Sprint(i)))
		}
		synctest.Wait()
		s.set(key("last"), answer{})
		synctest.Wait()
		wantLines(t, []string{"resync", "last running", "synced 1"}, until(t, w, "synced 1"))
	})
}

// told is what a reader concludes from a watch.
type told struct {
	mu       sync.Mutex
	services map[outpost.Key]string
	snapshot map[outpost.Key]bool
	synced   bool
}

func (m *told) take(e watch.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e.Kind {
	case watch.KindService, watch.KindUnknown:
		m.services[e.Key] = line(e)
		m.snapshot[e.Key] = true
	case watch.KindGone:
		delete(m.services, e.Key)
	case watch.KindResync:
		m.snapshot = map[outpost.Key]bool{}
	case watch.KindSynced:
		m.synced = true
		maps.DeleteFunc(m.services, func(k outpost.Key, _ string) bool { return !m.snapshot[k] })
	}
}

// Readers that come and go, fast and slow, while services change all the time: each ends with the truth.
func TestReadersUnderChangeEndWithTheTruth(t *testing.T) {
	s := newSource(t)
	ctx, stop := context.WithCancel(t.Context())
	var writers, readers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for range 5_000 {
				k := key(fmt.Sprint(i, "-", random.IntN(500)))
				switch random.IntN(4) {
				case 0:
					s.remove(k)
				case 1:
					s.set(k, ended(random.IntN(3)))
				case 2:
					s.set(k, answer{err: errAway})
				default:
					s.set(k, answer{})
				}
			}
		})
	}
	all := make([]*told, watch.PerHub)
	for i := range all {
		all[i] = &told{services: map[outpost.Key]string{}, snapshot: map[outpost.Key]bool{}}
		w := s.open(t, "hub-a")
		readers.Go(func() {
			for {
				events, err := w.Next(ctx)
				if err != nil {
					return
				}
				for _, e := range events {
					all[i].take(e)
					for range i * 100 {
						runtime.Gosched() // a slow reader
					}
				}
			}
		})
	}
	writers.Wait()
	want := map[outpost.Key]string{}
	for k, a := range s.services {
		e := watch.Event{Key: k, Result: a.result}
		if a.err != nil {
			e.Kind = watch.KindUnknown
		}
		want[k] = line(e)
	}
	deadline := time.Now().Add(5 * time.Minute)
	for i, m := range all {
		for {
			m.mu.Lock()
			diff := cmp.Diff(want, m.services)
			synced := m.synced
			m.mu.Unlock()
			if diff == "" && synced {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("reader %d, synced %v (-want +got):\n%s", i, synced, diff)
			}
			time.Sleep(time.Millisecond)
		}
	}
	stop()
	readers.Wait()
}

// A hub of 100,000 services costs a bounded amount for each, whatever happens to them, and a watch nothing more.
func TestMemoryOfManyServices(t *testing.T) {
	s := newSource(t)
	const many = 100_000
	for i := range many {
		s.services[key(fmt.Sprint(i))] = answer{}
	}
	before := heap()
	w := s.open(t, "hub-a")
	until(t, w, fmt.Sprint("synced ", many))
	each := float64(heap()-before) / many
	if each > 600 {
		t.Errorf("%.0f bytes for a service", each)
	}
	slow := s.open(t, "hub-a") // it reads nothing
	watched := heap()
	for i := range many {
		s.set(key(fmt.Sprint(i)), ended(1))
	}
	s.set(key("last"), ended(1))
	until(t, w, "last ended 1")
	if more := float64(heap()-watched) / many; more > 300 {
		t.Errorf("%.0f bytes more for a service after changes that nobody has read", more)
	}
	runtime.KeepAlive(slow)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
