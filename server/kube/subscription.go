package kube

import (
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// maxPendingEvents bounds how many events a start keeps unread.
const maxPendingEvents = 200

// subscription waits for changes of objects that have one of its names. A change wakes it and never blocks.
type subscription struct {
	w     *watcher
	names []string
	// C gets a value when something may have changed since the last one was read.
	C chan struct{}

	mu     sync.Mutex
	events []*corev1.Event
}

// subscribe waits for objects with these names until close.
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
		left := slices.DeleteFunc(s.w.subscribers[name], func(other *subscription) bool { return other == s })
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

// notify wakes the subscriptions to a name and hands them the event, if there is one.
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

// eventSink is a store for the reflector of events that keeps nothing.
type eventSink struct{ w *watcher }

func (e eventSink) Add(object any) error {
	if event, ok := object.(*corev1.Event); ok {
		e.w.observe(event)
		e.w.notify(event.InvolvedObject.Name, event)
	}
	return nil
}

func (e eventSink) Update(object any) error { return e.Add(object) }

func (eventSink) Delete(any) error            { return nil }
func (eventSink) Replace([]any, string) error { return nil }
func (eventSink) Resync() error               { return nil }
