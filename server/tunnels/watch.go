package tunnels

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// listLimit bounds a list; a watch lasts.
const listLimit = time.Minute

// watcher knows the Services that have our label, and when each port was last given back. While the API server is away,
// what it said last stays. It is safe for concurrent use.
type watcher struct {
	informer cache.SharedIndexInformer
	handler  cache.ResourceEventHandlerRegistration
	changed  func() // called after each change

	mu       sync.Mutex
	services map[string]*corev1.Service // by name
	freed    map[uint16]time.Time       // ports that a Service no longer has
}

func newWatcher(client kubernetes.Interface, namespace, name string, changed func()) (*watcher, error) {
	services := client.CoreV1().Services(namespace)
	selector := labels.Set{tunnelsLabel: name}.String()
	w := &watcher{
		changed: changed, services: map[string]*corev1.Service{}, freed: map[uint16]time.Time{},
		informer: cache.NewSharedIndexInformer(&cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				ctx, cancel := context.WithTimeout(ctx, listLimit)
				defer cancel()
				o.LabelSelector = selector
				return services.List(ctx, o)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				o.LabelSelector = selector
				return services.Watch(ctx, o)
			},
		}, &corev1.Service{}, 0, cache.Indexers{}),
	}
	err := w.informer.SetTransform(func(object any) (any, error) {
		if svc, ok := object.(*corev1.Service); ok {
			svc.ManagedFields = nil // half of what it takes
		}
		return object, nil
	})
	if err == nil {
		w.handler, err = w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: w.put, UpdateFunc: func(_, svc any) { w.put(svc) }, DeleteFunc: w.remove,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("watch services of %s: %w", namespace, err)
	}
	return w, nil
}

// run watches until ctx ends.
func (w *watcher) run(ctx context.Context) {
	var tasks sync.WaitGroup
	tasks.Go(func() { w.informer.RunWithContext(ctx) })
	if cache.WaitForCacheSync(ctx.Done(), w.handler.HasSynced) {
		w.changed() // there may be no Service at all
	}
	tasks.Wait()
}

// put notes a Service as it is now.
func (w *watcher) put(object any) {
	svc, ok := object.(*corev1.Service)
	if !ok {
		return
	}
	w.mu.Lock()
	if had := w.services[svc.Name]; had != nil && had.UID != svc.UID {
		w.free(had, nil) // its deletion was not seen
	} else {
		w.free(had, targetPorts(svc))
	}
	w.services[svc.Name] = svc
	w.mu.Unlock()
	w.changed()
}

// remove notes that a Service is gone.
func (w *watcher) remove(object any) {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	svc, ok := object.(*corev1.Service)
	if !ok {
		return
	}
	w.mu.Lock()
	w.free(w.services[svc.Name], nil)
	delete(w.services, svc.Name)
	w.mu.Unlock()
	w.changed()
}

// free notes the ports that a Service has had and does not keep. The lock is held.
func (w *watcher) free(had *corev1.Service, keeps []uint16) {
	if had == nil {
		return
	}
	for _, port := range targetPorts(had) {
		if !slices.Contains(keeps, port) {
			w.freed[port] = time.Now()
		}
	}
}

// targetPorts are where nodes lead to, whether or not the Service is well formed.
func targetPorts(svc *corev1.Service) []uint16 {
	var list []uint16
	for _, p := range svc.Spec.Ports {
		if port := p.TargetPort.IntValue(); port > 0 && port < 1<<16 {
			list = append(list, uint16(port))
		}
	}
	return list
}

// list returns the Services, and the ports that were given back after a time with when that was. ok is false until the
// first list is complete.
func (w *watcher) list(after time.Time) (services []*corev1.Service, freed map[uint16]time.Time, ok bool) {
	if !w.handler.HasSynced() {
		return nil, nil, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.freed, func(_ uint16, at time.Time) bool { return !at.After(after) })
	return slices.Collect(maps.Values(w.services)), maps.Clone(w.freed), true
}
