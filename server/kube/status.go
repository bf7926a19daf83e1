package kube

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// judge tells from a pod whether its server runs, by KubeSpawner's table. It differs in one row: a pod of phase
// Failed has ended, also when its notebook's last status says running. nil is a pod that does not exist.
func judge(pod *corev1.Pod) outpost.Status {
	if pod == nil {
		return outpost.Status{Ended: true, Gone: true, ExitCode: 1, Reason: "The server's pod does not exist any more."}
	}
	status := pod.Status
	if status.Phase == corev1.PodPending {
		return outpost.Status{}
	}
	if status.ContainerStatuses == nil {
		if status.Phase == "" {
			return outpost.Status{} // made a moment ago, nobody has looked at it yet
		}
		return outpost.Status{Ended: true, ExitCode: 1, Reason: endReason(pod, nil)}
	}
	if c := notebookStatus(pod); c != nil && c.State.Terminated != nil {
		end := c.State.Terminated
		ended := outpost.Status{Ended: true, ExitCode: int(end.ExitCode)}
		if end.ExitCode != 0 || status.Phase == corev1.PodFailed {
			ended.Reason = endReason(pod, end)
		}
		return ended
	}
	if status.Phase == corev1.PodFailed {
		return outpost.Status{Ended: true, ExitCode: 1, Reason: endReason(pod, nil)}
	}
	return outpost.Status{}
}

// notebookStatus returns the status of the notebook container, nil if there is none.
func notebookStatus(pod *corev1.Pod) *corev1.ContainerStatus {
	for i, c := range pod.Status.ContainerStatuses {
		if c.Name == kubespawner.NotebookContainer {
			return &pod.Status.ContainerStatuses[i]
		}
	}
	return nil
}

// endReason says in plain words why a server ended.
func endReason(pod *corev1.Pod, end *corev1.ContainerStateTerminated) string {
	message := pod.Status.Message
	if message != "" {
		message = ": " + message
	}
	switch pod.Status.Reason {
	case "Evicted":
		return "The server was evicted from its node" + message
	case "Preempted", "Preempting":
		return "The server had to make room for a more important one" + message
	case "DeadlineExceeded":
		return "The server's time was over" + message
	case "NodeLost", "NodeShutdown", "Shutdown", "Terminated":
		return "The server's node went away" + message
	case "OutOfcpu", "OutOfmemory", "OutOfpods":
		return "The server's node had no room left for it" + message
	}
	switch {
	case end == nil && pod.Status.Reason != "":
		return "The server ended: " + pod.Status.Reason + message
	case end == nil:
		return "The server ended" + message
	case end.Reason == "OOMKilled":
		return "The server used more memory than it may and was killed."
	}
	return fmt.Sprintf("The server ended with exit code %d%s", end.ExitCode, message)
}

// isReady tells whether a start is over. all asks for every container's readiness, as the peer does; else that
// of the notebook is enough, so that a sidecar that has finished or is slow does not block the start.
func isReady(pod *corev1.Pod, all bool) bool {
	if pod.Status.Phase != corev1.PodRunning || pod.Status.PodIP == "" || pod.DeletionTimestamp != nil ||
		pod.Status.ContainerStatuses == nil {
		return false
	}
	if !all {
		c := notebookStatus(pod)
		return c != nil && c.Ready
	}
	for _, c := range pod.Status.ContainerStatuses {
		if !c.Ready {
			return false
		}
	}
	return true
}
