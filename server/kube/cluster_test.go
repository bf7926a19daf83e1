package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	restfake "k8s.io/client-go/rest/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// patience is how long a test waits for what must come; only a fault makes it wait as long.
const patience = 5 * time.Minute

// cluster is a clientset in memory that behaves like an API server and a kubelet as far as starts and stops see
// them: uids, preconditions, pods that become ready, deletion that takes its time, and scripted errors.
type cluster struct {
	*fake.Clientset

	mu    sync.Mutex
	calls []string // "create pods/jupyter-user", reads of lists and watches left out
	uids  int
	// errors to answer with, one for each call, by "create pods"; done before the errors of doneThen
	errors map[string][]error
	// doneThen are errors that are answered although the thing was done: an answer that got lost.
	doneThen map[string][]error
	// status gives a new pod its status; nil makes it ready.
	status func(*corev1.Pod)
	// stuck pods stay, being deleted, until they are deleted with grace 0 (force) or for ever.
	stuck, stuckForEver bool
	groups              []string // API groups that it serves
	changed             func(outpost.Key)
	watching            chan struct{}
}

var (
	podResource   = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	eventResource = schema.GroupVersionResource{Version: "v1", Resource: "events"}
)

func newCluster(objects ...runtime.Object) *cluster {
	c := &cluster{
		Clientset: fake.NewClientset(objects...),
		errors:    map[string][]error{},
		doneThen:  map[string][]error{},
		watching:  make(chan struct{}, 100),
	}
	c.PrependReactor("*", "*", c.react)
	c.PrependWatchReactor("*", func(a k8stesting.Action) (bool, watch.Interface, error) {
		w, err := c.Tracker().Watch(a.GetResource(), a.GetNamespace())
		c.watching <- struct{}{}
		return true, w, err
	})
	return c
}

// Discovery answers the questions whether the API server is there and which APIs it serves, which the fake's own
// cannot.
func (c *cluster) Discovery() discovery.DiscoveryInterface {
	return there{c.Clientset.Discovery(), c.groups}
}

type there struct {
	discovery.DiscoveryInterface
	groups []string
}

func (t there) RESTClient() rest.Interface {
	list := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	for _, name := range t.groups {
		list.Groups = append(list.Groups, metav1.APIGroup{Name: name})
	}
	body, err := json.Marshal(list)
	if err != nil {
		panic(err) // of a test's own making
	}
	return &restfake.RESTClient{
		NegotiatedSerializer: scheme.Codecs,
		Resp:                 &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(body))},
	}
}

func (c *cluster) react(a k8stesting.Action) (bool, runtime.Object, error) {
	if a.GetVerb() == "list" || a.GetVerb() == "watch" || a.GetResource().Resource == "" {
		return false, nil, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	what := a.GetVerb() + " " + a.GetResource().Resource
	name := ""
	switch a := a.(type) {
	case k8stesting.CreateAction:
		object, err := metaOf(a.GetObject())
		if err != nil {
			return true, nil, err
		}
		name = object.GetName()
	case interface{ GetName() string }:
		name = a.GetName()
	}
	call := what + "/" + name
	if d, ok := a.(k8stesting.DeleteActionImpl); ok && a.GetResource() == podResource {
		call += " grace "
		if g := d.DeleteOptions.GracePeriodSeconds; g != nil {
			call += fmt.Sprint(*g)
		} else {
			call += "own"
		}
	}
	c.calls = append(c.calls, call)
	if err := pop(c.errors, what); err != nil {
		return true, nil, err
	}
	lost := pop(c.doneThen, what)
	switch a := a.(type) {
	case k8stesting.CreateAction:
		object := a.GetObject().DeepCopyObject()
		m, err := metaOf(object)
		if err != nil {
			return true, nil, err
		}
		c.uids++
		m.SetUID(types.UID(fmt.Sprintf("uid-%d", c.uids)))
		m.SetNamespace(a.GetNamespace())
		if pod, ok := object.(*corev1.Pod); ok {
			if c.status != nil {
				c.status(pod)
			} else {
				becomeReady(pod)
			}
		}
		if err := c.Tracker().Create(a.GetResource(), object, a.GetNamespace()); err != nil {
			return true, nil, err
		}
		return true, object, lost
	case k8stesting.DeleteActionImpl:
		return true, nil, cmpOr(c.remove(a), lost)
	}
	return false, nil, nil
}

// remove deletes an object if the precondition holds; a stuck pod is only marked.
func (c *cluster) remove(a k8stesting.DeleteActionImpl) error {
	object, err := c.Tracker().Get(a.GetResource(), a.GetNamespace(), a.GetName())
	if err != nil {
		return err
	}
	m, err := metaOf(object)
	if err != nil {
		return err
	}
	if pre := a.DeleteOptions.Preconditions; pre != nil && pre.UID != nil && *pre.UID != m.GetUID() {
		return apierrors.NewConflict(a.GetResource().GroupResource(), a.GetName(), fmt.Errorf("uid"))
	}
	forced := a.DeleteOptions.GracePeriodSeconds != nil && *a.DeleteOptions.GracePeriodSeconds == 0
	if pod, ok := object.(*corev1.Pod); ok && (c.stuckForEver || c.stuck && !forced) {
		pod = pod.DeepCopy()
		if pod.DeletionTimestamp == nil {
			pod.DeletionTimestamp = &metav1.Time{Time: time.Now().Add(graceOf(pod, a.DeleteOptions.GracePeriodSeconds))}
		}
		return c.Tracker().Update(a.GetResource(), pod, a.GetNamespace())
	}
	return c.Tracker().Delete(a.GetResource(), a.GetNamespace(), a.GetName())
}

// update changes a pod's status as a kubelet would.
func (c *cluster) update(t testing.TB, namespace, name string, change func(*corev1.Pod)) {
	t.Helper()
	object, err := c.Tracker().Get(podResource, namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	pod := object.(*corev1.Pod).DeepCopy()
	change(pod)
	if err := c.Tracker().Update(podResource, pod, namespace); err != nil {
		t.Fatal(err)
	}
}

// emit records an event about an object.
func (c *cluster) emit(t testing.TB, e *corev1.Event) {
	t.Helper()
	if err := c.Tracker().Create(eventResource, e, e.Namespace); err != nil {
		t.Fatal(err)
	}
}

// taken returns the calls so far and forgets them.
func (c *cluster) taken() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := slices.Clone(c.calls)
	c.calls = nil
	return out
}

func becomeReady(pod *corev1.Pod) {
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning,
		PodIP: "10.0.0.1",
		ContainerStatuses: []corev1.ContainerStatus{
			{
				Name:  kubespawner.NotebookContainer,
				Ready: true,
				State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
			},
		},
	}
}

