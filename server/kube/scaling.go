package kube

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/outposts-dev/outposts/server/kube/diagnosis"
)

// scalingTTL is how long an answer about the nodes of the cluster is believed.
const scalingTTL = 5 * time.Minute

// nodePage is how many nodes are asked for at a time.
const nodePage = 500

// scaling knows whether anything adds nodes to the cluster. It is safe for concurrent use.
type scaling struct {
	client kubernetes.Interface
	now    func() time.Time

	seen atomic.Bool // an event has said so

	mu    sync.Mutex // held while the API server is asked, so that it is asked once
	fixed bool       // the last answer
	asked time.Time  // when that was
}

// observe notes an event of any pod.
func (s *scaling) observe(e *corev1.Event) {
	if e.InvolvedObject.Kind == "Pod" && diagnosis.MeaningOf(e).Scales {
		s.seen.Store(true)
	}
}

// isFixed reports whether the cluster is known to keep the nodes that it has: no event of a pod came from an
// autoscaler; there are nodes, the outpost may list them, and none is marked by an autoscaler or has a provider whose
// machines one could order; and the API server serves no API of an autoscaler. An autoscaler knows its nodes by
// spec.providerID, so that one without an API of its own (Cluster Autoscaler) is not missed. What cannot be asked is
// not known, and a cluster without nodes may be scaled from zero.
func (s *scaling) isFixed(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen.Load() {
		return false
	}
	if s.asked.IsZero() || s.now().Sub(s.asked) >= scalingTTL {
		ctx, cancel := context.WithTimeout(ctx, getTimeout)
		defer cancel()
		s.fixed = s.keepsNodes(ctx) && s.servesNone(ctx)
		if s.asked = s.now(); ctx.Err() != nil {
			s.asked = time.Time{} // not an answer
		}
	}
	return s.fixed
}

// keepsNodes reports whether there are nodes and no autoscaler knows any of them.
func (s *scaling) keepsNodes(ctx context.Context) bool {
	any := false
	for o := (metav1.ListOptions{Limit: nodePage}); ; {
		list, err := s.client.CoreV1().Nodes().List(ctx, o)
		if err != nil || slices.ContainsFunc(list.Items, scaled) {
			return false
		}
		any = any || len(list.Items) > 0
		if o.Continue = list.Continue; o.Continue == "" {
			return any
		}
	}
}

// scalerMarks begin the labels and annotations by which autoscalers and what makes nodes for them know a node.
var scalerMarks = []string{"karpenter.sh/", "cluster-autoscaler.kubernetes.io/", "cluster.x-k8s.io/"}

// localProviders begin the provider IDs that distributions give to nodes which nobody can order.
var localProviders = []string{"k3s://", "rke2://", "kind://"}

// scaled reports whether an autoscaler may know a node.
func scaled(node corev1.Node) bool {
	for _, m := range []map[string]string{node.Labels, node.Annotations} {
		for key := range m {
			if hasPrefix(key, scalerMarks) {
				return true
			}
		}
	}
	return node.Spec.ProviderID != "" && !hasPrefix(node.Spec.ProviderID, localProviders)
}

func hasPrefix(text string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(text, prefix) })
}

// scalerAPIs are API groups that only a cluster with an autoscaler serves: Karpenter and what is built on it, Cluster
// Autoscaler's ProvisioningRequest, OpenShift's ClusterAutoscaler, and Cluster API.
var scalerAPIs = []string{
	"karpenter.sh", "eks.amazonaws.com", "autoscaling.x-k8s.io", "autoscaling.openshift.io", "cluster.x-k8s.io",
}

// servesNone reports whether the API server serves no API of an autoscaler. Every account may ask that.
func (s *scaling) servesNone(ctx context.Context) bool {
	body, err := s.client.Discovery().RESTClient().Get().AbsPath("/apis").
		SetHeader("Accept", "application/json").DoRaw(ctx)
	var groups metav1.APIGroupList
	if err != nil || json.Unmarshal(body, &groups) != nil || groups.Kind != "APIGroupList" {
		return false
	}
	ofScaler := func(g metav1.APIGroup) bool { return slices.Contains(scalerAPIs, g.Name) }
	return !slices.ContainsFunc(groups.Groups, ofScaler)
}

// roomFor returns how long a pod may find no room, with a message of the scheduler; 0 is as long as its start may take:
// only what the operator has set, or a cluster that is known to keep its nodes, ends it earlier.
func (s *Spawner) roomFor(ctx context.Context, message string) time.Duration {
	if s.roomGrace > 0 {
		return s.roomGrace
	}
	if diagnosis.NodesComing(message) || !s.scaling.isFixed(ctx) {
		return 0
	}
	return s.grace
}
