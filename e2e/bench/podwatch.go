package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/outposts-dev/outposts/server/kubespawner"
)

// podWatch notes when the API server reports that a pod exists, and that it is ready.
type podWatch struct {
	mu     sync.Mutex
	made   map[string]time.Time
	ready  map[string]time.Time
	gone   map[string]bool
	change chan struct{} // closed and made anew with every event
}

// watchPods watches a namespace until ctx ends.
func watchPods(ctx context.Context, client kubernetes.Interface, namespace string) *podWatch {
	w := &podWatch{
		made: map[string]time.Time{}, ready: map[string]time.Time{},
		gone: map[string]bool{}, change: make(chan struct{}),
	}
	go func() {
		for version := ""; ctx.Err() == nil; { // a busy API server ends watches
			seen, err := client.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: version})
			if err != nil {
				version = ""
				time.Sleep(10 * time.Millisecond)
				continue
			}
			for event := range seen.ResultChan() {
				pod, ok := event.Object.(*corev1.Pod)
				if !ok {
					version = "" // too old: begin again
					break
				}
				version = pod.ResourceVersion
				w.note(pod, event.Type == "DELETED")
			}
			seen.Stop()
		}
	}()
	return w
}

// podKey is what a pod is known by: the name of the service, which the outpost writes into an annotation, or its own.
func podKey(pod *corev1.Pod) string {
	if name := pod.Annotations[kubespawner.NameKey]; name != "" {
		return name
	}
	return pod.Name
}

func (w *podWatch) note(pod *corev1.Pod, gone bool) {
	now, key := time.Now(), podKey(pod)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.made[key].IsZero() {
		w.made[key] = now
	}
	status := pod.Status.ContainerStatuses
	if pod.Status.Phase == corev1.PodRunning && len(status) > 0 && status[0].Ready && w.ready[key].IsZero() {
		w.ready[key] = now
	}
	if gone {
		w.gone[key] = true
	}
	close(w.change)
	w.change = make(chan struct{})
}

// times returns when a pod was seen for the first time, and when it was ready.
func (w *podWatch) times(key string) (made, ready time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.made[key], w.ready[key]
}

// waitReady waits until a pod is ready.
func (w *podWatch) waitReady(ctx context.Context, key string) error {
	return w.wait(ctx, key, "ready", func() bool { return !w.ready[key].IsZero() })
}

// waitGone waits until a pod is gone.
func (w *podWatch) waitGone(ctx context.Context, key string) error {
	return w.wait(ctx, key, "gone", func() bool { return w.gone[key] })
}

// wait waits until what is asked for with the lock held.
func (w *podWatch) wait(ctx context.Context, key, what string, there func() bool) error {
	for {
		w.mu.Lock()
		yes, change := there(), w.change
		w.mu.Unlock()
		if yes {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return fmt.Errorf("pod %s is not %s: %w", key, what, context.Cause(ctx))
		}
	}
}
