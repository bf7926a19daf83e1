package kube

import (
	"html"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/outposts-dev/outposts/server/kube/diagnosis"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

// progressEnd is what the progress bar moves towards, a third of the way with each event.
const progressEnd = 90

// progress turns the events of one start into what a hub shows, with KubeSpawner's numbers. It differs in the choice of
// events: those of this start's objects (by uid, not by name), each version of each once.
type progress struct {
	value float64
	seen  map[types.UID]string // resource version reported last
}

// first is the event that every start begins with.
func (pr *progress) first() outpost.Event {
	return outpost.Event{Progress: 0, Message: "Server requested", HTMLMessage: "Server requested"}
}

// add returns what is new among events of the objects with these uids, oldest first.
func (pr *progress) add(events []*corev1.Event, uids map[types.UID]bool) []outpost.Event {
	mine := make([]*corev1.Event, 0, len(events))
	for _, e := range events {
		if uids[e.InvolvedObject.UID] {
			mine = append(mine, e)
		}
	}
	slices.SortStableFunc(mine, func(a, b *corev1.Event) int { return strings.Compare(eventTime(a), eventTime(b)) })
	if pr.seen == nil {
		pr.seen = map[types.UID]string{}
	}
	var out []outpost.Event
	for _, e := range mine {
		if last, ok := pr.seen[e.UID]; ok && last == e.ResourceVersion {
			continue
		}
		pr.seen[e.UID] = e.ResourceVersion
		pr.value += (progressEnd - pr.value) / 3
		message := e.Message
		if text := diagnosis.MeaningOf(e).Text; text != "" {
			message = text + ": " + message
		}
		out = append(out, pr.say(eventTime(e)+" ["+e.Type+"] "+message))
	}
	return out
}

// say is an event with a message at the bar's present value.
func (pr *progress) say(message string) outpost.Event {
	return outpost.Event{Progress: int(pr.value), Message: message, HTMLMessage: html.EscapeString(message)}
}

// eventTime writes when an event happened last as Kubernetes' JSON does; as a text it also orders events.
func eventTime(e *corev1.Event) string {
	switch {
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.UTC().Format("2006-01-02T15:04:05Z")
	case !e.EventTime.IsZero():
		return e.EventTime.UTC().Format("2006-01-02T15:04:05.000000Z")
	}
	return e.CreationTimestamp.UTC().Format("2006-01-02T15:04:05Z")
}

// slowMessage is the message that a start is still under way.
type slowMessage struct {
	after, every time.Duration // after is 0 for no message
	text         string
	last         time.Duration
}

func newSlowMessage(s options.Settings) slowMessage {
	return slowMessage{
		after: options.Seconds(s.SlowSpawnMessageThreshold),
		every: options.Seconds(s.SlowSpawnMessageFrequency),
		text:  s.SlowSpawnMessage,
	}
}

// due returns the message that is due after this time of waiting.
func (m *slowMessage) due(waited time.Duration) (string, bool) {
	if m.after <= 0 || waited < m.after || waited-m.last < m.every {
		return "", false
	}
	m.last = waited
	return strings.ReplaceAll(m.text, "{seconds}", strconv.Itoa(int(waited/time.Second))), true
}
