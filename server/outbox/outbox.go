// Package outbox delivers messages in the background, one after the other, without ever holding up who sends them.
package outbox

import (
	"context"
	"sync"
	"time"
)

// Queue is the messages that wait for one receiver. What it takes too slowly is dropped, the oldest first. Make it with
// [New], and let [Queue.Run] run.
type Queue[M any] struct {
	deliver func(context.Context, M)
	seats   int
	grace   time.Duration
	wake    chan struct{} // capacity 1

	mu      sync.Mutex
	waiting []M
	closed  bool
	hurry   bool // what waits has the time of grace
}

// New makes a queue for at most so many waiting messages. Grace is how long what still waits is delivered after Close.
func New[M any](seats int, grace time.Duration, deliver func(context.Context, M)) *Queue[M] {
	return &Queue[M]{deliver: deliver, seats: seats, grace: grace, wake: make(chan struct{}, 1)}
}

// Put adds a message; it never waits. A closed queue takes none.
func (q *Queue[M]) Put(m M) {
	q.change(func() {
		if len(q.waiting) == q.seats {
			q.waiting = append(q.waiting[:0], q.waiting[1:]...)
		}
		q.waiting = append(q.waiting, m)
	})
}

// Close ends the queue: what waits is delivered within the time of grace.
func (q *Queue[M]) Close() {
	q.change(func() { q.closed, q.hurry = true, true })
}

// CloseWith ends the queue with a message that takes the place of all that wait and has no limit of time.
func (q *Queue[M]) CloseWith(last M) {
	q.change(func() { q.closed, q.waiting = true, []M{last} })
}

func (q *Queue[M]) change(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	f()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Run delivers until the queue is closed and empty, or ctx ends.
func (q *Queue[M]) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var grace *time.Timer
	for ctx.Err() == nil {
		q.mu.Lock()
		next, closed, hurry := q.waiting, q.closed, q.hurry
		if len(next) > 0 {
			q.waiting = next[1:]
		}
		q.mu.Unlock()
		if hurry && grace == nil {
			grace = time.AfterFunc(q.grace, cancel)
			defer grace.Stop()
		}
		switch {
		case len(next) > 0:
			q.deliver(ctx, next[0])
		case closed:
			return
		default:
			select {
			case <-q.wake:
			case <-ctx.Done():
			}
		}
	}
}