func metaOf(object runtime.Object) (metav1.Object, error) {
	m, ok := object.(metav1.Object)
	if !ok {
		return nil, fmt.Errorf("%T has no metadata", object)
	}
	return m, nil
}

func pop(script map[string][]error, what string) error {
	if len(script[what]) == 0 {
		return nil
	}
	err := script[what][0]
	script[what] = script[what][1:]
	return err
}

func cmpOr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// run makes a Spawner on the cluster whose caches are filled and whose watches are open.
func (c *cluster) run(t testing.TB, o Options) *Spawner {
	t.Helper()
	return c.runAs(t, ownInstallation, o)
}

// runAs is run for the outpost of another database.
func (c *cluster) runAs(t testing.TB, installation string, o Options) *Spawner {
	t.Helper()
	s, err := New(c, "jhub", o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, installation, c.changed) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	w, err := s.watch(ctx, "jhub")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.waitSynced(ctx); err != nil {
		t.Fatal(err)
	}
	<-c.watching // pods
	<-c.watching // events
	return s
}

// before calls f when a request such as "create pods" arrives.
func (c *cluster) before(what string, f func()) {
	verb, resource, _ := strings.Cut(what, " ")
	if resource == "" {
		return
	}
	c.PrependReactor(verb, resource, func(k8stesting.Action) (bool, runtime.Object, error) {
		f()
		return false, nil, nil
	})
}

// left names the pods, Services and Secrets that are there.
func (c *cluster) left(t testing.TB) string {
	t.Helper()
	var out []string
	for _, resource := range []string{"pods", "services", "secrets"} {
		gvr := schema.GroupVersionResource{Version: "v1", Resource: resource}
		kind := map[string]string{"pods": "Pod", "services": "Service", "secrets": "Secret"}[resource]
		list, err := c.Tracker().List(gvr, schema.GroupVersionKind{Version: "v1", Kind: kind}, "jhub")
		if err != nil {
			t.Fatal(err)
		}
		items, err := meta.ExtractList(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			m, err := metaOf(item)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, resource+"/"+m.GetName())
		}
	}
	return strings.Join(out, " ")
}

// old puts a running pod of KubeSpawner in the way, of this user's server.
func (c *cluster) old(user, server string) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "jupyter-user",
			Namespace:   "jhub",
			UID:         "old",
			Annotations: map[string]string{kubespawner.UsernameKey: user},
		},
	}
	if server != "" {
		pod.Annotations[kubespawner.ServernameKey] = server
	}
	becomeReady(pod)
	if err := c.Tracker().Add(pod); err != nil {
		panic(err) // of a test's own making
	}
}

// add puts objects of others into the cluster.
func (c *cluster) add(objects ...runtime.Object) {
	for _, object := range objects {
		if err := c.Tracker().Add(object); err != nil {
			panic(err) // of a test's own making
		}
	}
}

// claimOf is a claim of this name with these annotations.
func claimOf(name string, annotations map[string]string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "jhub", UID: "claim", Annotations: annotations},
	}
}

// annotated are the annotations of the objects of a user's start; an empty user leaves out whose it is.
func annotated(user, installation string, k outpost.Key) map[string]string {
	out := map[string]string{
		kubespawner.InstallationKey: installation, kubespawner.HubKey: k.Hub, kubespawner.NameKey: k.Name,
		kubespawner.StartIDKey: k.StartID,
	}
	if user != "" {
		out[kubespawner.UsernameKey] = user
	}
	return out
}

// podOf is a pod of this name with these annotations.
func podOf(name string, uid types.UID, annotations map[string]string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "jhub", UID: uid, Annotations: annotations}}
}

// notebookContainers are those of a pod that serves.
var notebookContainers = []corev1.Container{{
	Name:  kubespawner.NotebookContainer,
	Ports: []corev1.ContainerPort{{Name: kubespawner.NotebookPort, ContainerPort: 8888}},
}}
