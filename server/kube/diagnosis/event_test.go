package diagnosis

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// The events are recorded ones, of the clusters that they name.
func TestMeaningsOfEvents(t *testing.T) {
	//nolint:lll // a case a line
	for _, c := range []struct {
		name, kind, reason, reporter, message string
		want                                  Meaning
	}{
		{"Cluster Autoscaler", "Normal", "TriggeredScaleUp", "cluster-autoscaler", "pod triggered scale-up: [{asg-1 0->1 (max: 9)}]", Meaning{NodeComing, true, true}},
		{"GKE with node auto-provisioning", "Normal", "TriggeredScaleUp", "cluster-autoscaler", "pod triggered scale-up: [{https://www.googleapis.com/compute/v1/projects/p/zones/us-west1-b/instanceGroups/gk3-dev-nap-1-grp 0->1 (max: 1000)}]", Meaning{NodeComing, true, true}},
		{"Cluster Autoscaler says no", "Normal", "NotTriggerScaleUp", "cluster-autoscaler", "pod didn't trigger scale-up: 1 max node group size reached", Meaning{nodeRefused, true, false}},
		{"Cluster Autoscaler in backoff", "Normal", "NotTriggerScaleUp", "cluster-autoscaler", "Pod didn't trigger scale-up: 16 in backoff after failed scale-up.", Meaning{nodeRefused, true, false}},
		{"GKE is out of machines", "Warning", "FailedScaleUp", "cluster-autoscaler", "Node scale up in zones us-west1-b associated with this pod failed: GCE out of resources. Pod is at risk of not being scheduled.", Meaning{nodeFailed, true, false}},
		{"Karpenter", "Normal", "Nominated", "karpenter", "Pod should schedule on: nodeclaim/default-tn8fg", Meaning{NodeComing, true, true}},
		{"Karpenter before 0.33", "Normal", "Nominated", "karpenter", "Pod should schedule on: machine/default-karpenter-f72cc, node/ip-10-149-71-113.eu-central-1.compute.internal", Meaning{nodeFound, true, true}},
		{"Karpenter on AKS, an existing node", "Normal", "Nominated", "karpenter", "Pod should schedule on: node/aks-default-v57bb", Meaning{nodeFound, true, true}},
		{"Karpenter, a node that has come", "Normal", "Nominated", "karpenter", "Pod should schedule on: nodeclaim/default-v57bb, node/ip-10-0-0-1", Meaning{nodeFound, true, true}},
		{"Karpenter says no", "Warning", "FailedScheduling", "karpenter", "Failed to schedule pod, all available instance types exceed limits for nodepool: \"default\"", Meaning{nodeRefused, true, false}},
		{"EKS Auto Mode", "Normal", "Nominated", "eks-auto-mode/compute", "Pod should schedule on: nodeclaim/general-purpose-87brc", Meaning{NodeComing, true, true}},
		{"EKS Auto Mode says no", "Warning", "FailedScheduling", "eks-auto-mode/compute", "Failed to schedule pod, incompatible requirements", Meaning{nodeRefused, true, false}},
		{"GOATScaler", "Normal", "ProvisionNode", "GOATScaler", "Provision node asa-2ze in cn-beijing-i", Meaning{NodeComing, true, true}},
		{"GOATScaler fails", "Warning", "ProvisionNodeFailed", "GOATScaler", "Failed to provision node", Meaning{nodeFailed, true, false}},
		{"Fargate", "Warning", "FailedScheduling", "fargate-scheduler", "Pod provisioning timed out (will retry) for pod: jhub/jupyter-alice", Meaning{Scales: true}},
		{"an autoscaler that nobody listed", "Normal", "NodeOrdered", "acme-node-autoscaler", "one moment", Meaning{Scales: true}},
		{"Karpenter about something else", "Normal", "Evicted", "karpenter", "Evicted pod: Underutilized", Meaning{Scales: true}},
		{"the scheduler", "Warning", "FailedScheduling", "default-scheduler", "0/3 nodes are available: 3 Insufficient memory.", Meaning{Text: nodeAwaited}},
		{"GKE's scheduler", "Warning", "FailedScheduling", "gke.io/optimize-utilization-scheduler", "0/3 nodes are available", Meaning{Text: nodeAwaited}},
		{"the hub's own scheduler", "Warning", "FailedScheduling", "jhub-user-scheduler", "0/3 nodes are available", Meaning{Text: nodeAwaited}},
		{"the old pod holds the volume", "Warning", "FailedAttachVolume", "attachdetach-controller", "Multi-Attach error for volume \"pvc-1\" Volume is already used by pod(s) jupyter-alice", Meaning{Text: diskInUse}},
		{"a node that its driver does not know", "Warning", "FailedAttachVolume", "attachdetach-controller", "AttachVolume.Attach failed for volume \"pvc-1\" : CSINode n1 does not contain driver ebs.csi.aws.com", Meaning{Text: driverLate}},
		{"a driver that has just come", "Warning", "FailedMount", "kubelet", "MountVolume.MountDevice failed for volume \"v\" : driver name ebs.csi.aws.com not found in the list of registered CSI drivers", Meaning{Text: driverLate}},
		{"a limit of the registry", "Warning", "Failed", "kubelet", "Failed to pull image \"x\": toomanyrequests: Rate exceeded", Meaning{Text: pullLimit}},
		{"a limit by its number", "Warning", "Failed", "kubelet", "Failed to pull image \"x\": 429 Too Many Requests", Meaning{Text: pullLimit}},
		{"kubelet's limit", "Warning", "Failed", "kubelet", "Failed to pull image \"x\": pull QPS exceeded", Meaning{Text: pullLimit}},
		{"pulling", "Normal", "Pulling", "kubelet", "Pulling image \"x\"", Meaning{}},
		{"a provisioner of volumes", "Normal", "Provisioning", "ebs.csi.aws.com_ebs-csi-controller", "External provisioner is provisioning volume for claim \"jhub/claim-alice\"", Meaning{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, e := range []*corev1.Event{
				{Type: c.kind, Reason: c.reason, Message: c.message, Source: corev1.EventSource{Component: c.reporter}},
				{Type: c.kind, Reason: c.reason, Message: c.message, ReportingController: c.reporter}, // events.k8s.io/v1
			} {
				if got := MeaningOf(e); got != c.want {
					t.Errorf("got %+v, want %+v", got, c.want)
				}
			}
		})
	}
}
