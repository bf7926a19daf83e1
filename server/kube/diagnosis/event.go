package diagnosis

import (
	"cmp"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Meaning is what an event about a server says in plain words, and what it says about the nodes of the cluster.
type Meaning struct {
	Text   string // for users, without a full stop; empty for an event that speaks for itself
	Scales bool   // something adds nodes to this cluster
	Coming bool   // it has found or ordered a node for this pod
}

// NodeComing is what an event means by which an autoscaler has ordered a node.
const NodeComing = "A new node is being made"

const (
	nodeRefused = "No new node is being made for this server at present"
	nodeFailed  = "A new node could not be made; this may be tried again"
	nodeFound   = "A node has been found for this server"
	nodeAwaited = "Waiting for a node with room for this server"
	diskInUse   = "The storage is still in use on another node; waiting until it is free"
	driverLate  = "The storage driver of this node is not ready yet; waiting for it"
	pullLimit   = "The image registry limits downloads at present; waiting"
)

// meanings are the events that users would not understand; the first that fits counts. An empty field fits every event,
// reporter and text are parts of what the event has. Sources: Cluster Autoscaler, also GKE's with node
// auto-provisioning and OpenShift's (reporter cluster-autoscaler); Karpenter, also in AKS Node Auto Provisioning
// (karpenter) and in EKS Auto Mode (eks-auto-mode/compute); Alibaba Cloud's GOATScaler; AWS Fargate's scheduler;
// kubelet and attach-detach controller of Kubernetes 1.34.
var meanings = []struct {
	reason, reporter, text string
	Meaning
}{
	{reason: "TriggeredScaleUp", Meaning: Meaning{NodeComing, true, true}},
	{reason: "NotTriggerScaleUp", Meaning: Meaning{nodeRefused, true, false}},
	{reason: "FailedScaleUp", Meaning: Meaning{nodeFailed, true, false}},
	{reason: "FailedToScaleUp", Meaning: Meaning{nodeFailed, true, false}},
	{reason: "Nominated", text: " node/", Meaning: Meaning{nodeFound, true, true}},
	{reason: "Nominated", Meaning: Meaning{NodeComing, true, true}},
	{reason: "ProvisionNode", Meaning: Meaning{NodeComing, true, true}},
	{reason: "ProvisionNodeFailed", Meaning: Meaning{nodeFailed, true, false}},
	{reason: "FailedScheduling", reporter: "karpenter", Meaning: Meaning{nodeRefused, true, false}},
	{reason: "FailedScheduling", reporter: "auto-mode", Meaning: Meaning{nodeRefused, true, false}},
	{reporter: "scaler", Meaning: Meaning{Scales: true}},
	{reporter: "karpenter", Meaning: Meaning{Scales: true}},
	{reporter: "auto-mode", Meaning: Meaning{Scales: true}},
	{reporter: "fargate", Meaning: Meaning{Scales: true}},
	{reason: "FailedScheduling", Meaning: Meaning{Text: nodeAwaited}},
	{reason: "FailedAttachVolume", text: "multi-attach", Meaning: Meaning{Text: diskInUse}},
	{reason: "FailedAttachVolume", text: "csinode", Meaning: Meaning{Text: driverLate}},
	{reason: "FailedAttachVolume", text: "registered csi drivers", Meaning: Meaning{Text: driverLate}},
	{reason: "FailedMount", text: "registered csi drivers", Meaning: Meaning{Text: driverLate}},
	{reason: "Failed", text: "toomanyrequests", Meaning: Meaning{Text: pullLimit}},
	{reason: "Failed", text: "too many requests", Meaning: Meaning{Text: pullLimit}},
	{reason: "Failed", text: "pull qps exceeded", Meaning: Meaning{Text: pullLimit}},
}

// MeaningOf looks an event up; the zero value means that nothing is known of it.
func MeaningOf(e *corev1.Event) Meaning {
	reporter := strings.ToLower(cmp.Or(e.ReportingController, e.Source.Component))
	text := strings.ToLower(e.Message)
	for _, m := range meanings {
		if (m.reason == "" || m.reason == e.Reason) && strings.Contains(reporter, m.reporter) &&
			strings.Contains(text, m.text) {
			return m.Meaning
		}
	}
	return Meaning{}
}
