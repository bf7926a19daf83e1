package simulated

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// A Service goes with the pod that owns it, as in a cluster with a garbage collector.
func TestServicesGoWithTheirPod(t *testing.T) {
	cluster := New(func(int) string { return "198.18.0.7" })
	server := httptest.NewServer(cluster)
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	pods, services := client.CoreV1().Pods("load"), client.CoreV1().Services("load")
	lab := metav1.ObjectMeta{Name: "lab"}
	pod, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: lab}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if pod.Status.PodIP != "198.18.0.7" || pod.Namespace != "load" {
		t.Errorf("the pod's address is %q, its namespace %q", pod.Status.PodIP, pod.Namespace)
	}
	service := func(name string, owner *corev1.Pod) {
		t.Helper()
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if owner != nil {
			svc.OwnerReferences = []metav1.OwnerReference{{Kind: "Pod", Name: owner.Name, UID: owner.UID}}
		}
		if _, err := services.Create(t.Context(), svc, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	service("lab", pod)
	service("free", nil)
	if diff := cmp.Diff([]string{"free", "lab"}, cluster.Services()); diff != "" {
		t.Errorf("Services (-want +got):\n%s", diff)
	}
	_, err = services.Create(t.Context(), &corev1.Service{ObjectMeta: lab}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		t.Errorf("a second Service of a name: %v", err)
	}
	if err := pods.Delete(t.Context(), "lab", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	service("late", pod) // its pod is gone
	if diff := cmp.Diff([]string{"free"}, cluster.Services()); diff != "" {
		t.Errorf("Services after the pod (-want +got):\n%s", diff)
	}
	if names := cluster.Pods(); len(names) != 0 {
		t.Errorf("pods: %v", names)
	}
}

// A watch is told of Services what has happened since its version, and nothing of pods.
func TestServicesAreWatched(t *testing.T) {
	server := httptest.NewServer(New(nil))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	pods, services := client.CoreV1().Pods("load"), client.CoreV1().Services("load")
	create := func(name string, owners ...metav1.OwnerReference) {
		t.Helper()
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: owners}}
		if _, err := services.Create(t.Context(), svc, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	create("earlier")
	list, err := services.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	create("between")
	watching, err := services.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer watching.Stop()
	lab := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "lab"}}
	pod, err := pods.Create(t.Context(), lab, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	create("lab", metav1.OwnerReference{Kind: "Pod", Name: pod.Name, UID: pod.UID})
	if err := services.Delete(t.Context(), "earlier", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := pods.Delete(t.Context(), "lab", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	type told struct {
		What    watch.EventType
		Name    string
		Version string
	}
	want := []told{
		{watch.Added, "between", "2"},
		{watch.Added, "lab", "4"},
		{watch.Deleted, "earlier", "5"},
		{watch.Deleted, "lab", "7"},
	}
	var got []told
	for range want {
		e := next(t, watching)
		svc := e.Object.(*corev1.Service)
		got = append(got, told{e.Type, svc.Name, svc.ResourceVersion})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// next waits for an event.
func next(t *testing.T, watching watch.Interface) watch.Event {
	t.Helper()
	select {
	case e, ok := <-watching.ResultChan():
		if !ok {
			t.Fatal("the watch has ended")
		}
		return e
	case <-time.After(5 * time.Minute):
		t.Fatal("no event within 5 minutes")
	}
	return watch.Event{}
}

// A watcher that is far behind holds up nobody when it leaves.
func TestWatcherThatLeaves(t *testing.T) {
	cluster := New(nil)
	tell := func() {
		cluster.mu.Lock()
		defer cluster.mu.Unlock()
		cluster.tell(watch.Added, "pods", &corev1.Pod{})
	}
	tell()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	far := stuck{httptest.NewRecorder(), ctx, make(chan struct{}, 1)}
	all := httptest.NewRequestWithContext(ctx, http.MethodGet,
		"/api/v1/namespaces/load/pods?watch=true&resourceVersion=-1", nil)
	left, told := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(left)
		cluster.ServeHTTP(far, all)
	}()
	<-far.writes
	for range 2 * keptChanges { // so much waits for a watcher
		tell()
	}
	go func() {
		defer close(told)
		tell()
	}()
	for cluster.mu.TryLock() { // until it tells
		cluster.mu.Unlock()
		runtime.Gosched()
	}
	leave()
	for _, done := range []chan struct{}{told, left} {
		select {
		case <-done:
		case <-time.After(5 * time.Minute):
			t.Fatal("the cluster hangs")
		}
	}
}

// stuck is the way to a watcher that reads nothing.
type stuck struct {
	*httptest.ResponseRecorder
	ctx    context.Context // until then
	writes chan struct{}   // one has begun
}

// Write implements http.ResponseWriter.
func (s stuck) Write([]byte) (int, error) {
	s.writes <- struct{}{}
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

// A pod runs when its time has come, and a watch that begins at a version is told all that has happened since.
func TestPodsRunLater(t *testing.T) {
	cluster := New(nil)
	cluster.Wait = func(pod *corev1.Pod) time.Duration {
		return map[string]time.Duration{"late": 20 * time.Millisecond, "never": -1}[pod.Name]
	}
	server := httptest.NewServer(cluster)
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	pods := client.CoreV1().Pods("load")
	for _, name := range []string{"never", "now", "late"} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := pods.Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	watching, err := pods.Watch(t.Context(), metav1.ListOptions{ResourceVersion: "1"}) // after "never" was made
	if err != nil {
		t.Fatal(err)
	}
	defer watching.Stop()
	type told struct {
		What  watch.EventType
		Name  string
		Phase corev1.PodPhase
	}
	var got []told
	for len(got) < 3 {
		e := next(t, watching)
		pod := e.Object.(*corev1.Pod)
		got = append(got, told{e.Type, pod.Name, pod.Status.Phase})
	}
	want := []told{
		{watch.Added, "now", corev1.PodRunning},
		{watch.Added, "late", corev1.PodPending},
		{watch.Modified, "late", corev1.PodRunning},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	pod, err := pods.Get(t.Context(), "never", metav1.GetOptions{})
	if err != nil || pod.Status.Phase != corev1.PodPending {
		t.Errorf("never: %v, %v", pod.Status.Phase, err)
	}
}
