package kube

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/kubespawner"
)

// Words for Error.Reason: why starts fail.
const (
	reasonImage         = "image"
	reasonUnschedulable = "unschedulable"
	reasonQuota         = "quota"
	reasonCrash         = "crash"
	reasonPVC           = "pvc"
	reasonConfig        = "config"    // something the pod refers to is missing
	reasonEnded         = "ended"     // the pod ended or was deleted before it was ready
	reasonTimeout       = "timeout"   // not ready in time
	reasonRefused       = "refused"   // Kubernetes does not take the objects
	reasonTaken         = "taken"     // the name belongs to something else
	reasonAPI           = "apiserver" // Kubernetes does not answer
)

// noImage begins the message about an image that no further attempt will get.
const noImage = "The image cannot be pulled, it does not exist or may not be read: "

// maxDetail bounds what a message quotes from Kubernetes.
const maxDetail = 300

// verdict is why a start cannot succeed any more.
type verdict struct {
	reason  string // one of the words above
	message string // in plain words
}

// doubts follows one start and tells when it is hopeless. What can heal by itself must be seen repeats times, or
// last for the grace period; what cannot heal is told at once.
type doubts struct {
	repeats int
	grace   time.Duration

	pulls      int    // failed attempts to pull an image
	lastState  string // waiting reason seen last, to count changes
	since      map[string]time.Time
	scalingUp  bool   // an autoscaler adds a node for this pod
	provision  int    // failed attempts to make the volume
	mounts     int    // failed mounts of something that does not exist
	failedPull string // what the node said about the image
	lastEvents string
}

func newDoubts(repeats int, grace time.Duration) *doubts {
	return &doubts{repeats: repeats, grace: grace, since: map[string]time.Time{}}
}

// event takes note of an event of the pod or its volume claim.
func (d *doubts) event(e *corev1.Event) {
	if e.Type == corev1.EventTypeWarning {
		d.lastEvents = detail(e.Message)
	}
	count := max(int(e.Count), 1)
	if e.Series != nil {
		count = max(count, int(e.Series.Count))
	}
	switch e.Reason {
	case "TriggeredScaleUp":
		d.scalingUp = true
	case "NotTriggerScaleUp":
		d.scalingUp = false
	case "ProvisioningFailed":
		d.provision = max(d.provision+1, count)
	case "Failed":
		if strings.HasPrefix(e.Message, "Failed to pull image") {
			d.failedPull = e.Message
		}
	case "FailedMount", "FailedAttachVolume":
		if strings.Contains(e.Message, "not found") {
			d.mounts = max(d.mounts+1, count)
		}
	case "Pulling", "Pulled", "Created", "Started": // which come after everything is mounted
		d.mounts = 0
		delete(d.since, reasonConfig)
	}
}

// judge looks at the pod; nil means that there is hope.
func (d *doubts) judge(pod *corev1.Pod, now time.Time) *verdict {
	switch pod.Status.Phase {
	case corev1.PodFailed, corev1.PodSucceeded:
		var end *corev1.ContainerStateTerminated
		if c := notebookStatus(pod); c != nil {
			end = c.State.Terminated
		}
		return &verdict{reasonEnded, endReason(pod, end)}
	}
	if d.provision >= d.repeats {
		return &verdict{reasonPVC, "The storage for this server cannot be made: " + d.lastEvents}
	}
	if final(d.failedPull) { // the pod's status says so a second later
		return &verdict{reasonImage, noImage + detail(d.failedPull)}
	}
	if d.mounts >= d.repeats && d.lasts(reasonConfig, now) { // it may be made at this moment
		return &verdict{reasonConfig, "Something that this server should mount does not exist: " + d.lastEvents}
	}
	if v := d.scheduling(pod, now); v != nil {
		return v
	}
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range list {
			if v := d.container(&list[i], now); v != nil {
				return v
			}
		}
	}
	return nil
}

