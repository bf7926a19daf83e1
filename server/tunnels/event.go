package tunnels

import (
	"context"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/outposts-dev/outposts/server/outbox"
)

const (
	eventSeats = 512              // events that wait to be sent
	eventLimit = 10 * time.Second // for one to be sent
)

// teller tells those who look at a Service by an event why it is not served: once for each Service and reason.
type teller struct {
	queue *outbox.Queue[*corev1.Event]
	told  map[types.UID]string // the message
}

func newTeller(client kubernetes.Interface, log *slog.Logger) *teller {
	send := func(ctx context.Context, event *corev1.Event) {
		ctx, cancel := context.WithTimeout(ctx, eventLimit)
		defer cancel()
		if _, err := client.CoreV1().Events(event.Namespace).Create(ctx, event, metav1.CreateOptions{}); err != nil {
			log.Debug("event not sent", "service", event.InvolvedObject.Name, "reason", event.Reason, "err", err)
		}
	}
	return &teller{queue: outbox.New(eventSeats, time.Second, send), told: map[types.UID]string{}}
}

// tell sends an event for each Service whose refusal is new. It never waits.
func (t *teller) tell(refused []refusal, log *slog.Logger) {
	told := make(map[types.UID]string, len(refused))
	for _, r := range refused {
		told[r.service.UID] = r.message
		if t.told[r.service.UID] == r.message {
			continue
		}
		log.Warn("service is not served", "service", r.service.Name, "reason", r.reason, "message", r.message)
		now := metav1.Now()
		t.queue.Put(&corev1.Event{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "outpost-tunnels-", Namespace: r.service.Namespace},
			InvolvedObject: corev1.ObjectReference{
				APIVersion: "v1", Kind: "Service", Namespace: r.service.Namespace, Name: r.service.Name,
				UID: r.service.UID, ResourceVersion: r.service.ResourceVersion,
			},
			Type: corev1.EventTypeWarning, Reason: r.reason, Message: r.message, Count: 1,
			FirstTimestamp: now, LastTimestamp: now,
			Source: corev1.EventSource{Component: "outpost-tunnels"},
		})
	}
	t.told = told
}
