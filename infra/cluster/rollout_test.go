package cluster

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRollout holds how the status of a Deployment is read, as its controller writes it while it replaces pods.
func TestRollout(t *testing.T) {
	progress := func(reason string) string {
		status := "True"
		if reason == deadlineExceeded {
			status = "False"
		}
		return fmt.Sprintf(`{"type":"Progressing","status":"%s","reason":"%s"}`, status, reason)
	}
	const available = `{"type":"Available","status":"True","reason":"MinimumReplicasAvailable"}`
	text := func(updated, available int) string {
		return fmt.Sprintf("%d of 1 pods are new, %d are available", updated, available)
	}
	//nolint:lll // a status a line
	for _, tt := range []struct {
		name, status string // of generation 2
		conditions   []string
		pods         []string // what there is of them in a status
		want         Rollout
	}{
		{"there", `"observedGeneration":2,"replicas":1,"updatedReplicas":1,"availableReplicas":1`, []string{progress(rolledOut)}, nil, Rollout{Done: true}},
		{"not seen yet", `"observedGeneration":1,"replicas":1,"updatedReplicas":1,"availableReplicas":1`, []string{progress(rolledOut)}, nil, Rollout{Text: text(1, 1)}},
		{"Recreate, the old pod is told to end", `"observedGeneration":2,"replicas":1,"availableReplicas":1`, []string{available, progress(rolledOut)}, nil, Rollout{Text: text(0, 1)}},
		{"Recreate, no pod", `"observedGeneration":2`, []string{progress(rolledOut)}, nil, Rollout{Text: text(0, 0)}},
		{"Recreate after an up that failed, the old pod is told to end", `"observedGeneration":2,"replicas":1`, []string{progress(deadlineExceeded)}, nil, Rollout{Text: text(0, 0)}},
		{"rolling update, the old pod is there too", `"observedGeneration":2,"replicas":2,"updatedReplicas":1,"availableReplicas":1`, []string{available, progress("ReplicaSetUpdated")}, nil, Rollout{Text: text(1, 1)}},
		{"new pod, not ready", `"observedGeneration":2,"replicas":1,"updatedReplicas":1`, []string{progress("ReplicaSetUpdated")}, []string{`"containerStatuses":[{"name":"hub","state":{"waiting":{"reason":"ContainerCreating"}}}]`}, Rollout{Text: text(1, 0)}},
		{"it was there, and failed later", `"observedGeneration":2,"replicas":1,"updatedReplicas":1`, []string{progress(rolledOut)}, nil, Rollout{Done: true}},
		{
			"given up", `"observedGeneration":2,"replicas":1,"updatedReplicas":1`,
			[]string{progress(deadlineExceeded)},
			[]string{`"initContainerStatuses":[{"name":"bootstrap","state":{"waiting":{"reason":"CrashLoopBackOff","message":"back-off 10s"}}}]`},
			Rollout{Failed: true, Text: text(1, 0) + ": pod a-0: container bootstrap: CrashLoopBackOff: back-off 10s"},
		},
		{
			"no room", `"observedGeneration":2,"replicas":1,"updatedReplicas":1`,
			[]string{progress("ReplicaSetUpdated")},
			[]string{`"conditions":[{"type":"PodScheduled","status":"True"}]`, `"conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable","message":"0/1 nodes are available"}]`},
			Rollout{Text: text(1, 0) + ": pod a-1: Unschedulable: 0/1 nodes are available"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var items []string
			for i, status := range tt.pods {
				items = append(items, fmt.Sprintf(`{"metadata":{"name":"a-%d"},"status":{%s}}`, i, status))
			}
			api := newAPI(t, map[string]string{
				"/apis/apps/v1/namespaces/a/deployments/b": `{"kind":"Deployment","apiVersion":"apps/v1",
					"metadata":{"name":"b","namespace":"a","generation":2},
					"spec":{"replicas":1,"selector":{"matchLabels":{"app":"b"}}},
					"status":{` + tt.status + `,"conditions":[` + strings.Join(tt.conditions, ",") + `]}}`,
				"/api/v1/namespaces/a/pods app=b": `{"kind":"PodList","apiVersion":"v1","items":[` +
					strings.Join(items, ",") + `]}`,
			})
			got, err := api.Rollout(t.Context(), Object{"a", "b"})
			if got.Done {
				got.Text = ""
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("error %v, rollout (-want +got):\n%s", err, diff)
			}
		})
	}
	for name, answers := range map[string]map[string]string{
		"not there": {"/apis/apps/v1/namespaces/a/deployments/b": notFound}, "closed": nil,
	} {
		if got, err := newAPI(t, answers).Rollout(t.Context(), Object{"a", "b"}); err != nil || !got.Done {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
