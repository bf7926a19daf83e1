package diagnosis

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// flapping is a container that waits in turn for two reasons with one message, as kubelet shows a failing pull.
func flapping(first, second, message string) (looks []see) {
	for range 20 {
		looks = append(looks, see{pod: waiting(first, message, 0)}, see{pod: waiting(second, message, 0), times: 10})
	}
	return looks
}

// What passes by itself, or what a controller can still change, ends no start, however long it lasts. The texts are
// those of Kubernetes 1.34, containerd, registries and CSI drivers.
func TestHopefulStarts(t *testing.T) {
	creating := waiting("ContainerCreating", "", 0)
	const noRoomText = "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available"
	claim := Object{"persistentvolumeclaim", "claim-alice"}
	//nolint:lll // a text a line
	pulls := map[string]string{
		"Docker Hub's limit":     `failed to pull and unpack image "docker.io/x:1": failed to copy: httpReadSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/x/manifests/sha256:00: 429 Too Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit`,
		"GitHub's limit":         "denied: toomanyrequests: retry-after: 123.4µs, allowed: 44000/minute",
		"Amazon's limit":         "toomanyrequests: Rate exceeded",
		"kubelet's limit":        "pull QPS exceeded",
		"limit as authorization": "unauthorized: too many requests, authentication required",
		"registry restarts":      "unexpected status from HEAD request to https://quay.io/v2/x/manifests/1: 502 Bad Gateway",
		"registry overloaded":    "503 Service Unavailable",
		"registry does not know": "500 Internal Server Error",
		"no route yet":           "dial tcp 10.1.1.1:443: connect: no route to host",
		"no network yet":         "dial tcp 10.1.1.1:443: i/o timeout",
		"no DNS yet":             "dial tcp: lookup quay.io on 10.0.0.10:53: read udp: connection refused, not found",
		"slow registry":          "net/http: TLS handshake timeout",
		"cut off":                "failed to copy: httpReadSeeker: failed open: unexpected EOF",
		"a mirror that is away":  "connection reset by peer",
	}
	for name, text := range pulls {
		t.Run("pull: "+name, func(t *testing.T) {
			looks := flapping("ErrImagePull", "ImagePullBackOff", text)
			if got := judge(t, 15*time.Second, nil, looks...); got != (Verdict{}) {
				t.Errorf("%+v", got)
			}
			event := warning("Failed", `Failed to pull image "x": `+text, 9)
			if got := judge(t, 15*time.Second, nil, see{pod: creating, event: event, times: 300}); got != (Verdict{}) {
				t.Errorf("by event: %+v", got)
			}
		})
	}
	//nolint:lll // a case a line
	for _, c := range []struct {
		name    string
		room    time.Duration
		missing []Object
		looks   []see
	}{
		{"a claim that the scheduler has not seen", 15 * time.Second, nil, []see{{pod: unscheduled(`0/3 nodes are available: persistentvolumeclaim "claim-alice" not found. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.`, ""), times: 300}}},
		{"a claim of another name is missing", 15 * time.Second, []Object{{claim.Kind, "claim-bob"}}, []see{{pod: unscheduled(`persistentvolumeclaim "claim-alice" not found`, ""), times: 300}}},
		{"a claim to be made for the pod", 15 * time.Second, nil, []see{{pod: unscheduled(`waiting for ephemeral volume controller to create the persistentvolumeclaim "jupyter-alice-scratch"`, ""), times: 300}}},
		{"a claim that is being deleted", 15 * time.Second, nil, []see{{pod: unscheduled(`persistentvolumeclaim "claim-alice" is being deleted`, ""), times: 300}}},
		{"a volume that the scheduler has not seen", 15 * time.Second, nil, []see{{pod: unscheduled(`persistentvolumeclaim "claim-alice" bound to non-existent persistentvolume "pv-1"`, ""), times: 300}}},
		{"a resource claim that is being made", 15 * time.Second, nil, []see{{pod: unscheduled(`resourceclaim "gpu" not found`, ""), times: 300}}},
		{"a node that the scheduler has not seen", 15 * time.Second, nil, []see{{pod: unscheduled(`nodes "n1" not found`, ""), times: 300}}},
		{"no room where it may come", 0, nil, []see{{pod: unscheduled(noRoomText, ""), times: 590}}},
		{"no room, and the autoscaler is silent", 0, nil, []see{{pod: unscheduled(noRoomText, ""), times: 590}}},
		{"no room, and the autoscaler says no", 0, nil, []see{{pod: unscheduled(noRoomText, ""), event: of("cluster-autoscaler", normal("NotTriggerScaleUp"), "pod didn't trigger scale-up: 1 max node group size reached"), times: 590}}},
		{"no room, and the cloud has none", 0, nil, []see{{pod: unscheduled(noRoomText, ""), event: of("cluster-autoscaler", warning("FailedScaleUp", "Node scale up in zones us-west1-b associated with this pod failed: GCE out of resources. Pod is at risk of not being scheduled.", 1), ""), times: 590}}},
		{"no room, and Karpenter says no", 0, nil, []see{{pod: unscheduled(noRoomText, ""), event: of("karpenter", warning("FailedScheduling", "Failed to schedule pod, no instance type satisfied resources", 1), ""), times: 590}}},
		{"a node is ordered shortly before the operator's limit", 60 * time.Second, nil, []see{
			{pod: unscheduled(noRoomText, ""), times: 59}, {pod: unscheduled(noRoomText, ""), event: of("karpenter", normal("Nominated"), "Pod should schedule on: nodeclaim/x")}, {pod: unscheduled(noRoomText, ""), times: 59},
		}},
		{"held back by a gate", 15 * time.Second, nil, []see{{pod: gated(), times: 300}}},
		{"the scheduler failed", 15 * time.Second, nil, []see{{pod: schedulerError("running PreBind plugin \"VolumeBinding\": binding volumes: context deadline exceeded"), times: 300}}},
		{"a Secret that exists by now", 15 * time.Second, nil, []see{{pod: creating, event: warning("FailedMount", `MountVolume.SetUp failed for volume "v" : secret "x" not found`, 9), times: 300}}},
		{"a ConfigMap of a new namespace", 15 * time.Second, nil, []see{{pod: creating, event: warning("FailedMount", `MountVolume.SetUp failed for volume "kube-api-access-x" : configmap "kube-root-ca.crt" not found`, 9), times: 300}}},
		{"a service account that kubelet has not seen", 15 * time.Second, nil, []see{{pod: creating, event: warning("FailedMount", `failed to fetch token: serviceaccounts "default" not found`, 9), times: 300}}},
		{"an object that kubelet has not seen", 15 * time.Second, nil, []see{{pod: creating, event: warning("FailedMount", `MountVolume.SetUp failed for volume "v" : object "jhub"/"x" not registered`, 9), times: 300}}},
		{"a variable of a Secret that exists by now", 15 * time.Second, nil, []see{{pod: waiting("CreateContainerConfigError", `secret "x" not found`, 0), times: 300}}},
		{"a cache of kubelet that is not filled", 15 * time.Second, nil, []see{{pod: waiting("CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition", 0), times: 300}}},
		{"a node under load", 15 * time.Second, nil, []see{{pod: waiting("CreateContainerError", "context deadline exceeded", 0), times: 300}}},
		{"a driver that has just come", 15 * time.Second, nil, []see{{pod: creating, event: warning("FailedMount", `MountVolume.MountDevice failed for volume "pvc-1" : kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: driver name ebs.csi.aws.com not found in the list of registered CSI drivers`, 40), times: 300}}},
		{"a node that its driver does not know", 15 * time.Second, nil, []see{{pod: creating, event: warning("FailedAttachVolume", `AttachVolume.Attach failed for volume "pvc-1" : CSINode ip-10-0-0-1 does not contain driver ebs.csi.aws.com`, 40), times: 300}}},
		{"a node whose CSINode is not there", 15 * time.Second, nil, []see{{pod: creating, event: warning("FailedAttachVolume", `AttachVolume.Attach failed for volume "pvc-1" : csinodes.storage.k8s.io "n1" not found`, 40), times: 300}}},
		{"the old pod holds the volume", 15 * time.Second, nil, []see{{pod: creating, event: warning("FailedAttachVolume", `Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) jupyter-alice`, 40), times: 300}}},
		{"a slow attach", 15 * time.Second, nil, []see{{pod: creating, event: warning("FailedAttachVolume", `AttachVolume.Attach failed for volume "pvc-1" : timed out waiting for external-attacher of cinder.csi.openstack.org CSI driver to attach volume 00`, 40), times: 300}}},
		{"a slow mount", 15 * time.Second, nil, []see{{pod: creating, event: warning("FailedMount", "Unable to attach or mount volumes: unmounted volumes=[home], unattached volumes=[], failed to process volumes=[]: timed out waiting for the condition", 40), times: 300}}},
		{"a helper pod of a driver", 15 * time.Second, nil, []see{{pod: creating, event: warning("FailedMount", `Could not mount "b": Failed to wait for Mountpoint Pod "mp-1" to be ready: mppod/watcher: mountpoint pod not found`, 40), times: 300}}},
		{"a slow provisioner", 15 * time.Second, nil, []see{{pod: unscheduled("pod has unbound immediate PersistentVolumeClaims", ""), event: warning("ProvisioningFailed", `failed to provision volume with StorageClass "slow": rpc error: code = DeadlineExceeded desc = context deadline exceeded`, 40), times: 300}}},
		{"a provisioner that has just come", 15 * time.Second, nil, []see{{pod: creating, event: warning("ProvisioningFailed", `failed to provision volume with StorageClass "x": error generating accessibility requirements: no available topology found`, 40), times: 300}}},
		{"a provisioner that restarts", 15 * time.Second, nil, []see{{pod: creating, event: warning("ProvisioningFailed", `rpc error: code = Unavailable desc = connection error`, 40), times: 300}}},
		{"a provisioner that works on it", 15 * time.Second, nil, []see{{pod: creating, event: warning("ProvisioningFailed", `rpc error: code = Aborted desc = an operation with the given Volume ID pvc-1 already exists`, 40), times: 300}}},
		{"a class that nobody can ask for", 15 * time.Second, nil, []see{{pod: creating, event: warning("ProvisioningFailed", `storageclass.storage.k8s.io "fast" not found`, 40), times: 300}}},
		{"a volume in the end", 15 * time.Second, nil, []see{{pod: creating, event: warning("ProvisioningFailed", "rpc error: code = Internal desc = busy", 9), times: 10}, {pod: creating, event: normal("ProvisioningSucceeded"), times: 300}}},
		{"credentials of a new node", 0, nil, append(
			[]see{{pod: unscheduled(noRoomText, ""), event: of("cluster-autoscaler", normal("TriggeredScaleUp"), "pod triggered scale-up: [{asg-1 0->1 (max: 9)}]")}},
			see{pod: waiting("ErrImagePull", "unexpected status: 403 Forbidden", 0)}, see{pod: waiting("ImagePullBackOff", "unexpected status: 403 Forbidden", 0), times: 10}, see{pod: creating, times: 100})},
		{"an image that is brought to a new node", 0, nil, []see{
			{pod: unscheduled(noRoomText, ""), event: of("karpenter", normal("Nominated"), "Pod should schedule on: nodeclaim/x")}, {pod: waiting("ErrImageNeverPull", "absent", 0), times: 300},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := judge(t, c.room, c.missing, c.looks...); got != (Verdict{}) {
				t.Errorf("given up: %+v", got)
			}
		})
	}
}

