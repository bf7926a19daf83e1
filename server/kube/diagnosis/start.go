package diagnosis

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/kubespawner"
)

// Values of Error.Reason: why a start has failed.
const (
	ReasonImage         = "image"
	ReasonUnschedulable = "unschedulable"
	ReasonQuota         = "quota"
	ReasonCrash         = "crash"
	ReasonPVC           = "pvc"
	ReasonConfig        = "config"    // something the pod refers to is missing
	ReasonEnded         = "ended"     // the pod ended or was deleted before it was ready
	ReasonTimeout       = "timeout"   // not ready in time
	ReasonRefused       = "refused"   // Kubernetes refuses the objects
	ReasonTaken         = "taken"     // a name belongs to something else
	ReasonAPI           = "apiserver" // Kubernetes does not answer
)

// NoImage begins the message about an image that no further attempt will pull.
const NoImage = "The image cannot be pulled: it does not exist or access to it is denied"

// What begins the messages about a pod that no node can take, and about one that none has taken in time.
const (
	NoRoom    = "No node of this cluster has room for this server"
	HadNoRoom = "No node of this cluster had room for this server"
)

// maxDetail is how many bytes a message quotes from Kubernetes.
const maxDetail = 300

// Sentence ends a text with a full stop, or with what Kubernetes says about it.
func Sentence(text, detail string) string {
	if detail == "" {
		return text + "."
	}
	return text + ": " + detail
}

// Verdict is why a start can no longer succeed.
type Verdict struct {
	Reason  string // one of the values above
	Message string // for users
}

// Start follows one start and finds out when it is hopeless: when nothing that runs in the cluster can still change
// what is in its way. A failure that may pass must be seen repeats times, or last for the grace period; any other
// counts at once. What passes by itself is waited for as long as the start may take.
type Start struct {
	// LastWarning is what the last warning of Kubernetes said; empty if there was none.
	LastWarning string
	// NoNode is what the scheduler says of the pod while no node has room for it.
	NoNode string
	// Places returns where the volumes are that the pod mounts. It is asked when the scheduler says that they keep the
	// pod off nodes, and again with each look; nil is not asked.
	Places func() []Place

	repeats int
	grace   time.Duration
	room    func(message string) time.Duration
	lacks   func([]Object) bool

	pulls      int    // failed attempts to pull an image
	lastState  string // waiting reason seen last, to count changes
	since      map[string]time.Time
	newNode    bool   // an autoscaler has found or ordered a node for this pod
	provision  int    // failed attempts to provide the volume
	noVolume   string // what the last of them said
	mounts     int    // failed mounts of something that does not exist
	noMount    string // what the last of them said
	failedPull string // the node's message about the image
}

// NewStart returns the diagnosis of a start that has just begun. A failure that may pass must be seen repeats times, or
// last for grace. room returns how long a pod may wait for a node with a message of the scheduler, 0 for as long as its
// start may take; lacks reports whether one of the objects that a text calls missing really does not exist.
func NewStart(
	repeats int, grace time.Duration, room func(string) time.Duration, lacks func([]Object) bool,
) *Start {
	return &Start{repeats: repeats, grace: grace, room: room, lacks: lacks, since: map[string]time.Time{}}
}

// Observe notes an event of the pod or its volume claim.
func (d *Start) Observe(e *corev1.Event) {
	if e.Type == corev1.EventTypeWarning {
		d.LastWarning = Detail(e.Message)
	}
	count := max(int(e.Count), 1)
	if e.Series != nil {
		count = max(count, int(e.Series.Count))
	}
	if MeaningOf(e).Coming {
		d.newNode = true
		delete(d.since, ReasonUnschedulable) // the time for a node begins anew
	}
	switch e.Reason {
	case "ProvisioningFailed":
		if !passing(e.Message) {
			d.provision, d.noVolume = max(d.provision+1, count), e.Message
		}
	case "ProvisioningSucceeded":
		d.provision = 0
	case "Failed":
		if strings.HasPrefix(e.Message, "Failed to pull image") {
			d.failedPull = e.Message
		}
	case "FailedMount", "FailedAttachVolume":
		if len(AbsentObjects(e.Message)) > 0 {
			d.mounts, d.noMount = max(d.mounts+1, count), e.Message
		}
	case "Pulling", "Pulled", "Created", "Started": // which come after everything is mounted
		d.mounts = 0
		delete(d.since, ReasonConfig)
	}
}

