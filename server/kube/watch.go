package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// byOrigin is the index of pods by the start that they belong to.
const byOrigin = "origin"

// listLimit is the default of watcher.listLimit, as long as the API server itself lets a list take.
const listLimit = time.Minute

// watcher watches one namespace: its pods, which one informer caches, and its events, which are passed to the starts
// that wait for them and kept nowhere. It is safe for concurrent use.
type watcher struct {
	client    kubernetes.Interface
	namespace string
	logger    *slog.Logger
	now       func() time.Time
	observe   func(*corev1.Event) // gets every event
	changed   func(*corev1.Pod)   // gets every pod that has changed
	// configured namespaces are watched from the beginning; Found waits for each of them or says that it is unseen.
	configured bool
	listLimit  time.Duration // of one page of a list; a watch lasts

	informer cache.SharedIndexInformer
	filled   chan struct{}         // closed when the first list is in the cache
	refused  chan struct{}         // closed when Kubernetes has first refused to list or watch pods
	refuse   func()                // closes refused, once
	lastSeen atomic.Int64          // UnixNano of the last message of the API server about pods
	lastErr  atomic.Pointer[error] // why pods could not be listed or watched the last time

	end   context.CancelFunc // of a watcher that is not configured
	used  time.Time          // when it was last asked for, the same; guarded by the Spawner's lock
	ended chan struct{}      // closed when run has ended

	mu          sync.Mutex
	subscribers map[string][]*subscription // by the name of the object
}

func newWatcher(
	client kubernetes.Interface, namespace string, logger *slog.Logger, now func() time.Time,
	observe func(*corev1.Event), podChanged func(*corev1.Pod),
) (*watcher, error) {
	w := &watcher{
		client: client, namespace: namespace, logger: logger.With("namespace", namespace), now: now,
		observe: observe, changed: podChanged,
		listLimit: listLimit, filled: make(chan struct{}), refused: make(chan struct{}),
		ended: make(chan struct{}), subscribers: map[string][]*subscription{},
	}
	w.refuse = sync.OnceFunc(func() { close(w.refused) })
	w.informer = cache.NewSharedIndexInformer(w.podSource(), &corev1.Pod{}, 0, cache.Indexers{byOrigin: indexByOrigin})
	changed := func(object any) {
		if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		if pod, ok := object.(*corev1.Pod); ok {
			w.notify(pod.Name, nil)
			w.changed(pod)
		}
	}
	_, err := w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: changed, UpdateFunc: func(_, pod any) { changed(pod) }, DeleteFunc: changed,
	})
	err = errors.Join(err, w.informer.SetTransform(trimPod), w.informer.SetWatchErrorHandler(w.logWatchError))
	if err != nil {
		return nil, fmt.Errorf("watch pods of %s: %w", namespace, err)
	}
	return w, nil
}

// run watches until ctx ends and waits for what it started.
func (w *watcher) run(ctx context.Context) {
	defer close(w.ended)
	var wg sync.WaitGroup
	wg.Go(func() { w.informer.RunWithContext(ctx) })
	wg.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), w.informer.HasSynced) {
			close(w.filled)
		}
	})
	events := cache.NewReflectorWithOptions(w.eventSource(), &corev1.Event{}, eventSink{w}, cache.ReflectorOptions{
		Name: "events of " + w.namespace,
	})
	wg.Go(func() { events.RunWithContext(ctx) })
	wg.Wait()
}

// podSource lists pods in pages, trims each page before the next one comes, and notes every message of the server.
func (w *watcher) podSource() *cache.ListWatch {
	pods := w.client.CoreV1().Pods(w.namespace)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			if o.ResourceVersion == "0" {
				o.ResourceVersion = "" // the API server's cache would ignore the limit and send everything at once
			}
			ctx, cancel := context.WithTimeout(ctx, w.listLimit)
			defer cancel()
			list, err := pods.List(ctx, o)
			if err != nil {
				return nil, err
			}
			w.touch()
			for i := range list.Items {
				trim(&list.Items[i])
			}
			return list, nil
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			in, err := pods.Watch(ctx, o)
			if err != nil {
				return nil, err
			}
			w.touch()
			return watch.Filter(in, func(e watch.Event) (watch.Event, bool) {
				w.touch() // also for bookmarks, which come about once a minute
				return e, true
			}), nil
		},
	}
}

// eventSource watches events from now on; those of the past are not read, however many they are.
func (w *watcher) eventSource() *cache.ListWatch {
	events := w.client.CoreV1().Events(w.namespace)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.Limit, o.ResourceVersion = 1, ""
			ctx, cancel := context.WithTimeout(ctx, w.listLimit)
			defer cancel()
			list, err := events.List(ctx, o)
			if err != nil {
				return nil, err
			}
			list.Items, list.Continue, list.RemainingItemCount = nil, "", nil
			return list, nil
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return events.Watch(ctx, o)
		},
	}
}

func (w *watcher) touch() { w.lastSeen.Store(w.now().UnixNano()) }

// age is how long ago the API server last sent anything about pods; it stays below two minutes while the watch works.
func (w *watcher) age() time.Duration {
	last := w.lastSeen.Load()
	if last == 0 {
		return 0
	}
	return w.now().Sub(time.Unix(0, last))
}

