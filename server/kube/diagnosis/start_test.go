package diagnosis

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/kubespawner"
)

// waiting is a pod whose notebook waits for a reason.
func waiting(reason, message string, restarts int32) *corev1.Pod {
	c := corev1.ContainerStatus{Name: kubespawner.NotebookContainer, RestartCount: restarts}
	c.State.Waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: message}
	if restarts > 0 {
		c.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 2}
	}
	return &corev1.Pod{Status: corev1.PodStatus{
		Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{c},
	}}
}

func unscheduled(message, nominated string) *corev1.Pod {
	condition := corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
		Message: message,
	}
	return &corev1.Pod{Status: corev1.PodStatus{
		Phase: corev1.PodPending, NominatedNodeName: nominated, Conditions: []corev1.PodCondition{condition},
	}}
}

func warning(reason, message string, count int32) *corev1.Event {
	return &corev1.Event{Type: corev1.EventTypeWarning, Reason: reason, Message: message, Count: count}
}

func normal(reason string) *corev1.Event {
	return &corev1.Event{Type: corev1.EventTypeNormal, Reason: reason, Count: 1}
}

// see is one look at the pod, a second after the last one, after an event.
type see struct {
	pod   *corev1.Pod
	event *corev1.Event
	times int // 0 is once
}

// judge returns the first verdict of the looks, which must be the last one's; the zero value is hope. room is how long
// a pod may find no room, and missing are the objects that the API server does not have.
func judge(t *testing.T, room time.Duration, missing []Object, looks ...see) (got Verdict) {
	t.Helper()
	d := NewStart(3, 15*time.Second, func(string) time.Duration { return room }, func(objects []Object) bool {
		return slices.ContainsFunc(objects, func(o Object) bool { return slices.Contains(missing, o) })
	})
	now := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	for _, look := range looks {
		for range max(look.times, 1) {
			if got != (Verdict{}) {
				t.Fatalf("gave up early: %+v", got)
			}
			if look.event != nil {
				d.Observe(look.event)
			}
			if v := d.Verdict(look.pod, now); v != nil {
				got = *v
			}
			now = now.Add(time.Second)
		}
	}
	return got
}

