package deployed

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// TestDescribe holds that what is kept of a failure says why a pod found no node.
func TestDescribe(t *testing.T) {
	at := func(minute int) metav1.Time {
		return metav1.NewTime(time.Date(2026, 5, 1, 12, minute, 0, 0, time.UTC))
	}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "local"},
		Spec: corev1.NodeSpec{Taints: []corev1.Taint{
			{Key: corev1.TaintNodeDiskPressure, Effect: corev1.TaintEffectNoSchedule},
		}},
		Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{
			Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue, LastTransitionTime: at(1),
			Message: "kubelet has disk pressure",
		}}},
	}
	pod := func(name string, ready corev1.ConditionStatus) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name},
			Status: corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
				Type: corev1.PodScheduled, Status: ready, Reason: "Unschedulable", Message: "no node",
			}}},
		}
	}
	event := func(name string, happened metav1.Time) *corev1.Event {
		return &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}, LastTimestamp: happened, Reason: name,
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "n", Name: "waits"}, Message: "said",
		}
	}
	api := fake.NewClientset(node, pod("runs", corev1.ConditionTrue), pod("waits", corev1.ConditionFalse),
		event("Later", at(3)), event("Earlier", at(2)))
	const taint = "node local: unschedulable false, taints: node.kubernetes.io/disk-pressure:NoSchedule"
	var said strings.Builder
	tainted, err := describe(t.Context(), &said, api)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{taint}, tainted); diff != "" {
		t.Errorf("tainted (-want +got):\n%s", diff)
	}
	want := taint + `
  DiskPressure True since 12:01:00: kubelet has disk pressure
pod n/waits: Pending, not PodScheduled: Unschedulable no node
12:02:00 pod n/waits: Earlier: said
12:03:00 pod n/waits: Later: said
`
	if diff := cmp.Diff(want, said.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
