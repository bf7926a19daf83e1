package kube

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	k8stesting "k8s.io/client-go/testing"

	"github.com/outposts-dev/outposts/server/kube/diagnosis"
	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

func node(change func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{}, Annotations: map[string]string{}}}
	change(n)
	return n
}

func TestWhetherAnythingScales(t *testing.T) {
	plain := func(*corev1.Node) {}
	provider := func(id string) func(*corev1.Node) { return func(n *corev1.Node) { n.Spec.ProviderID = id } }
	for _, c := range []struct {
		name   string
		nodes  []func(*corev1.Node)
		groups []string
		denied bool
		event  *corev1.Event
		fixed  bool
	}{
		{"nodes of nobody", []func(*corev1.Node){plain, plain}, []string{"apps", "metallb.io"}, false, nil, true},
		{"k3s", []func(*corev1.Node){provider("k3s://n1")}, nil, false, nil, true},
		{"kind", []func(*corev1.Node){provider("kind://docker/kind/n1")}, nil, false, nil, true},
		{"RKE2", []func(*corev1.Node){provider("rke2://n1")}, nil, false, nil, true},
		{"no nodes yet", nil, nil, false, nil, false},
		{"nodes that may not be listed", []func(*corev1.Node){plain}, nil, true, nil, false},
		{"a cloud", []func(*corev1.Node){plain, provider("aws:///eu-central-1a/i-0")}, nil, false, nil, false},
		{"machines of Metal3", []func(*corev1.Node){provider("metal3://00")}, nil, false, nil, false},
		{
			"a node of Karpenter",
			[]func(*corev1.Node){func(n *corev1.Node) { n.Labels["karpenter.sh/nodepool"] = "x" }},
			nil, false, nil, false,
		},
		{
			"a node of Cluster API",
			[]func(*corev1.Node){func(n *corev1.Node) { n.Annotations["cluster.x-k8s.io/machine"] = "x" }},
			nil, false, nil, false,
		},
		{
			"a node that an autoscaler must keep",
			[]func(*corev1.Node){func(n *corev1.Node) {
				n.Annotations["cluster-autoscaler.kubernetes.io/scale-down-disabled"] = "true"
			}},
			nil, false, nil, false,
		},
		{"Karpenter without a node", []func(*corev1.Node){plain}, []string{"karpenter.sh"}, false, nil, false},
		{
			"OpenShift's autoscaler",
			[]func(*corev1.Node){plain},
			[]string{"apps", "autoscaling.openshift.io"},
			false,
			nil, false,
		},
		{
			"an event about another pod",
			[]func(*corev1.Node){plain},
			nil, false,
			fromAutoscaler(), false,
		},
		{
			"an event about a pod's replicas",
			[]func(*corev1.Node){plain},
			nil, false,
			&corev1.Event{
				InvolvedObject: corev1.ObjectReference{Kind: "HorizontalPodAutoscaler"},
				Reason:         "SuccessfulRescale", ReportingController: "horizontal-pod-autoscaler",
			}, true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := newCluster()
			cl.groups = c.groups
			asked := 0
			cl.PrependReactor("list", "nodes", func(k8stesting.Action) (bool, runtime.Object, error) {
				asked++
				list := &corev1.NodeList{}
				for _, change := range c.nodes {
					list.Items = append(list.Items, *node(change))
				}
				if c.denied {
					return true, nil, errForbidden
				}
				return true, list, nil
			})
			now := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
			s := &scaling{client: cl, now: func() time.Time { return now }}
			if c.event != nil {
				s.observe(c.event)
			}
			for range 3 {
				if got := s.isFixed(t.Context()); got != c.fixed {
					t.Errorf("fixed is %t, want %t", got, c.fixed)
				}
			}
			if asked > 1 {
				t.Errorf("asked %d times", asked)
			}
			now = now.Add(scalingTTL)
			if s.isFixed(t.Context()); asked > 2 {
				t.Errorf("asked %d times after a while", asked)
			}
		})
	}
}