func TestHopelessStarts(t *testing.T) {
	const (
		NoRoom    = "0/3 nodes are available: 3 Insufficient memory."
		notFound  = "rpc error: code = NotFound desc = failed to resolve image: quay.io/x:1: not found"
		network   = "dial tcp 10.1.1.1:443: i/o timeout"
		untrusted = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
	)
	oom := waiting("CrashLoopBackOff", "back-off", 2)
	oom.Status.ContainerStatuses[0].LastTerminationState.Terminated.Reason = "OOMKilled"
	initCrash := waiting("CrashLoopBackOff", "back-off", 2)
	initCrash.Status.ContainerStatuses[0].Name = "setup"
	initCrash.Status.InitContainerStatuses, initCrash.Status.ContainerStatuses = initCrash.Status.ContainerStatuses, nil
	running := &corev1.Pod{Status: corev1.PodStatus{
		Phase:             corev1.PodRunning,
		ContainerStatuses: []corev1.ContainerStatus{{Name: kubespawner.NotebookContainer}},
	}}

	//nolint:lll // a case a line
	for _, c := range []struct {
		name  string
		looks []see
		want  Verdict // zero: still hope
	}{
		{"no such image", []see{{pod: waiting("ErrImagePull", notFound, 0)}}, Verdict{ReasonImage, NoImage + ": " + notFound}},
		{
			"no such image, by event",
			[]see{{pod: waiting("ContainerCreating", "", 0), event: warning("Failed", `Failed to pull image "x": not found`, 1)}},
			Verdict{ReasonImage, NoImage + `: Failed to pull image "x": not found`},
		},
		{"image not for us", []see{{pod: waiting("ImagePullBackOff", "pull access denied", 0)}}, Verdict{ReasonImage, NoImage + ": pull access denied"}},
		{"registry away for a moment", []see{{pod: waiting("ErrImagePull", network, 0)}, {pod: waiting("ImagePullBackOff", network, 0), times: 60}}, Verdict{}},
		{"registry nobody trusts", []see{
			{pod: waiting("ErrImagePull", untrusted, 0)},
			{pod: waiting("ImagePullBackOff", untrusted, 0), times: 9},
			{pod: waiting("ErrImagePull", untrusted, 0)},
			{pod: waiting("ImagePullBackOff", untrusted, 0), times: 19},
			{pod: waiting("ErrImagePull", untrusted, 0)},
		}, Verdict{ReasonImage, "The image cannot be pulled after 3 attempts: " + untrusted}},
		{"registry not in DNS yet", []see{{pod: waiting("ErrImagePull", "lookup quay.io: no such host, not found", 0)}}, Verdict{}},
		{"image name", []see{{pod: waiting("InvalidImageName", "bad", 0)}}, Verdict{ReasonImage, "The name of the image is not valid: bad"}},
		{"image never pulled", []see{{pod: waiting("ErrImageNeverPull", "absent", 0), times: 16}}, Verdict{ReasonImage, "The image is not on the node, and image_pull_policy forbids to pull it: absent"}},
		{"no room", []see{{pod: unscheduled(NoRoom, ""), times: 16}}, Verdict{ReasonUnschedulable, "No node of this cluster has room for this server: " + NoRoom}},
		{
			"a node is cordoned",
			[]see{{pod: unscheduled("0/1 nodes are available: 1 node(s) were unschedulable.", ""), times: 16}},
			Verdict{ReasonUnschedulable, "No node of this cluster has room for this server: 0/1 nodes are available: 1 node(s) were unschedulable. " +
				"Nodes that are unschedulable have been cordoned; `kubectl uncordon NODE` lets them take servers again."},
		},
		{"no room for a moment", []see{{pod: unscheduled(NoRoom, ""), times: 14}, {pod: waiting("ContainerCreating", "", 0)}, {pod: unscheduled(NoRoom, ""), times: 14}}, Verdict{}},
		{"no room, a node is added", []see{{pod: unscheduled(NoRoom, ""), event: warning("TriggeredScaleUp", "1->2", 1), times: 300}}, Verdict{}},
		{"no room, others make place", []see{{pod: unscheduled(NoRoom, "node-1"), times: 300}}, Verdict{}},
		{"storage being made", []see{{pod: unscheduled("pod has unbound immediate PersistentVolumeClaims", ""), times: 300}}, Verdict{}},
		{
			"storage cannot be made",
			[]see{{pod: unscheduled("pod has unbound immediate PersistentVolumeClaims", ""), event: warning("ProvisioningFailed", "no class", 1), times: 18}},
			Verdict{ReasonPVC, "The storage of this server cannot be created: no class"},
		},
		{
			"no storage",
			[]see{{pod: unscheduled(`persistentvolumeclaim "home" not found`, "")}},
			Verdict{ReasonPVC, `The storage of this server does not exist: persistentvolumeclaim "home" not found`},
		},
		{"a secret is late", []see{{pod: waiting("ContainerCreating", "", 0), event: warning("FailedMount", `secret "x" not found`, 5), times: 14}}, Verdict{}},
		{
			"a secret was late",
			[]see{
				{pod: waiting("ContainerCreating", "", 0), event: warning("FailedMount", `secret "x" not found`, 5), times: 10},
				{pod: waiting("ContainerCreating", "", 0), event: normal("Pulling"), times: 60},
			},
			Verdict{},
		},
		{
			"no secret",
			[]see{{pod: waiting("ContainerCreating", "", 0), event: warning("FailedMount", `secret "x" not found`, 5), times: 16}},
			Verdict{ReasonConfig, `Something that this server mounts does not exist: secret "x" not found`},
		},
		{"volume still attached elsewhere", []see{{pod: waiting("ContainerCreating", "", 0), event: warning("FailedAttachVolume", "Multi-Attach error", 9), times: 300}}, Verdict{}},
		{
			"configuration",
			[]see{{pod: waiting("CreateContainerConfigError", `secret "x" not found`, 0), times: 16}},
			Verdict{ReasonConfig, `The server cannot be started on its node: secret "x" not found`},
		},
		{"crashed twice", []see{{pod: waiting("CrashLoopBackOff", "back-off", 1), times: 30}}, Verdict{}},
		{"crashes", []see{{pod: waiting("CrashLoopBackOff", "back-off", 2)}}, Verdict{ReasonCrash, "The server ended 3 times while starting, last with exit code 2."}},
		{"runs out of memory", []see{{pod: oom}}, Verdict{ReasonCrash, "The server exceeded its memory limit and was killed 3 times."}},
		{"init container crashes", []see{{pod: initCrash}}, Verdict{ReasonCrash, "Container setup ended 3 times while starting, last with exit code 2."}},
		{"evicted", []see{{pod: &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted"}}}}, Verdict{ReasonEnded, "The server was evicted from its node."}},
		{"slow but fine", []see{{pod: running, times: 600}}, Verdict{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			missing := []Object{{"persistentvolumeclaim", "home"}, {"secret", "x"}}
			got := judge(t, 15*time.Second, missing, c.looks...)
			if got != c.want {
				t.Errorf("got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestDetailsAreShort(t *testing.T) {
	long := ""
	for range 1000 {
		long += "wörd\n"
	}
	if got := Detail(long); len([]rune(got)) > maxDetail+3 {
		t.Errorf("%d characters", len([]rune(got)))
	}
	if got := Detail("a\n b\xff\tc"); got != "a b c" {
		t.Errorf("%q", got)
	}
}