// The neighbours that are hopeless all the same.
func TestHopelessNeighbours(t *testing.T) {
	const noRoomText = "0/3 nodes are available: 3 Insufficient memory."
	denied := "pull access denied, repository does not exist or may require authorization"
	forbidden := "unexpected status: 403 Forbidden"
	//nolint:lll // a case a line
	for _, c := range []struct {
		name  string
		room  time.Duration
		looks []see
		want  Verdict
	}{
		{"the operator's limit", 60 * time.Second, []see{{pod: unscheduled(noRoomText, ""), event: of("cluster-autoscaler", normal("NotTriggerScaleUp"), "no"), times: 61}}, Verdict{ReasonUnschedulable, NoRoom + ": " + noRoomText}},
		{"the operator's limit after a node was ordered", 60 * time.Second, []see{
			{pod: unscheduled(noRoomText, ""), times: 59}, {pod: unscheduled(noRoomText, ""), event: of("karpenter", normal("Nominated"), "Pod should schedule on: nodeclaim/x")}, {pod: unscheduled(noRoomText, ""), times: 60},
		}, Verdict{ReasonUnschedulable, NoRoom + ": " + noRoomText}},
		{"an image that does not exist, on a new node", 0, []see{
			{pod: unscheduled(noRoomText, ""), event: of("karpenter", normal("Nominated"), "Pod should schedule on: nodeclaim/x")}, {pod: waiting("ErrImagePull", denied, 0)},
		}, Verdict{ReasonImage, NoImage + ": " + denied}},
		{"access denied, on a new node, again and again", 0, []see{
			{pod: unscheduled(noRoomText, ""), event: of("karpenter", normal("Nominated"), "Pod should schedule on: nodeclaim/x")},
			{pod: waiting("ErrImagePull", forbidden, 0)},
			{pod: waiting("ImagePullBackOff", forbidden, 0)},
			{pod: waiting("ErrImagePull", forbidden, 0)},
			{pod: waiting("ImagePullBackOff", forbidden, 0)},
			{pod: waiting("ErrImagePull", forbidden, 0)},
		}, Verdict{ReasonImage, "The image cannot be pulled after 3 attempts: " + forbidden}},
		{"one of several objects is missing", 15 * time.Second, []see{{pod: waiting("ContainerCreating", "", 0), event: warning("FailedMount", `[secret "y" not found, configmap "settings" not found]`, 5), times: 16}}, Verdict{ReasonConfig, `Something that this server mounts does not exist: [secret "y" not found, configmap "settings" not found]`}},
		{"storage that is refused", 15 * time.Second, []see{{pod: waiting("ContainerCreating", "", 0), event: warning("ProvisioningFailed", "rpc error: code = OutOfRange desc = too large", 5), times: 16}}, Verdict{ReasonPVC, "The storage of this server cannot be created: rpc error: code = OutOfRange desc = too large"}},
		{"a storage class that does not exist", 15 * time.Second, []see{{pod: waiting("ContainerCreating", "", 0), event: warning("ProvisioningFailed", `storageclass.storage.k8s.io "fsat" not found`, 5), times: 16}}, Verdict{ReasonPVC, `The storage of this server cannot be created: storageclass.storage.k8s.io "fsat" not found`}},
		{"a key that the Secret does not have", 15 * time.Second, []see{{pod: waiting("CreateContainerConfigError", "couldn't find key k in Secret jhub/x", 0), times: 16}}, Verdict{ReasonConfig, "The server cannot be started on its node: couldn't find key k in Secret jhub/x"}},
		{"a program that the image does not have", 15 * time.Second, []see{{pod: waiting("RunContainerError", `exec: "jupyterhub-singleuser": executable file not found in $PATH`, 0), times: 16}}, Verdict{ReasonConfig, `The server cannot be started on its node: exec: "jupyterhub-singleuser": executable file not found in $PATH`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := judge(t, c.room, []Object{{"configmap", "settings"}, {"storageclass", "fsat"}}, c.looks...); got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// of is an event by a reporter; an empty message leaves the event's own.
func of(reporter string, e *corev1.Event, message string) *corev1.Event {
	e.Source.Component = reporter
	e.InvolvedObject.Kind = "Pod"
	if message != "" {
		e.Message = message
	}
	return e
}

// notScheduled is a pod without a node, for another reason than that there is no room.
func notScheduled(reason, message string) *corev1.Pod {
	pod := unscheduled(message, "")
	pod.Status.Conditions[0].Reason = reason
	return pod
}

func gated() *corev1.Pod {
	return notScheduled(corev1.PodReasonSchedulingGated, "Scheduling is blocked due to non-empty scheduling gates")
}

func schedulerError(message string) *corev1.Pod {
	return notScheduled(corev1.PodReasonSchedulerError, message)
}

func TestAbsentObjects(t *testing.T) {
	for text, want := range map[string]string{
		`0/3 nodes are available: persistentvolumeclaim "a" not found.`: "persistentvolumeclaim/a",
		`secrets "a" not found`:                                                       "secret/a",
		`Secret "jhub/a" not found`:                                                   "secret/a",
		`storageclass.storage.k8s.io "fast" not found`:                                "storageclass/fast",
		`error looking up service account jhub/sa: serviceaccount "sa" not found`:     "serviceaccount/sa",
		`[secret "a" not found, configmap "b" not found]`:                             "secret/a configmap/b",
		`exec: "sh": executable file not found in $PATH`:                              "",
		`driver name ebs.csi.aws.com not found in the list of registered CSI drivers`: "",
		`quay.io/x:1: not found`:                                                      "",
	} {
		var got []string
		for _, o := range AbsentObjects(text) {
			got = append(got, o.Kind+"/"+o.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