// Verdict judges the pod; nil means that it may still become ready.
func (d *Start) Verdict(pod *corev1.Pod, now time.Time) *Verdict {
	switch pod.Status.Phase {
	case corev1.PodFailed, corev1.PodSucceeded:
		var end *corev1.ContainerStateTerminated
		if c := Notebook(pod); c != nil {
			end = c.State.Terminated
		}
		return &Verdict{ReasonEnded, endReason(pod, end)}
	}
	if d.provision >= d.repeats && d.lasts(ReasonPVC, now) && d.believes(d.noVolume) { // attempts are seconds apart
		return &Verdict{ReasonPVC, Sentence("The storage of this server cannot be created", Detail(d.noVolume))}
	}
	if final(d.failedPull, d.newNode) { // the pod's status says so a second later
		return &Verdict{ReasonImage, Sentence(NoImage, Detail(d.failedPull))}
	}
	if d.mounts >= d.repeats && d.lasts(ReasonConfig, now) && d.believes(d.noMount) {
		return &Verdict{ReasonConfig, Sentence("Something that this server mounts does not exist", Detail(d.noMount))}
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
func (d *Start) scheduling(pod *corev1.Pod, now time.Time) *Verdict {
	message, waits := unschedulable(pod)
	if d.NoNode = ""; !waits {
		delete(d.since, ReasonUnschedulable)
		return nil
	}
	if absent := AbsentObjects(message); len(absent) > 0 {
		if d.lacks(absent) {
			return &Verdict{ReasonPVC, Sentence("The storage of this server does not exist", Detail(message))}
		}
		return nil // the scheduler has not seen it yet
	}
	if strings.Contains(strings.ToLower(message), "persistentvolumeclaim") {
		return nil // in progress; a failure comes as an event of the claim
	}
	d.NoNode = d.noNode(message)
	if pod.Status.NominatedNodeName != "" { // other pods are leaving it
		delete(d.since, ReasonUnschedulable)
		return nil
	}
	if room := d.room(message); room > 0 && d.lastsFor(ReasonUnschedulable, room, now) {
		return &Verdict{ReasonUnschedulable, Sentence(NoRoom, d.NoNode)}
	}
	return nil
}

// noNode quotes what the scheduler says of the nodes, with the way out where a person holds some of them back, and with
// where the storage is that some are too far from.
func (d *Start) noNode(message string) string {
	said, more := Detail(message), ""
	if strings.Contains(message, heldBack) {
		more += " Nodes that are unschedulable have been cordoned; " +
			"`kubectl uncordon NODE` lets them take servers again."
	}
	if d.Places != nil && containsAny(message, boundTexts) {
		for _, p := range d.Places() {
			more += p.sentence()
		}
	}
	if more == "" {
		return said
	}
	return strings.TrimRight(said, ".") + "." + more
}

// unschedulable returns what the scheduler says of a pod for which it has found no node; false if it says nothing.
func unschedulable(pod *corev1.Pod) (message string, waits bool) {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse &&
			c.Reason == corev1.PodReasonUnschedulable {
			return c.Message, true
		}
	}
	return "", false
}

// container judges one container.
func (d *Start) container(c *corev1.ContainerStatus, now time.Time) *Verdict {
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
		return &Verdict{ReasonImage, Sentence("The name of the image is not valid", Detail(waiting.Message))}
	case "ErrImageNeverPull":
		if !d.newNode && d.lasts(state, now) { // something else may be bringing the image
			text := "The image is not on the node, and image_pull_policy forbids to pull it"
			return &Verdict{ReasonImage, Sentence(text, Detail(waiting.Message))}
		}
	case "ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed":
		return d.pull(waiting, changed)
	case "CrashLoopBackOff":
		if crashes+1 >= d.repeats && end != nil {
			return crashed(c.Name, crashes+1, end)
		}
	case "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PostStartHookError",
		"PreCreateHookError":
		if d.stuck(waiting, state, now) {
			return &Verdict{ReasonConfig, Sentence("The server cannot be started on its node", Detail(waiting.Message))}
		}
	}
	return nil
}

// pull judges a container whose image cannot be pulled. A limit of the registry, or a network that does not work yet,
// is waited for, however often it is seen.
func (d *Start) pull(waiting *corev1.ContainerStateWaiting, changed bool) *Verdict {
	if final(waiting.Message, d.newNode) {
		return &Verdict{ReasonImage, Sentence(NoImage, Detail(waiting.Message))}
	}
	if passing(waiting.Message) {
		return nil
	}
	if changed && waiting.Reason != "ImagePullBackOff" || d.pulls == 0 {
		d.pulls++
	}
	if d.pulls < d.repeats {
		return nil
	}
	text := fmt.Sprintf("The image cannot be pulled after %d attempts", d.pulls)
	return &Verdict{ReasonImage, Sentence(text, Detail(waiting.Message))}
}

// stuck reports whether a container cannot be made on its node, for a reason that does not pass.
func (d *Start) stuck(waiting *corev1.ContainerStateWaiting, state string, now time.Time) bool {
	if passing(waiting.Message) {
		delete(d.since, state)
		return false
	}
	return d.lasts(state, now) && d.believes(waiting.Message)
}

// believes reports whether what a message calls missing, if anything, really does not exist.
func (d *Start) believes(message string) bool {
	absent := AbsentObjects(message)
	return len(absent) == 0 || d.lacks(absent)
}

// crashed is the verdict on a container that keeps ending.
func crashed(name string, times int, end *corev1.ContainerStateTerminated) *Verdict {
	what := "The server"
	if name != kubespawner.NotebookContainer {
		what = "Container " + name
	}
	if end.Reason == "OOMKilled" {
		return &Verdict{ReasonCrash, fmt.Sprintf("%s exceeded its memory limit and was killed %d times.", what, times)}
	}
	text := fmt.Sprintf("%s ended %d times while starting, last with exit code %d", what, times, end.ExitCode)
	return &Verdict{ReasonCrash, Sentence(text, Detail(end.Message))}
}

// lasts reports whether a state has lasted for the grace period.
func (d *Start) lasts(what string, now time.Time) bool { return d.lastsFor(what, d.grace, now) }

// lastsFor reports whether a state has lasted for some time.
func (d *Start) lastsFor(what string, limit time.Duration, now time.Time) bool {
	first, ok := d.since[what]
	if !ok {
		d.since[what] = now
		return false
	}
	return now.Sub(first) >= limit
}

// Detail is what a message quotes of a text of Kubernetes: one line, not too long.
func Detail(text string) string {
	return excerpt.Of(strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " "), maxDetail)
}
