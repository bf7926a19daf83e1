package diagnosis

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Status says from a pod whether its server runs, by KubeSpawner's table. It differs in one row: a pod of phase
// Failed has ended, even if its notebook's last status is running. nil is a pod that does not exist.
func Status(pod *corev1.Pod) outpost.Status {
	if pod == nil {
		return outpost.Status{Ended: true, Gone: true, ExitCode: 1, Reason: "The server's pod no longer exists."}
	}
	status := &pod.Status // a copy would be most of what a poll costs here
	if status.Phase == corev1.PodPending {
		return outpost.Status{}
	}
	if status.ContainerStatuses == nil {
		if status.Phase == "" {
			return outpost.Status{} // made a moment ago, not scheduled yet
		}
		return outpost.Status{Ended: true, ExitCode: 1, Reason: endReason(pod, nil), KubeReason: status.Reason}
	}
	if c := Notebook(pod); c != nil && c.State.Terminated != nil {
		end := c.State.Terminated
		ended := outpost.Status{
			Ended: true, ExitCode: int(end.ExitCode), KubeReason: cmp.Or(end.Reason, status.Reason),
		}
		if end.ExitCode != 0 || status.Phase == corev1.PodFailed {
			ended.Reason = endReason(pod, end)
		}
		return ended
	}
	if status.Phase == corev1.PodFailed {
		return outpost.Status{Ended: true, ExitCode: 1, Reason: endReason(pod, nil), KubeReason: status.Reason}
	}
	return outpost.Status{}
}

// Notebook returns the status of the notebook container, nil if there is none.
func Notebook(pod *corev1.Pod) *corev1.ContainerStatus {
	for i := range pod.Status.ContainerStatuses {
		if c := &pod.Status.ContainerStatuses[i]; c.Name == kubespawner.NotebookContainer {
			return c
		}
	}
	return nil
}

// endReason is why a server ended, for users.
func endReason(pod *corev1.Pod, end *corev1.ContainerStateTerminated) string {
	message := pod.Status.Message
	switch pod.Status.Reason {
	case "Evicted":
		return Sentence("The server was evicted from its node", message)
	case "Preempted", "Preempting":
		return Sentence("The server was preempted by one of higher priority", message)
	case "DeadlineExceeded":
		return Sentence("The server's time limit was exceeded", message)
	case "NodeLost", "NodeShutdown", "Shutdown", "Terminated":
		return Sentence("The server's node was shut down or lost", message)
	case "OutOfcpu", "OutOfmemory", "OutOfpods":
		return Sentence("The server's node had no room for it", message)
	}
	switch {
	case end == nil && pod.Status.Reason != "":
		return Sentence("The server ended: "+pod.Status.Reason, message)
	case end == nil:
		return Sentence("The server ended", message)
	case end.Reason == "OOMKilled":
		return "The server exceeded its memory limit and was killed."
	}
	return Sentence(fmt.Sprintf("The server ended with exit code %d", end.ExitCode), message)
}

// IsReady reports whether a start is over. containers is the option ready_containers: with [options.ReadyAll] every
// container must be ready, as in KubeSpawner; else the notebook is enough, so that a sidecar that has finished or is
// slow does not block the start.
func IsReady(pod *corev1.Pod, containers string) bool {
	if pod.Status.Phase != corev1.PodRunning || pod.Status.PodIP == "" || pod.DeletionTimestamp != nil ||
		pod.Status.ContainerStatuses == nil {
		return false
	}
	if containers != options.ReadyAll {
		c := Notebook(pod)
		return c != nil && c.Ready
	}
	unready := func(c corev1.ContainerStatus) bool { return !c.Ready }
	return !slices.ContainsFunc(pod.Status.ContainerStatuses, unready)
}