// scheduling judges a pod that has no node.
func (d *doubts) scheduling(pod *corev1.Pod, now time.Time) *verdict {
	for _, c := range pod.Status.Conditions {
		if c.Type != corev1.PodScheduled || c.Status != corev1.ConditionFalse || c.Reason != corev1.PodReasonUnschedulable {
			continue
		}
		switch {
		case strings.Contains(c.Message, "persistentvolumeclaim") && strings.Contains(c.Message, "not found"):
			return &verdict{reasonPVC, "The storage of this server does not exist: " + detail(c.Message)}
		case strings.Contains(c.Message, "unbound immediate PersistentVolumeClaims"):
			return nil // being made; a failure to make it comes as an event of the claim
		case d.scalingUp || pod.Status.NominatedNodeName != "":
			delete(d.since, reasonUnschedulable)
			return nil
		case d.lasts(reasonUnschedulable, now):
			return &verdict{reasonUnschedulable, "No node of this cluster has room for this server: " + detail(c.Message)}
		}
		return nil
	}
	delete(d.since, reasonUnschedulable)
	return nil
}

// container judges one container.
func (d *doubts) container(c *corev1.ContainerStatus, now time.Time) *verdict {
	crashes := int(c.RestartCount)
	end := c.LastTerminationState.Terminated
	if c.State.Terminated != nil && c.State.Terminated.ExitCode != 0 {
		crashes, end = crashes+1, c.State.Terminated
	}
	waiting := c.State.Waiting
	if waiting == nil {
		if crashes >= d.repeats && end != nil {
			return crashed(c.Name, crashes, end)
		}
		return nil
	}
	state := c.Name + "/" + waiting.Reason
	changed := state != d.lastState
	d.lastState = state
	switch waiting.Reason {
	case "InvalidImageName":
		return &verdict{reasonImage, "The name of the image is not valid: " + detail(waiting.Message)}
	case "ErrImageNeverPull":
		return &verdict{reasonImage, "The image is not on the node and may not be pulled: " + detail(waiting.Message)}
	case "ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed":
		if changed && waiting.Reason != "ImagePullBackOff" || d.pulls == 0 {
			d.pulls++
		}
		if final(waiting.Message) {
			return &verdict{reasonImage, noImage + detail(waiting.Message)}
		}
		if d.pulls >= d.repeats {
			return &verdict{reasonImage, fmt.Sprintf("The image cannot be pulled, tried %d times: %s", d.pulls, detail(waiting.Message))}
		}
	case "CrashLoopBackOff":
		if crashes+1 >= d.repeats && end != nil {
			return crashed(c.Name, crashes+1, end)
		}
	case "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PostStartHookError", "PreCreateHookError":
		if d.lasts(state, now) {
			return &verdict{reasonConfig, "The server cannot be started on its node: " + detail(waiting.Message)}
		}
	}
	return nil
}

// crashed says how a container ends again and again.
func crashed(name string, times int, end *corev1.ContainerStateTerminated) *verdict {
	what := "The server"
	if name != kubespawner.NotebookContainer {
		what = "Container " + name
	}
	if end.Reason == "OOMKilled" {
		return &verdict{reasonCrash, fmt.Sprintf("%s used more memory than it may and was killed, %d times.", what, times)}
	}
	text := fmt.Sprintf("%s ended %d times while starting, last with exit code %d", what, times, end.ExitCode)
	if end.Message != "" {
		text += ": " + detail(end.Message)
	}
	return &verdict{reasonCrash, text}
}

// lasts tells whether something has been so for the grace period.
func (d *doubts) lasts(what string, now time.Time) bool {
	first, ok := d.since[what]
	if !ok {
		d.since[what] = now
		return false
	}
	return now.Sub(first) >= d.grace
}

// finalMessages are parts of messages of registries that another attempt does not change.
var finalMessages = []string{
	"not found", "manifest unknown", "name unknown", "does not exist", "unauthorized", "authentication required",
	"denied", "forbidden", "no match for platform", "invalid reference", "no matching manifest",
}

func final(message string) bool {
	message = strings.ToLower(message)
	if strings.Contains(message, "no such host") || strings.Contains(message, "server misbehaving") {
		return false // a name that is not found by DNS may be found a moment later
	}
	for _, part := range finalMessages {
		if strings.Contains(message, part) {
			return true
		}
	}
	return false
}

// detail shortens a message of Kubernetes to one line that is fit to be shown.
func detail(message string) string {
	message = strings.Join(strings.Fields(strings.ToValidUTF8(message, "")), " ")
	if r := []rune(message); len(r) > maxDetail {
		return string(r[:maxDetail]) + "..."
	}
	return message
}
