package kube

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	k8stesting "k8s.io/client-go/testing"

	"github.com/outposts-dev/outposts/server/kube/diagnosis"
	"github.com/outposts-dev/outposts/server/outpost"
)

// runUnfilled runs a Spawner whose cache may never be filled.
func runUnfilled(t testing.TB, client kubernetes.Interface, o Options) *Spawner {
	t.Helper()
	s, err := New(client, "jhub", o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, ownInstallation, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return s
}

// The time of a start begins with the start, not with its pod: whatever does not come, it ends and says why.
func TestStartEndsInTimeWithoutAListOfPods(t *testing.T) {
	//nolint:lll // a case a line
	for name, tc := range map[string]struct {
		err  error
		want outpost.Error
	}{
		"may not be listed": {status(403, "Forbidden", `pods is forbidden: User "outpost" cannot list resource "pods"`), outpost.Error{
			Kind: outpost.KindFailed, Reason: diagnosis.ReasonRefused,
			Message: `The outpost is not permitted to list the pods of namespace jhub: pods is forbidden: User "outpost" cannot list resource "pods"`,
		}},
		"Kubernetes is away": {errServer, outpost.Error{
			Kind: outpost.KindUnavailable, Reason: diagnosis.ReasonAPI, Message: "Kubernetes did not answer a request to list the pods of namespace jhub; try again.",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			cl := newCluster()
			cl.PrependReactor(
				"list",
				"pods",
				func(k8stesting.Action) (bool, runtime.Object, error) { return true, nil, tc.err },
			)
			s := runUnfilled(t, cl, Options{StartTimeout: time.Second})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for w := s.watchers["jhub"]; w.lastErr.Load() == nil; { // until the answer is there that it says
				time.Sleep(time.Millisecond)
			}
			_, err := s.Start(ctx, planOf(t, s, aliceKey, nil), nil)
			if ctx.Err() != nil {
				t.Fatal("the start did not end")
			}
			e, ok := errors.AsType[*outpost.Error](err)
			if !ok || e.Kind != tc.want.Kind || e.Reason != tc.want.Reason || e.Message != tc.want.Message {
				t.Errorf("error %v, want %v", err, tc.want.Message)
			}
		})
	}
}

// An API server that takes requests and does not answer them costs a probe its time, and nothing that stays behind.
func TestReadyDoesNotOutliveItsProbe(t *testing.T) {
	asked, left := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/version":
			close(asked)
			<-r.Context().Done()
			close(left)
		case r.URL.Query().Has("watch"):
			<-r.Context().Done()
		default:
			noPods(w)
		}
	}))
	t.Cleanup(server.Close)
	s := runUnfilled(t, clientOf(t, server), Options{})
	w, err := s.watch(t.Context(), "jhub")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.waitSynced(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error, 1)
	go func() { answer <- s.Ready(ctx) }()
	<-asked
	cancel()
	if err := <-answer; outpost.KindOf(err) != outpost.KindUnavailable {
		t.Errorf("error %v", err)
	}
	<-left
}

// A list that is never answered is asked for again.
func TestListsAreAskedForAgain(t *testing.T) {
	var lists atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("watch") || strings.HasSuffix(r.URL.Path, "/pods") && lists.Add(1) == 1 {
			<-r.Context().Done()
			return
		}
		noPods(w)
	}))
	t.Cleanup(server.Close)
	w, err := newWatcher(clientOf(t, server), "jhub", slog.New(slog.DiscardHandler), time.Now,
		func(*corev1.Event) {}, func(*corev1.Pod) {})
	if err != nil {
		t.Fatal(err)
	}
	w.listLimit = 100 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	var running sync.WaitGroup
	running.Go(func() { w.run(ctx) })
	if err := w.waitSynced(ctx); err != nil {
		t.Error(err)
	}
	cancel()
	running.Wait()
}

func clientOf(t testing.TB, server *httptest.Server) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(tune(&rest.Config{Host: server.URL}, "test"))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// noPods answers a list.
func noPods(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}`)
}

// Run waits for what the Spawner has started, so nothing may be started once it waits.
func TestNothingIsStartedAfterRun(t *testing.T) {
	cl := newCluster()
	s, err := New(cl, "jhub", Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx, ownInstallation, nil); err != nil {
		t.Fatal(err)
	}
	elsewhere := outpost.State{"pod_name": "x", "namespace": "elsewhere"}
	const want = "The outpost is stopping; try again."
	if _, err := s.Poll(t.Context(), aliceKey, elsewhere); err == nil || err.Error() != want {
		t.Errorf("poll: error %v, want %s", err, want)
	}
	if s.watchers["elsewhere"] != nil {
		t.Error("another namespace is watched")
	}
	s.reap(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "ended"}})
	if len(s.reaping) > 0 {
		t.Error("an ended pod will be deleted")
	}
}
