package kube

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/kube/diagnosis"
	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/kubespawner/kubespawnertest"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

// lifecycleVectors is lifecycle-vectors.json.
type lifecycleVectors struct {
	Poll []struct {
		ID      string          `json:"id"`
		Pod     json.RawMessage `json:"pod"`
		Poll    *int            `json:"poll"`
		Ready   any             `json:"start_considers_ready"`
		Deletes bool            `json:"deletes_pod"`
	} `json:"poll"`
	Progress []struct {
		ID       string          `json:"id"`
		Events   []*corev1.Event `json:"events_in_cache"`
		Marker   *string         `json:"marker"`
		Config   map[string]any  `json:"config"`
		Messages []struct {
			Progress *int   `json:"progress"`
			Message  string `json:"message"`
		} `json:"messages"`
	} `json:"progress"`
	StartStop []startStopVector `json:"start_stop"`
}

func TestPollIsKubeSpawners(t *testing.T) {
	var v lifecycleVectors
	kubespawnertest.Load(t, "lifecycle-vectors", &v)
	if len(v.Poll) < 22 {
		t.Fatalf("only %d vectors", len(v.Poll))
	}
	differs := map[string]int{
		"failed-notebook-still-running-state": 1, // a failed pod never runs again
	}
	for _, c := range v.Poll {
		pod := kubespawnertest.Decode[corev1.Pod](t, c.Pod)
		if pod != nil {
			trim(pod) // as the informer keeps it
		}
		got := diagnosis.Status(pod)
		var code *int
		if got.Ended {
			code = &got.ExitCode
		}
		want := c.Poll
		if other, ok := differs[c.ID]; ok {
			want = &other
		}
		if diff := cmp.Diff(want, code); diff != "" {
			t.Errorf("%s: poll (-want +got)\n%s", c.ID, diff)
		}
		if got.Gone != (pod == nil) {
			t.Errorf("%s: gone %v", c.ID, got.Gone)
		}
		if got.Ended && got.ExitCode != 0 && got.Reason == "" {
			t.Errorf("%s: no reason", c.ID)
		}
		if pod == nil {
			continue
		}
		if ready := diagnosis.IsReady(pod, options.ReadyAll); ready != (c.Ready == true) {
			t.Errorf("%s: ready %v, KubeSpawner says %v", c.ID, ready, c.Ready)
		}
	}
}

// The notebook's readiness is enough, unless the operator asks for all containers'.
func TestSidecarsDoNotBlockAStart(t *testing.T) {
	var v lifecycleVectors
	kubespawnertest.Load(t, "lifecycle-vectors", &v)
	want := map[string]bool{"running-sidecar-not-ready": true, "running-sidecar-terminated": true}
	for _, c := range v.Poll {
		pod := kubespawnertest.Decode[corev1.Pod](t, c.Pod)
		if pod == nil {
			continue
		}
		if got := diagnosis.IsReady(pod, options.ReadyNotebook); got != (want[c.ID] || c.Ready == true) {
			t.Errorf("%s: ready %v", c.ID, got)
		}
	}
}

func TestEndsHaveReasons(t *testing.T) {
	notebook := func(end corev1.ContainerStateTerminated) []corev1.ContainerStatus {
		return []corev1.ContainerStatus{
			{Name: kubespawner.NotebookContainer, State: corev1.ContainerState{Terminated: &end}},
		}
	}
	//nolint:lll // a case a line
	for _, c := range []struct {
		name   string
		status corev1.PodStatus
		want   outpost.Status
	}{
		{
			"finished",
			corev1.PodStatus{Phase: corev1.PodSucceeded, ContainerStatuses: notebook(corev1.ContainerStateTerminated{})},
			outpost.Status{Ended: true},
		},
		{
			"killed for memory",
			corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: notebook(corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"})},
			outpost.Status{Ended: true, ExitCode: 137, Reason: "The server exceeded its memory limit and was killed.", KubeReason: "OOMKilled"},
		},
		{
			"crashed",
			corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: notebook(corev1.ContainerStateTerminated{ExitCode: 3})},
			outpost.Status{Ended: true, ExitCode: 3, Reason: "The server ended with exit code 3."},
		},
		{
			"evicted",
			corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on memory."},
			outpost.Status{Ended: true, ExitCode: 1, Reason: "The server was evicted from its node: The node was low on memory.", KubeReason: "Evicted"},
		},
		{
			"node shut down while fine",
			corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Terminated", ContainerStatuses: notebook(corev1.ContainerStateTerminated{})},
			outpost.Status{Ended: true, Reason: "The server's node was shut down or lost.", KubeReason: "Terminated"},
		},
		{"waiting for a node", corev1.PodStatus{Phase: corev1.PodPending}, outpost.Status{}},
		{"just made", corev1.PodStatus{}, outpost.Status{}},
	} {
		if diff := cmp.Diff(c.want, diagnosis.Status(&corev1.Pod{Status: c.status})); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.name, diff)
		}
	}
}
