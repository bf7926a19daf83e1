package kube

import (
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

func TestHopelessStarts(t *testing.T) {
	const (
		noRoom   = "0/3 nodes are available: 3 Insufficient memory."
		notFound = "rpc error: code = NotFound desc = failed to resolve image: quay.io/x:1: not found"
		network  = "dial tcp 10.1.1.1:443: i/o timeout"
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

	// see is one look at the pod, a second after the last one, after an event.
	type see struct {
		pod   *corev1.Pod
		event *corev1.Event
		times int // 0 is once
	}
	//nolint:lll // a case a line
	for _, c := range []struct {
		name  string
		looks []see
		want  verdict // zero: still hope
	}{
		{"no such image", []see{{pod: waiting("ErrImagePull", notFound, 0)}}, verdict{reasonImage, noImage + ": " + notFound}},
		{
			"no such image, by event",
			[]see{{pod: waiting("ContainerCreating", "", 0), event: warning("Failed", `Failed to pull image "x": not found`, 1)}},
			verdict{reasonImage, noImage + `: Failed to pull image "x": not found`},
		},
		{"image not for us", []see{{pod: waiting("ImagePullBackOff", "pull access denied", 0)}}, verdict{reasonImage, noImage + ": pull access denied"}},
		{"registry away for a moment", []see{{pod: waiting("ErrImagePull", network, 0)}, {pod: waiting("ImagePullBackOff", network, 0), times: 60}}, verdict{}},
		{"registry away", []see{
			{pod: waiting("ErrImagePull", network, 0)},
			{pod: waiting("ImagePullBackOff", network, 0), times: 9},
			{pod: waiting("ErrImagePull", network, 0)},
			{pod: waiting("ImagePullBackOff", network, 0), times: 19},
			{pod: waiting("ErrImagePull", network, 0)},
		}, verdict{reasonImage, "The image cannot be pulled after 3 attempts: " + network}},
		{"registry not in DNS yet", []see{{pod: waiting("ErrImagePull", "lookup quay.io: no such host, not found", 0)}}, verdict{}},
		{"image name", []see{{pod: waiting("InvalidImageName", "bad", 0)}}, verdict{reasonImage, "The name of the image is not valid: bad"}},
		{"image never pulled", []see{{pod: waiting("ErrImageNeverPull", "absent", 0)}}, verdict{reasonImage, "The image is not on the node, and image_pull_policy forbids to pull it: absent"}},
		{"no room", []see{{pod: unscheduled(noRoom, ""), times: 16}}, verdict{reasonUnschedulable, "No node of this cluster has room for this server: " + noRoom}},
		{"no room for a moment", []see{{pod: unscheduled(noRoom, ""), times: 14}, {pod: waiting("ContainerCreating", "", 0)}, {pod: unscheduled(noRoom, ""), times: 14}}, verdict{}},
		{"no room, a node is added", []see{{pod: unscheduled(noRoom, ""), event: warning("TriggeredScaleUp", "1->2", 1), times: 300}}, verdict{}},
		{"no room, others make place", []see{{pod: unscheduled(noRoom, "node-1"), times: 300}}, verdict{}},
		{"storage being made", []see{{pod: unscheduled("pod has unbound immediate PersistentVolumeClaims", ""), times: 300}}, verdict{}},
		{
			"storage cannot be made",
			[]see{{pod: unscheduled("pod has unbound immediate PersistentVolumeClaims", ""), event: warning("ProvisioningFailed", "no class", 1), times: 3}},
			verdict{reasonPVC, "The storage of this server cannot be created: no class"},
		},
		{
			"no storage",
			[]see{{pod: unscheduled(`persistentvolumeclaim "home" not found`, "")}},
			verdict{reasonPVC, `The storage of this server does not exist: persistentvolumeclaim "home" not found`},
		},
		{"a secret is late", []see{{pod: waiting("ContainerCreating", "", 0), event: warning("FailedMount", `secret "x" not found`, 5), times: 14}}, verdict{}},
		{
			"a secret was late",
			[]see{
				{pod: waiting("ContainerCreating", "", 0), event: warning("FailedMount", `secret "x" not found`, 5), times: 10},
				{pod: waiting("ContainerCreating", "", 0), event: normal("Pulling"), times: 60},
			},
			verdict{},
		},
		{
			"no secret",
			[]see{{pod: waiting("ContainerCreating", "", 0), event: warning("FailedMount", `secret "x" not found`, 5), times: 16}},
			verdict{reasonConfig, `Something that this server mounts does not exist: secret "x" not found`},
		},
		{"volume still attached elsewhere", []see{{pod: waiting("ContainerCreating", "", 0), event: warning("FailedAttachVolume", "Multi-Attach error", 9), times: 300}}, verdict{}},
		{
			"configuration",
			[]see{{pod: waiting("CreateContainerConfigError", `secret "x" not found`, 0), times: 16}},
			verdict{reasonConfig, `The server cannot be started on its node: secret "x" not found`},
		},
		{"crashed twice", []see{{pod: waiting("CrashLoopBackOff", "back-off", 1), times: 30}}, verdict{}},
		{"crashes", []see{{pod: waiting("CrashLoopBackOff", "back-off", 2)}}, verdict{reasonCrash, "The server ended 3 times while starting, last with exit code 2."}},
		{"runs out of memory", []see{{pod: oom}}, verdict{reasonCrash, "The server exceeded its memory limit and was killed 3 times."}},
		{"init container crashes", []see{{pod: initCrash}}, verdict{reasonCrash, "Container setup ended 3 times while starting, last with exit code 2."}},
		{"evicted", []see{{pod: &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted"}}}}, verdict{reasonEnded, "The server was evicted from its node."}},
		{"slow but fine", []see{{pod: running, times: 600}}, verdict{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDiagnosis(3, 15*time.Second)
			now := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
			var got verdict
			for _, look := range c.looks {
				for range max(look.times, 1) {
					if got != (verdict{}) {
						t.Fatalf("gave up early: %+v", got)
					}
					if look.event != nil {
						d.observe(look.event)
					}
					if v := d.verdict(look.pod, now); v != nil {
						got = *v
					}
					now = now.Add(time.Second)
				}
			}
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
	if got := detail(long); len([]rune(got)) > maxDetail+3 {
		t.Errorf("%d characters", len([]rune(got)))
	}
	if got := detail("a\n b\xff\tc"); got != "a b c" {
		t.Errorf("%q", got)
	}
}
