package kube

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/outpost"
)

// watched names the namespaces that are watched, sorted.
func (s *Spawner) watched() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for namespace := range s.watchers {
		out = append(out, namespace)
	}
	slices.Sort(out)
	return out
}

// Watchers of namespaces that nothing needs end with all that they have started; those that something needs stay.
func TestIdleWatchersEnd(t *testing.T) {
	cl := newCluster()
	pod := podOf("jupyter-user", "u", annotated("user", ownInstallation, aliceKey))
	pod.Namespace = "has-a-pod"
	if err := cl.Tracker().Add(pod); err != nil {
		t.Fatal(err)
	}
	clock := &atomic.Int64{}
	now := func() time.Time { return time.Unix(0, clock.Load()) }
	s := cl.run(t, Options{Now: now, Namespaces: []string{"configured"}})
	before := runtime.NumGoroutine()
	var ended []*watcher
	use := func(namespace string) *watcher {
		t.Helper()
		w, err := s.watch(t.Context(), namespace)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.waitSynced(t.Context()); err != nil {
			t.Fatal(err)
		}
		return w
	}
	for i := range 20 {
		ended = append(ended, use(fmt.Sprint("user-", i)))
	}
	use("has-a-pod")
	defer use("has-a-waiting-start").subscribe("jupyter-user").close()
	use("was-polled")
	clock.Add(int64(idleAfter) - 1)
	s.endIdle()
	if n := len(s.watched()); n != 25 {
		t.Errorf("%d namespaces are watched before any is idle", n)
	}
	use("was-polled")
	clock.Add(1)
	s.endIdle()
	want := []string{"configured", "has-a-pod", "has-a-waiting-start", "jhub", "was-polled"}
	if diff := cmp.Diff(want, s.watched()); diff != "" {
		t.Errorf("watched (-want +got)\n%s", diff)
	}
	for _, w := range ended {
		<-w.ended
	}
	if more := runtime.NumGoroutine() - before; more > 100 {
		t.Errorf("%d more goroutines than before, for three watchers", more)
	}
	if again := use("user-1"); slices.Contains(ended, again) {
		t.Error("a watcher that has ended is used again")
	}
}

// The number of watchers is bounded: one that nothing needs makes room, and one that something needs does not.
func TestNumberOfWatchers(t *testing.T) {
	cl := newCluster()
	clock := &atomic.Int64{}
	s := cl.run(t, Options{Now: func() time.Time { return time.Unix(0, clock.Load()) }})
	s.maxWatchers = 3
	use := func(namespace string) error {
		clock.Add(1)
		_, err := s.watch(t.Context(), namespace)
		return err
	}
	for _, namespace := range []string{"a", "b", "c"} {
		if err := use(namespace); err != nil {
			t.Fatal(err)
		}
	}
	state := outpost.State{"pod_name": "x", "namespace": "d"}
	if _, err := s.Poll(t.Context(), aliceKey, state); outpost.KindOf(err) != outpost.KindUnavailable {
		t.Errorf("all of them busy: error %v", err)
	}
	if err := use("a"); err != nil {
		t.Errorf("one that is watched: %v", err)
	}
	s.watchers["b"].subscribe("jupyter-user")
	clock.Add(int64(busyFor))
	if err := use("d"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "d", "jhub"}, s.watched()); diff != "" {
		t.Errorf("watched (-want +got)\n%s", diff)
	}
}
