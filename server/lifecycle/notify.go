package lifecycle

import (
	"context"
	"fmt"
	"html"
	"strings"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/outbox"
	"github.com/outposts-dev/outposts/server/outpost"
)

const (
	maxEvents    = 64               // waiting for one hub to take them
	maxMessages  = 10               // kept for the report of a failed start, and log lines for that of a failed poll
	flushTimeout = 10 * time.Second // for events that still wait when a start has ended well
	failedTries  = 3                // to deliver the event that ends a hub's waiting
)

// notifier tells hubs in the background what happens to their services. No call decides about a service (protocol 3.1).
type notifier struct {
	m *Manager

	mu      sync.Mutex
	updates map[outpost.HubCall]bool // flavor updates under way; true: the counts have changed since
	warned  map[string]bool          // hubs that were warned about refused callbacks
}

func newNotifier(m *Manager) *notifier {
	return &notifier{m: m, updates: map[outpost.HubCall]bool{}, warned: map[string]bool{}}
}

// refused warns once for each hub that its requests name URLs that it was not allowed.
func (n *notifier) refused(hub string, variables []string) {
	if len(variables) == 0 {
		return
	}
	n.mu.Lock()
	warned := n.warned[hub]
	n.warned[hub] = true
	n.mu.Unlock()
	if !warned {
		n.m.log.Warn("hub is not called back: its URLs are not among its allowed callback URLs",
			"hub", hub, "variables", variables)
	}
}

// flavors tells the hub of a service that its counts have changed (protocol 3.3). For each URL and token there is at
// most one goroutine; a change that comes while it is calling makes it call once more, so that 64 starts at once are
// not 64 calls.
func (n *notifier) flavors(e *entry) {
	call := e.calls.Flavors
	if call.URL == "" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, calling := n.updates[call]; calling {
		n.updates[call] = true
	} else if n.m.goes(func() { n.sendFlavors(call) }) {
		n.updates[call] = false
	}
}

// progress is what a hub is told of one start. The start never waits for its hub (protocol 3.2).
type progress struct {
	now   func() time.Time
	queue *outbox.Queue[outpost.Event] // nil: the hub wants no events

	mu     sync.Mutex
	recent []string // messages for the report of a failure
}

// progress begins to tell the hub of a start.
func (n *notifier) progress(e *entry) *progress {
	p := &progress{now: n.m.opts.Now}
	if e.calls.Events.URL != "" {
		p.queue = outbox.New(maxEvents, flushTimeout, func(ctx context.Context, ev outpost.Event) {
			n.deliver(ctx, e, ev)
		})
		n.m.goes(func() { p.queue.Run(n.m.base) })
	}
	return p
}

// put tells an event; it never waits. "Server requested", which has progress 0, every JupyterHub shows by itself:
// telling it costs a hub more than it is worth.
func (p *progress) put(ev outpost.Event) {
	ev.Message = excerpt.Of(ev.Message, excerpt.Sentence)
	if ev.Message != "" {
		p.mu.Lock()
		p.recent = append(p.recent, ev.Message)
		p.recent = p.recent[max(0, len(p.recent)-maxMessages):]
		p.mu.Unlock()
	}
	if p.queue != nil && ev.Progress > 0 {
		p.queue.Put(ev)
	}
}

// close ends the progress of a start whose hub is answered otherwise.
func (p *progress) close() {
	if p.queue != nil {
		p.queue.Close()
	}
}

// fail tells a waiting hub that an asynchronous start has failed (protocol 3.2).
func (p *progress) fail(sentence string) {
	if p.queue == nil {
		return
	}
	p.mu.Lock()
	messages := escaped(p.recent)
	p.mu.Unlock()
	p.queue.CloseWith(outpost.Event{Progress: 100, Failed: true, HTMLMessage: fmt.Sprintf(
		"<details><summary>%s: %s</summary>%s</details>", p.now().Format("2006-01-02 15:04:05.000"),
		html.EscapeString(excerpt.Of(sentence, excerpt.Sentence)), messages)})
}

// ended tells the hub that a server has ended with an error, with its last log lines.
func (n *notifier) ended(e *entry, logs []string) {
	const sentence = "Could not start service."
	ev := outpost.Event{Progress: 99, HTMLMessage: sentence + " No logs available."}
	if len(logs) > 0 {
		ev.HTMLMessage = `<details open><summary style="color: red">` + sentence +
			" (click here to see logs)</summary>" + escaped(logs[max(0, len(logs)-maxMessages):]) + "</details>"
	}
	n.m.goes(func() { n.deliver(n.m.base, e, ev) })
}

// escaped returns lines as HTML.
func escaped(lines []string) string {
	list := make([]string, len(lines))
	for i, line := range lines {
		list[i] = html.EscapeString(excerpt.Of(line, excerpt.Sentence))
	}
	return strings.Join(list, "<br>")
}

// deliver posts an event, one that ends a hub's waiting several times unless the hub refuses it. A failure has no other
// effect.
func (n *notifier) deliver(ctx context.Context, e *entry, ev outpost.Event) {
	tries := 1
	if ev.Failed {
		tries = failedTries
	}
	retry := newBackoff()
	for try := 1; ; try++ {
		err := n.m.hubAPI.PostEvent(ctx, e.calls.Events, ev)
		n.m.observer.HubCalled(e.Hub, "event", err)
		if err == nil {
			return
		}
		n.m.logger(e).Debug("event not delivered", "progress", ev.Progress, "err", err)
		if try == tries || outpost.KindOf(err) == outpost.KindFailed || !retry.wait(ctx) {
			return
		}
	}
}

// Tell sends a sentence to the hub of a service, for its user. One without a hub to call is no error.
func (m *Manager) Tell(ctx context.Context, k outpost.Key, sentence string) error {
	e := m.index.get(k)
	if e == nil || e.calls.Events.URL == "" {
		return nil
	}
	err := m.hubAPI.PostEvent(ctx, e.calls.Events, outpost.Notice(sentence))
	m.observer.HubCalled(e.Hub, "notice", err)
	return err
}

// updateTimeout bounds one flavor update.
const updateTimeout = 30 * time.Second

// sendFlavors tells a hub its flavors, again as long as their counts change meanwhile. It is the goroutine of
// notifier.flavors.
func (n *notifier) sendFlavors(call outpost.HubCall) {
	for again := true; again; {
		ctx, cancel := context.WithTimeout(n.m.base, updateTimeout)
		flavors, err := n.m.Flavors(ctx, call.Hub)
		if err == nil {
			err = n.m.hubAPI.PostFlavors(ctx, call, flavors)
		}
		cancel()
		n.m.observer.HubCalled(call.Hub, "flavors", err)
		if err != nil {
			n.m.log.Warn("flavor update not delivered", "hub", call.Hub, "err", err)
		}
		n.mu.Lock()
		if again = n.updates[call]; again {
			n.updates[call] = false
		} else {
			delete(n.updates, call)
		}
		n.mu.Unlock()
	}
}
