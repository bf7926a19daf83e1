package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/server/kube/diagnosis"
	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// moody is an API server over HTTP that lists and watches pods, with the answers that real ones give when they are in
// trouble.
type moody struct {
	mu      sync.Mutex
	lists   []func(w http.ResponseWriter) // one for each list; the last one again and again
	watches []func(w http.ResponseWriter, r *http.Request)
	listed  int
}

func (m *moody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	watch := r.URL.Query().Get("watch") != ""
	if strings.HasSuffix(r.URL.Path, "/events") {
		if watch {
			open(w, r)
			return
		}
		write(
			w,
			http.StatusOK,
			corev1.EventList{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "EventList"},
				ListMeta: metav1.ListMeta{ResourceVersion: "1"},
			},
		)
		return
	}
	m.mu.Lock()
	var answer func()
	if watch {
		next := open
		if len(m.watches) > 0 {
			next, m.watches = m.watches[0], m.watches[1:]
		}
		answer = func() { next(w, r) }
	} else {
		next := m.lists[min(m.listed, len(m.lists)-1)]
		m.listed++
		answer = func() { next(w) }
	}
	m.mu.Unlock()
	answer()
}

// open is a watch on which nothing happens.
func open(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func write(w http.ResponseWriter, code int, value any) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(value)
}

// refuse answers with a Status.
func refuse(code int, reason metav1.StatusReason) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		if code == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		write(w, code, failure(code, reason))
	}
}

func failure(code int, reason metav1.StatusReason) metav1.Status {
	return metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure,
		Code:     int32(code),
		Reason:   reason,
		Message:  "planted",
	}
}

// give answers with pods, after a while.
func give(after time.Duration, pods ...corev1.Pod) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		time.Sleep(after) // it is slow
		write(
			w,
			http.StatusOK,
			corev1.PodList{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"},
				ListMeta: metav1.ListMeta{ResourceVersion: "10"},
				Items:    pods,
			},
		)
	}
}

// An API server that throttles, fails, is slow and forgets what it was asked about (410, as an answer and inside of a
// watch) is asked again, and nothing that was known is unlearned meanwhile.
func TestWatchComesBackFromEveryAnswer(t *testing.T) {
	planner := testSpawner(t, "jhub", Options{})
	keys, states := make([]outpost.Key, 2), make([]outpost.State, 2)
	pods := make([]corev1.Pod, 2)
	for i := range pods {
		keys[i] = outpost.Key{Hub: "hub", Name: fmt.Sprintf("lab%d", i), StartID: "s"}
		p := planOf(t, planner, keys[i], nil)
		pods[i], states[i] = *p.Objects.(*kubespawner.Objects).Pod, p.State
		pods[i].Namespace, pods[i].ResourceVersion = "jhub", "5"
		becomeReady(&pods[i])
	}
	forgotten := make(chan struct{})
	server := httptest.NewServer(&moody{
		lists: []func(http.ResponseWriter){
			refuse(
				http.StatusTooManyRequests,
				metav1.StatusReasonTooManyRequests,
			),
			refuse(http.StatusInternalServerError, metav1.StatusReasonInternalError),
			give(300*time.Millisecond, pods[0]),
			refuse(http.StatusGone, metav1.StatusReasonExpired),
			give(0, pods...),
		},
		watches: []func(http.ResponseWriter, *http.Request){func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-forgotten:
			case <-r.Context().Done():
			}
			write(
				w,
				http.StatusOK,
				map[string]any{"type": "ERROR", "object": failure(http.StatusGone, metav1.StatusReasonExpired)},
			)
		}},
	})
	t.Cleanup(server.CloseClientConnections)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := "apiVersion: v1\nkind: Config\ncurrent-context: m\nclusters: [{name: m, cluster: {server: '" + server.URL +
		"'}}]\ncontexts: [{name: m, context: {cluster: m, user: m}}]\nusers: [{name: m, user: {}}]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := Connect(path, "", "test")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(client, "jhub", Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, ownInstallation, nil) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	found, _, err := s.Found(ctx)
	if err != nil || len(found) != 1 || found[0].Key != keys[0] {
		t.Fatalf("found %v, %v", found, err)
	}
	close(forgotten)
	// Looking needs no request for what is known, during all of it.
	deadline := time.Now().Add(patience)
	for s.watchers["jhub"].podOf(s.origin(keys[1])) == nil {
		if time.Now().After(deadline) {
			t.Fatal("the second pod is never seen")
		}
		if got, err := s.Poll(ctx, keys[0], states[0]); err != nil || got != (outpost.Status{}) {
			t.Fatalf("poll of the first: %+v, %v", got, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	for i := range keys {
		if got, err := s.Poll(ctx, keys[i], states[i]); err != nil || got != (outpost.Status{}) {
			t.Errorf("poll of %d: %+v, %v", i, got, err)
		}
	}
}

// Whoever watches a start is told at once when its pod changes or goes, also a pod of KubeSpawner, which does not say
// whose it is; and never of those of another database.
func TestChangesOfPodsAreTold(t *testing.T) {
	cl := newCluster()
	cl.changed = func(k outpost.Key) { t.Errorf("%v is told to the outpost of another database", k) }
	cl.runAs(t, "00000000000000000000000000000000", Options{})
	told := make(chan outpost.Key, 1000)
	cl.changed = func(k outpost.Key) { told <- k }
	s := cl.run(t, Options{})
	own := mustStart(t, s, aliceKey)
	until := func(k outpost.Key, state outpost.State, want outpost.Status) {
		t.Helper()
		for {
			if got := <-told; got != k {
				t.Fatalf("%v is told", got)
			}
			if got, err := s.Poll(t.Context(), k, state); err == nil && got == want {
				return
			}
		}
	}
	end := func(pod *corev1.Pod) {
		pod.Status.ContainerStatuses[0].State = corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: 9, Reason: "Error"},
		}
	}
	ended := outpost.Status{Ended: true, ExitCode: 9, Reason: "The server ended with exit code 9.", KubeReason: "Error"}
	until(aliceKey, own.State, outpost.Status{})
	cl.update(t, "jhub", "jupyter-user", end)
	until(aliceKey, own.State, ended)
	if err := cl.Tracker().Delete(podResource, "jhub", "jupyter-user"); err != nil {
		t.Fatal(err)
	}
	until(aliceKey, own.State, diagnosis.Status(nil))

	adopted, state := outpost.Key{Hub: "hub", Name: "old", StartID: "0"}, outpost.State{"pod_name": "jupyter-user"}
	if len(told) > 0 {
		t.Errorf("%v is told once more", <-told)
	}
	cl.old("user", "")
	for { // nobody knows yet whose it is
		if got, err := s.Poll(t.Context(), adopted, state); err == nil && got == (outpost.Status{}) {
			break
		}
	}
	for s.watchers["jhub"].pod("jupyter-user") == nil {
		time.Sleep(time.Millisecond)
	}
	if _, err := s.Poll(t.Context(), adopted, state); err != nil {
		t.Fatal(err)
	}
	cl.update(t, "jhub", "jupyter-user", end)
	until(adopted, state, ended)
}
