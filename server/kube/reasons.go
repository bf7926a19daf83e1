package kube

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Values of Error.Reason: why a start has failed.
const (
	reasonImage         = "image"
	reasonUnschedulable = "unschedulable"
	reasonQuota         = "quota"
	reasonCrash         = "crash"
	reasonPVC           = "pvc"
	reasonConfig        = "config"    // something the pod refers to is missing
	reasonEnded         = "ended"     // the pod ended or was deleted before it was ready
	reasonTimeout       = "timeout"   // not ready in time
	reasonRefused       = "refused"   // Kubernetes refuses the objects
	reasonTaken         = "taken"     // a name belongs to something else
	reasonAPI           = "apiserver" // Kubernetes does not answer
)

// noImage begins the message about an image that no further attempt will pull.
const noImage = "The image cannot be pulled: it does not exist or access to it is denied"

// maxDetail is how many bytes a message quotes from Kubernetes.
const maxDetail = 300

// failed is the error of a start or stop that has failed for good.
func failed(reason string, cause error, message string) *outpost.Error {
	return &outpost.Error{Kind: outpost.KindFailed, Reason: reason, Message: message, Cause: cause}
}

// sentence ends a text with a full stop, or with what Kubernetes says about it.
func sentence(text, detail string) string {
	if detail == "" {
		return text + "."
	}
	return text + ": " + detail
}

// verdict is why a start can no longer succeed.
type verdict struct {
	reason  string // one of the values above
	message string // for users
}

// diagnosis follows one start and finds out when it is hopeless. A failure that may pass must be seen repeats times, or
// last for the grace period; any other counts at once.
type diagnosis struct {
	repeats int
	grace   time.Duration

	pulls      int    // failed attempts to pull an image
	lastState  string // waiting reason seen last, to count changes
	since      map[string]time.Time
	scalingUp  bool   // an autoscaler adds a node for this pod
	provision  int    // failed attempts to provide the volume
	mounts     int    // failed mounts of something that does not exist
	failedPull string // the node's message about the image

	lastWarning string
}

func newDiagnosis(repeats int, grace time.Duration) *diagnosis {
	return &diagnosis{repeats: repeats, grace: grace, since: map[string]time.Time{}}
}

// observe notes an event of the pod or its volume claim.
func (d *diagnosis) observe(e *corev1.Event) {
	if e.Type == corev1.EventTypeWarning {
		d.lastWarning = detail(e.Message)
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

// verdict judges the pod; nil means that it may still become ready.
func (d *diagnosis) verdict(pod *corev1.Pod, now time.Time) *verdict {
	switch pod.Status.Phase {
	case corev1.PodFailed, corev1.PodSucceeded:
		var end *corev1.ContainerStateTerminated
		if c := notebookStatus(pod); c != nil {
			end = c.State.Terminated
		}
		return &verdict{reasonEnded, endReason(pod, end)}
	}
	if d.provision >= d.repeats {
		return &verdict{reasonPVC, sentence("The storage of this server cannot be created", d.lastWarning)}
	}
	if final(d.failedPull) { // the pod's status says so a second later
		return &verdict{reasonImage, sentence(noImage, detail(d.failedPull))}
	}
	if d.mounts >= d.repeats && d.lasts(reasonConfig, now) { // it may be created at this moment
		return &verdict{reasonConfig, sentence("Something that this server mounts does not exist", d.lastWarning)}
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
func (d *diagnosis) scheduling(pod *corev1.Pod, now time.Time) *verdict {
	for _, c := range pod.Status.Conditions {
		if c.Type != corev1.PodScheduled || c.Status != corev1.ConditionFalse ||
			c.Reason != corev1.PodReasonUnschedulable {
			continue
		}
		switch {
		case strings.Contains(c.Message, "persistentvolumeclaim") && strings.Contains(c.Message, "not found"):
			return &verdict{reasonPVC, sentence("The storage of this server does not exist", detail(c.Message))}
		case strings.Contains(c.Message, "unbound immediate PersistentVolumeClaims"):
			return nil // in progress; a failure comes as an event of the claim
		case d.scalingUp || pod.Status.NominatedNodeName != "":
			delete(d.since, reasonUnschedulable)
			return nil
		case d.lasts(reasonUnschedulable, now):
			text := "No node of this cluster has room for this server"
			return &verdict{reasonUnschedulable, sentence(text, detail(c.Message))}
		}
		return nil
	}
	delete(d.since, reasonUnschedulable)
	return nil
}

// container judges one container.
func (d *diagnosis) container(c *corev1.ContainerStatus, now time.Time) *verdict {
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
		return &verdict{reasonImage, sentence("The name of the image is not valid", detail(waiting.Message))}
	case "ErrImageNeverPull":
		text := "The image is not on the node, and image_pull_policy forbids to pull it"
		return &verdict{reasonImage, sentence(text, detail(waiting.Message))}
	case "ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed":
		if changed && waiting.Reason != "ImagePullBackOff" || d.pulls == 0 {
			d.pulls++
		}
		if final(waiting.Message) {
			return &verdict{reasonImage, sentence(noImage, detail(waiting.Message))}
		}
		if d.pulls >= d.repeats {
			text := fmt.Sprintf("The image cannot be pulled after %d attempts", d.pulls)
			return &verdict{reasonImage, sentence(text, detail(waiting.Message))}
		}
	case "CrashLoopBackOff":
		if crashes+1 >= d.repeats && end != nil {
			return crashed(c.Name, crashes+1, end)
		}
	case "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PostStartHookError",
		"PreCreateHookError":
		if d.lasts(state, now) {
			return &verdict{reasonConfig, sentence("The server cannot be started on its node", detail(waiting.Message))}
		}
	}
	return nil
}

// crashed is the verdict on a container that keeps ending.
func crashed(name string, times int, end *corev1.ContainerStateTerminated) *verdict {
	what := "The server"
	if name != kubespawner.NotebookContainer {
		what = "Container " + name
	}
	if end.Reason == "OOMKilled" {
		return &verdict{reasonCrash, fmt.Sprintf("%s exceeded its memory limit and was killed %d times.", what, times)}
	}
	text := fmt.Sprintf("%s ended %d times while starting, last with exit code %d", what, times, end.ExitCode)
	return &verdict{reasonCrash, sentence(text, detail(end.Message))}
}

// lasts reports whether a state has lasted for the grace period.
func (d *diagnosis) lasts(what string, now time.Time) bool {
	first, ok := d.since[what]
	if !ok {
		d.since[what] = now
		return false
	}
	return now.Sub(first) >= d.grace
}

// finalMessages are parts of messages of registries about images that no attempt will pull.
var finalMessages = []string{
	"not found", "manifest unknown", "name unknown", "does not exist", "unauthorized", "authentication required",
	"denied", "forbidden", "no match for platform", "invalid reference", "no matching manifest",
}

func final(message string) bool {
	message = strings.ToLower(message)
	if strings.Contains(message, "no such host") || strings.Contains(message, "server misbehaving") {
		return false // DNS may find the name a moment later
	}
	for _, part := range finalMessages {
		if strings.Contains(message, part) {
			return true
		}
	}
	return false
}

// detail is what a message quotes of a text of Kubernetes: one line, not too long.
func detail(text string) string {
	return excerpt.Of(strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " "), maxDetail)
}
