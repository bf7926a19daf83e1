package outpost

import (
	"context"
	"fmt"
	"html"
	"strings"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/server/excerpt"
)

const (
	maxEvents    = 64               // waiting for one hub to take them
	maxMessages  = 10               // kept for the report of a failed start, and log lines for that of a failed poll
	flushTimeout = 10 * time.Second // for events that still wait when a start has ended well
	failedTries  = 3                // to deliver the event that ends a hub's waiting
)

// eventQueue delivers the progress of one start to its hub, one event after the other, without ever holding up the
// start (X41, X42): what the hub takes too slowly is dropped from the front.
type eventQueue struct {
	m    *Manager
	e    *entry
	wake chan struct{} // capacity 1

	mu     sync.Mutex
	events []Event
	recent []string // messages for the report of a failure
	closed bool
	final  Event
}

// newEvents starts the delivery of a start's events; without an events URL they are only remembered.
func (m *Manager) newEvents(e *entry) *eventQueue {
	q := &eventQueue{m: m, e: e, wake: make(chan struct{}, 1)}
	if e.calls.events.URL != "" {
		m.goes(q.deliver)
	}
	return q
}

// put adds an event; it never waits.
func (q *eventQueue) put(ev Event) {
	ev.Message = excerpt.Of(ev.Message, excerpt.Sentence)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if ev.Message != "" {
		q.recent = append(q.recent, ev.Message)
		if len(q.recent) > maxMessages {
			q.recent = q.recent[1:]
		}
	}
	if q.e.calls.events.URL == "" {
		return
	}
	if len(q.events) == maxEvents {
		q.events = append(q.events[:0], q.events[1:]...)
	}
	q.events = append(q.events, ev)
	q.signal()
}

// close ends the queue. A failed event is sent next and tried several times; without one the rest is sent in short time.
func (q *eventQueue) close(final Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.final = true, final
	q.signal()
}

func (q *eventQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *eventQueue) messages() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]string(nil), q.recent...)
}

func (q *eventQueue) deliver() {
	ctx, cancel := context.WithCancel(q.m.base)
	defer cancel()
	var flush *time.Timer
	for {
		q.mu.Lock()
		closed, final := q.closed, q.final
		var next Event
		some := len(q.events) > 0
		if some {
			next = q.events[0]
			q.events = q.events[1:]
		}
		q.mu.Unlock()
		switch {
		case closed && final.Failed:
			q.deliverFinal(ctx, final)
			return
		case closed && !some:
			return
		case closed && flush == nil:
			flush = time.AfterFunc(flushTimeout, cancel)
			defer flush.Stop()
		}
		if some {
			_ = q.m.postEvent(ctx, q.e, next) // it has said what failed, and the next event goes on from there
		} else {
			select {
			case <-q.wake:
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

func (q *eventQueue) deliverFinal(ctx context.Context, ev Event) {
	retry := newBackoff()
	for range failedTries {
		if err := q.m.postEvent(ctx, q.e, ev); err == nil || KindOf(err) == KindFailed || !retry.wait(ctx) {
			return
		}
	}
}

// postEvent delivers one event. Its failure is logged and has no other effect.
func (m *Manager) postEvent(ctx context.Context, e *entry, ev Event) error {
	err := m.hubAPI.PostEvent(ctx, e.calls.events, ev)
	m.observer.HubCalled(e.Hub, "event", err)
	if err != nil {
		m.logger(e).Debug("event not delivered", "progress", ev.Progress, "err", err)
	}
	return err
}

// failedStart is the event that tells a waiting hub that an asynchronous start failed (contract 2.12).
func failedStart(now time.Time, sentence string, messages []string) Event {
	for i := range messages {
		messages[i] = html.EscapeString(messages[i])
	}
	return Event{Progress: 100, Failed: true, HTMLMessage: fmt.Sprintf(
		"<details><summary>%s: %s</summary>%s</details>", now.Format("2006-01-02 15:04:05.000"),
		html.EscapeString(excerpt.Of(sentence, excerpt.Sentence)), strings.Join(messages, "<br>"))}
}

// failedPoll is the event for a server that ended with an error, with its last log lines.
func failedPoll(logs []string) Event {
	const sentence = "Could not start service."
	if len(logs) == 0 {
		return Event{Progress: 99, HTMLMessage: sentence + " No logs available."}
	}
	logs = append([]string(nil), logs[max(0, len(logs)-maxMessages):]...)
	for i := range logs {
		logs[i] = html.EscapeString(excerpt.Of(logs[i], excerpt.Sentence))
	}
	return Event{Progress: 99, HTMLMessage: `<details open><summary style="color: red">` + sentence +
		" (click here to see logs)</summary>" + strings.Join(logs, "<br>") + "</details>"}
}
