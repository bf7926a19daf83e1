package deployed

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Artefacts is the folder for what a test leaves for people to look at.
func Artefacts(t testing.TB) string {
	t.Helper()
	folder, err := filepath.Abs(filepath.Join("..", "..", ".state", "test", "artefacts"))
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// ExplainFailure keeps what a cluster says at the end of a test that has failed: of its nodes the taints and
// conditions, of pods those that are not ready, and what they wrote before a restart, and all events. The taints are in
// the test's output too: they are why a pod finds no node.
func ExplainFailure(t testing.TB, name string, api kubernetes.Interface) {
	t.Helper()
	path := filepath.Join(Artefacts(t), strings.ReplaceAll(t.Name(), "/", "-")+"-"+name+".txt")
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		var said strings.Builder
		tainted, err := describe(ctx, &said, api)
		if err != nil {
			t.Errorf("ask cluster %s: %v", name, err)
		}
		for _, line := range tainted {
			t.Logf("cluster %s: %s", name, line)
		}
		if err := os.WriteFile(path, []byte(said.String()), 0o644); err != nil {
			t.Error(err)
		}
		t.Logf("what cluster %s says is in %s", name, path)
	})
}

// describe writes what a cluster says of itself, and returns the lines about nodes that have taints.
func describe(ctx context.Context, w *strings.Builder, api kubernetes.Interface) (tainted []string, err error) {
	nodes, err := api.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, node := range nodes.Items {
		line := fmt.Sprintf("node %s: unschedulable %t, taints:", node.Name, node.Spec.Unschedulable)
		for _, taint := range node.Spec.Taints {
			line += " " + taint.ToString()
		}
		if len(node.Spec.Taints) > 0 {
			tainted = append(tainted, line)
		}
		fmt.Fprintln(w, line)
		for _, c := range node.Status.Conditions {
			fmt.Fprintf(w, "  %s %s since %s: %s\n", c.Type, c.Status, clock(c.LastTransitionTime), c.Message)
		}
	}
	pods, err := api.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return tainted, err
	}
	for _, pod := range pods.Items {
		for _, c := range pod.Status.Conditions {
			if c.Status != corev1.ConditionTrue && pod.Status.Phase != corev1.PodSucceeded {
				fmt.Fprintf(w, "pod %s/%s: %s, not %s: %s %s\n",
					pod.Namespace, pod.Name, pod.Status.Phase, c.Type, c.Reason, c.Message)
			}
		}
		describeRestarts(ctx, w, api, pod)
	}
	events, err := api.CoreV1().Events("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return tainted, err
	}
	slices.SortFunc(events.Items, func(a, b corev1.Event) int { return last(a).Compare(last(b).Time) })
	for _, e := range events.Items {
		fmt.Fprintf(w, "%s %s %s/%s: %s: %s\n", clock(last(e)), strings.ToLower(e.InvolvedObject.Kind),
			e.InvolvedObject.Namespace, e.InvolvedObject.Name, e.Reason, e.Message)
	}
	return tainted, nil
}

// describeRestarts writes the end of what containers of a pod had to say before they were started again.
func describeRestarts(ctx context.Context, w *strings.Builder, api kubernetes.Interface, pod corev1.Pod) {
	lines := int64(30)
	for _, c := range pod.Status.ContainerStatuses {
		if c.RestartCount == 0 {
			continue
		}
		log, err := api.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name,
			&corev1.PodLogOptions{Container: c.Name, Previous: true, TailLines: &lines}).DoRaw(ctx)
		fmt.Fprintf(w, "container %s of pod %s/%s has ended %d times: %v\n%s\n",
			c.Name, pod.Namespace, pod.Name, c.RestartCount, err, log)
	}
}

// last is when an event happened the last time.
func last(e corev1.Event) metav1.Time {
	switch {
	case e.Series != nil:
		return metav1.NewTime(e.Series.LastObservedTime.Time)
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp
	}
	return metav1.NewTime(e.EventTime.Time)
}

func clock(t metav1.Time) string { return t.UTC().Format(time.TimeOnly) }
