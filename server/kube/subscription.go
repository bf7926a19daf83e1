package kube

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// maxPendingEvents bounds what a start keeps of events that it has not read yet.
const maxPendingEvents = 200

// subscription is one waiter for changes of objects with one of its names. News wakes it without blocking anybody.
type subscription struct {
	w     *watcher
	names []string
	// C gets a value when something may have changed since the last one was read.
	C chan struct{}

	mu     sync.Mutex
	events []*corev1.Event
}

// subscribe begins to wait for objects with these names; the caller ends it with close.
func (w *watcher) subscribe(names ...string) *subscription {
	s := &subscription{w: w, names: names, C: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range names {
		w.subscribers[name] = append(w.subscribers[name], s)
	}
	return s
}

func (s *subscription) close() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for _, name := range s.names {
		left := make([]*subscription, 0, len(s.w.subscribers[name]))
		for _, other := range s.w.subscribers[name] {
			if other != s {
				left = append(left, other)
			}
		}
		if len(left) == 0 {
			delete(s.w.subscribers, name)
		} else {
			s.w.subscribers[name] = left
		}
	}
}

// take returns the events since the last call.
func (s *subscription) take() []*corev1.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.events
	s.events = nil
	return out
}

// notify wakes the waiters for a name and hands them the event, if there is one.
func (w *watcher) notify(name string, event *corev1.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.subscribers[name] {
		if event != nil {
			s.mu.Lock()
			if len(s.events) < maxPendingEvents {
				s.events = append(s.events, event)
			}
			s.mu.Unlock()
		}
		select {
		case s.C <- struct{}{}:
		default:
		}
	}
}

// eventSink is the store of the event reflector that keeps nothing.
type eventSink struct{ w *watcher }

func (e eventSink) Add(object any) error {
	if event, ok := object.(*corev1.Event); ok {
		e.w.notify(event.InvolvedObject.Name, event)
	}
	return nil
}

func (e eventSink) Update(object any) error { return e.Add(object) }

func (eventSink) Delete(any) error            { return nil }
func (eventSink) Replace([]any, string) error { return nil }
func (eventSink) Resync() error               { return nil }