func TestHowLongNoRoomLasts(t *testing.T) {
	const full = "0/1 nodes are available: 1 Insufficient memory."
	//nolint:lll // a case a line
	for _, c := range []struct {
		name, message string
		set           time.Duration
		fixed         bool
		want          time.Duration
	}{
		{"fixed", full, 0, true, 15 * time.Second},
		{"not known", full, 0, false, 0},
		{"set, and fixed", full, time.Minute, true, time.Minute},
		{"set, and not known", full, time.Minute, false, time.Minute},
		{"a node restarts", "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.", 0, true, 0},
		{"a node does not answer", "1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }.", 0, true, 0},
		{"a node begins", "1 node(s) had untolerated taint {node.cloudprovider.kubernetes.io/uninitialized: true}.", 0, true, 0},
		{"a driver begins", "1 node(s) had untolerated taint {ebs.csi.aws.com/agent-not-ready: }.", 0, true, 0},
		{"a node is cordoned", "0/1 nodes are available: 1 node(s) were unschedulable.", 0, true, 0},
		{"set, and a node restarts", "1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.", time.Minute, true, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := newCluster()
			if c.fixed {
				cl.add(node(func(n *corev1.Node) { n.Name = "n1" }))
			}
			s, err := New(cl, "jhub", Options{UnschedulableGrace: c.set})
			if err != nil {
				t.Fatal(err)
			}
			if got := s.roomFor(t.Context(), c.message); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// A start whose pod has no room waits for it where nothing is known of the cluster, and ends with the reason.
func TestStartWaitsForRoom(t *testing.T) {
	full := func(pod *corev1.Pod) {
		pod.Status = unscheduled("0/1 nodes are available: 1 Insufficient memory.").Status
	}
	t.Run("which comes", func(t *testing.T) {
		cl := newCluster()
		nominated := fromAutoscaler()
		nominated.Name, nominated.Namespace, nominated.UID = "e1", "jhub", "e1"
		cl.status = func(pod *corev1.Pod) {
			full(pod)
			nominated.InvolvedObject.Name, nominated.InvolvedObject.UID = pod.Name, pod.UID
			cl.emit(t, nominated)
		}
		s := cl.run(t, Options{Grace: time.Nanosecond})
		var said []string
		_, err := s.Start(t.Context(), planOf(t, s, aliceKey, nil), func(e outpost.Event) {
			if said = append(said, e.Message); len(said) == 2 {
				cl.update(t, "jhub", "jupyter-user", becomeReady)
			}
		})
		if err != nil || !strings.Contains(strings.Join(said, "\n"), diagnosis.NodeComing+": Pod should schedule on") {
			t.Errorf("%v, %q", err, said)
		}
	})
	t.Run("in vain", func(t *testing.T) {
		s := testSpawner(t, "jhub", Options{StartTimeout: 2 * time.Second})
		p := planOf(t, s, aliceKey, nil)
		objects, _ := p.Objects.(*kubespawner.Objects)
		d := diagnosis.NewStart(3, time.Minute, func(string) time.Duration { return 0 }, nil)
		pod := &corev1.Pod{}
		if full(pod); d.Verdict(pod, time.Now()) != nil {
			t.Error("it is given up on")
		}
		err := (&start{o: objects}).timedOut(d)
		want := diagnosis.HadNoRoom + " within 2s: 0/1 nodes are available: 1 Insufficient memory."
		if e, ok := errors.AsType[*outpost.Error](err); !ok ||
			e.Reason != diagnosis.ReasonUnschedulable || e.Message != want {
			t.Errorf("%v, want %s", err, want)
		}
	})
	t.Run("where none can come", func(t *testing.T) {
		cl := newCluster(node(func(n *corev1.Node) { n.Name = "n1" }))
		cl.status = full
		s := cl.run(t, Options{Grace: time.Nanosecond})
		_, err := s.Start(t.Context(), planOf(t, s, aliceKey, nil), nil)
		var e *outpost.Error
		if !errors.As(err, &e) || e.Reason != diagnosis.ReasonUnschedulable ||
			!strings.HasPrefix(e.Message, diagnosis.NoRoom+": ") {
			t.Errorf("%v", err)
		}
	})
}

// unscheduled is a pod of which the scheduler says something.
func unscheduled(message string) *corev1.Pod {
	condition := corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
		Message: message,
	}
	return &corev1.Pod{Status: corev1.PodStatus{
		Phase: corev1.PodPending, Conditions: []corev1.PodCondition{condition},
	}}
}

// fromAutoscaler is an event of a pod by which an autoscaler says that a node is coming.
func fromAutoscaler() *corev1.Event {
	return &corev1.Event{
		Type: corev1.EventTypeNormal, Reason: "Nominated", Message: "Pod should schedule on: nodeclaim/x",
		InvolvedObject: corev1.ObjectReference{Kind: "Pod"}, Source: corev1.EventSource{Component: "karpenter"},
	}
}
