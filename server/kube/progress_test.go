package kube

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/kubespawner/kubespawnertest"
	"github.com/outposts-dev/outposts/server/outpost"
)

func TestProgressIsKubeSpawners(t *testing.T) {
	var v lifecycleVectors
	kubespawnertest.Load(t, "lifecycle-vectors", &v)
	if len(v.Progress) < 10 {
		t.Fatalf("only %d vectors", len(v.Progress))
	}
	for _, c := range v.Progress {
		if c.Marker != nil {
			continue // KubeSpawner's way to know old events from new ones; here the uid says it
		}
		t.Run(c.ID, func(t *testing.T) {
			for _, e := range c.Events {
				// The vectors have no uids; KubeSpawner compares names only, and shows another namespace's events.
				if e.InvolvedObject.Name == "jupyter-user" {
					e.InvolvedObject.UID = "mine"
				}
			}
			var pr progress
			got := append([]outpost.Event{pr.first()}, pr.add(c.Events, map[types.UID]bool{"mine": true})...)
			for i, m := range c.Messages {
				if m.Progress == nil {
					break // messages of patience are TestSlowMessage's
				}
				if i >= len(got) {
					t.Fatalf("only %d events", i)
				}
				if got[i].Progress != *m.Progress || got[i].Message != m.Message {
					t.Errorf("event %d is %+v, want %d %q", i, got[i], *m.Progress, m.Message)
				}
			}
		})
	}
}

func TestSlowMessage(t *testing.T) {
	var v lifecycleVectors
	kubespawnertest.Load(t, "lifecycle-vectors", &v)
	turns := map[string]int{"slow-spawn-message": 72, "slow-spawn-message-custom": 8}
	for _, c := range v.Progress {
		if turns[c.ID] == 0 {
			continue
		}
		o := planOf(t, testSpawner(t, "jhub", Options{Spawner: c.Config}), aliceKey, nil).Objects.(*kubespawner.Objects)
		waiting := newSlowMessage(o.Settings)
		var got, want []string
		for turn := range turns[c.ID] {
			if text, due := waiting.due(time.Duration(turn) * time.Second); due {
				got = append(got, text)
			}
		}
		for _, m := range c.Messages {
			if m.Progress == nil {
				want = append(want, m.Message)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.ID, diff)
		}
	}
	never := slowMessage{after: 0, every: 1, text: "x"}
	if text, due := never.due(time.Hour); due {
		t.Errorf("a slow message without a threshold is %q", text)
	}
}

func TestProgressSaysWhatEventsMean(t *testing.T) {
	e := fromAutoscaler()
	e.InvolvedObject.UID = "mine"
	var pr progress
	got := pr.add([]*corev1.Event{e}, map[types.UID]bool{"mine": true})
	const text = "0001-01-01T00:00:00Z [Normal] A new node is being made: Pod should schedule on: nodeclaim/x"
	if diff := cmp.Diff([]outpost.Event{{Progress: 30, Message: text, HTMLMessage: text}}, got); diff != "" {
		t.Errorf("events (-want +got)\n%s", diff)
	}
}

func TestProgressShowsEachEventOnce(t *testing.T) {
	event := func(uid, version, object, message string) *corev1.Event {
		e := &corev1.Event{Type: "Warning", Message: message}
		e.UID, e.ResourceVersion, e.InvolvedObject.UID = types.UID(uid), version, types.UID(object)
		e.InvolvedObject.Name = "jupyter-user"
		e.LastTimestamp.Time = time.Date(2026, 5, 4, 9, 12, 40, 0, time.UTC)
		return e
	}
	var pr progress
	mine := map[types.UID]bool{"new": true}
	var got []string
	for _, batch := range [][]*corev1.Event{
		{event("e0", "1", "old", "of the pod that had this name before"), event("e1", "1", "new", "<b>pull</b>")},
		{event("e1", "1", "new", "<b>pull</b>")}, // a watch that begins again
		{event("e1", "2", "new", "again")},       // counted up by Kubernetes
	} {
		for _, e := range pr.add(batch, mine) {
			got = append(got, e.HTMLMessage)
		}
	}
	want := []string{"2026-05-04T09:12:40Z [Warning] &lt;b&gt;pull&lt;/b&gt;", "2026-05-04T09:12:40Z [Warning] again"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got)\n%s", diff)
	}
	for _, e := range []outpost.Event{pr.first(), pr.say("<x>")} {
		if strings.ContainsAny(e.HTMLMessage, "<>") {
			t.Errorf("%q is not escaped", e.HTMLMessage)
		}
	}
}