func (w *watcher) logWatchError(_ *cache.Reflector, err error) {
	w.lastErr.Store(&err)
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		w.refuse()
	}
	w.logger.Warn("pod watch interrupted", "err", err)
}

// waitSynced waits until the cache is filled. On timeout the error carries the last answer of Kubernetes.
func (w *watcher) waitSynced(ctx context.Context) error {
	if w.synced() {
		return nil
	}
	select {
	case <-w.filled:
		return nil
	case <-w.ended:
		return outpost.NotListed(nil)
	case <-ctx.Done():
		if last := w.lastErr.Load(); last != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return apiError(*last, "list the pods of namespace "+w.namespace)
		}
		return outpost.NotListed(ctx.Err())
	}
}

// waitAnswered waits until the cache is filled, Kubernetes has refused to fill it, or ctx ends.
func (w *watcher) waitAnswered(ctx context.Context) {
	select {
	case <-w.filled:
	case <-w.refused:
	case <-ctx.Done():
	}
}

// synced reports whether the cache is filled.
func (w *watcher) synced() bool {
	select {
	case <-w.filled:
		return true
	default:
		return false
	}
}

// pod returns a cached pod, which must not be changed; nil if there is none.
func (w *watcher) pod(name string) *corev1.Pod {
	object, found, err := w.informer.GetIndexer().GetByKey(w.namespace + "/" + name)
	if err != nil || !found {
		return nil
	}
	pod, _ := object.(*corev1.Pod)
	return pod
}

// podOf returns a cached pod of a start; nil if there is none.
func (w *watcher) podOf(id kubespawner.Origin) *corev1.Pod {
	objects, err := w.informer.GetIndexer().ByIndex(byOrigin, indexKey(id))
	if err != nil || len(objects) == 0 {
		return nil
	}
	pod, _ := objects[0].(*corev1.Pod)
	return pod
}

// pods returns every cached pod of any outpost.
func (w *watcher) pods() []*corev1.Pod {
	var out []*corev1.Pod
	for _, object := range w.informer.GetIndexer().List() {
		pod, ok := object.(*corev1.Pod)
		if !ok {
			continue
		}
		if _, ours := kubespawner.OriginOf(pod); ours {
			out = append(out, pod)
		}
	}
	return out
}

func indexKey(o kubespawner.Origin) string {
	return o.Installation + "\x00" + o.Hub + "\x00" + o.Name + "\x00" + o.StartID
}

func indexByOrigin(object any) ([]string, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return nil, nil
	}
	if id, ours := kubespawner.OriginOf(pod); ours {
		return []string{indexKey(id)}, nil
	}
	return nil, nil
}

// trimPod is the informer's transform.
func trimPod(object any) (any, error) {
	if pod, ok := object.(*corev1.Pod); ok {
		trim(pod)
	}
	return object, nil
}

// trim drops what nobody reads of a cached pod: variables, volumes, managed fields and most of the rest.
func trim(pod *corev1.Pod) {
	annotations := map[string]string{}
	for _, key := range []string{
		kubespawner.InstallationKey, kubespawner.HubKey, kubespawner.NameKey, kubespawner.StartIDKey,
		kubespawner.DateKey, kubespawner.StateKey, kubespawner.UsernameKey, kubespawner.ServernameKey,
	} {
		if value, ok := pod.Annotations[key]; ok {
			annotations[key] = value
		}
	}
	pod.TypeMeta = metav1.TypeMeta{}
	pod.ObjectMeta = metav1.ObjectMeta{
		Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
		Annotations: annotations, CreationTimestamp: pod.CreationTimestamp, DeletionTimestamp: pod.DeletionTimestamp,
		DeletionGracePeriodSeconds: pod.DeletionGracePeriodSeconds,
	}
	spec := corev1.PodSpec{
		NodeName: pod.Spec.NodeName, TerminationGracePeriodSeconds: pod.Spec.TerminationGracePeriodSeconds,
	}
	for _, c := range pod.Spec.Containers {
		spec.Containers = append(spec.Containers, corev1.Container{Name: c.Name, Ports: c.Ports})
	}
	pod.Spec = spec
	status := corev1.PodStatus{
		Phase: pod.Status.Phase, Reason: pod.Status.Reason, Message: pod.Status.Message, PodIP: pod.Status.PodIP,
		PodIPs:                pod.Status.PodIPs,
		NominatedNodeName:     pod.Status.NominatedNodeName,
		ContainerStatuses:     trimStatuses(pod.Status.ContainerStatuses),
		InitContainerStatuses: trimStatuses(pod.Status.InitContainerStatuses),
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status != corev1.ConditionTrue {
			status.Conditions = append(status.Conditions, c)
		}
	}
	pod.Status = status
}

func trimStatuses(list []corev1.ContainerStatus) []corev1.ContainerStatus {
	if list == nil {
		return nil
	}
	out := make([]corev1.ContainerStatus, len(list))
	for i, c := range list {
		out[i] = corev1.ContainerStatus{
			Name: c.Name, Ready: c.Ready, RestartCount: c.RestartCount, State: c.State,
			LastTerminationState: c.LastTerminationState,
		}
	}
	return out
}
