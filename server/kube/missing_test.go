package kube

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/outposts-dev/outposts/server/kube/diagnosis"
	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// A text that calls an object missing is no verdict before the API server, asked once, has said the same.
func TestMissingObjectsAreAskedFor(t *testing.T) {
	for _, c := range []struct {
		name, resource, object string
		pod                    func(*corev1.Pod)
		there                  runtime.Object
		err                    error
		reason                 string // of the verdict; empty for none
	}{
		{
			"a claim that exists", "persistentvolumeclaims", "home", missingClaim, claimOf("home", nil), nil, "",
		},
		{"a claim that does not", "persistentvolumeclaims", "home", missingClaim, nil, nil, diagnosis.ReasonPVC},
		{"a claim that may not be read", "persistentvolumeclaims", "home", missingClaim, nil, errForbidden, ""},
		{
			"a Secret that exists", "secrets", "x", missingSecret,
			&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: "jhub"}}, nil, "",
		},
		{"a Secret that does not", "secrets", "x", missingSecret, nil, nil, diagnosis.ReasonConfig},
		{"a Secret that may not be read", "secrets", "x", missingSecret, nil, errForbidden, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := newCluster()
			if c.there != nil {
				cl.add(c.there)
			}
			for range 100 {
				cl.errors["get "+c.resource] = append(cl.errors["get "+c.resource], c.err)
			}
			cl.status = c.pod
			cl.before("get "+c.resource, func() {
				if c.reason == "" { // what was called missing is seen at last
					cl.update(t, "jhub", "jupyter-user", becomeReady)
				}
			})
			s := cl.run(t, Options{Grace: time.Nanosecond})
			_, err := s.Start(t.Context(), planOf(t, s, aliceKey, nil), nil)
			reason := ""
			if e, ok := errors.AsType[*outpost.Error](err); ok {
				reason = e.Reason
			}
			if reason != c.reason || (err != nil) != (c.reason != "") {
				t.Errorf("got %v, want reason %q", err, c.reason)
			}
			questions := func() int {
				isQuestion := func(call string) bool { return strings.HasPrefix(call, "get "+c.resource+"/") }
				return len(slices.DeleteFunc(cl.taken(), func(call string) bool { return !isQuestion(call) }))
			}
			if n := questions(); n != 1 {
				t.Errorf("asked %d times, want once", n)
			}
			objects, _ := planOf(t, s, aliceKey, nil).Objects.(*kubespawner.Objects)
			st := &start{s: s, o: objects, missing: map[diagnosis.Object]bool{}}
			o := diagnosis.Object{Kind: strings.TrimSuffix(c.resource, "s"), Name: c.object}
			c.reason = "again" // the pod stays as it is
			for range 3 {
				want := c.there == nil && c.err == nil
				if got := st.lacks(t.Context(), []diagnosis.Object{o}); got != want {
					t.Errorf("missing is %t, want %t", got, want)
				}
			}
			if n := questions(); n != 1 {
				t.Errorf("asked %d times for three looks, want once", n)
			}
		})
	}
}

func missingClaim(pod *corev1.Pod) {
	pod.Status = unscheduled(`0/1 nodes are available: persistentvolumeclaim "home" not found.`).Status
}

func missingSecret(pod *corev1.Pod) {
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodPending,
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: kubespawner.NotebookContainer,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
				Reason: "CreateContainerConfigError", Message: `secret "x" not found`,
			}},
		}},
	}
}

// The service account of a new namespace is made a moment after it.
func TestServiceAccountMayBeLate(t *testing.T) {
	late := fmt.Errorf("create: %w", status(http.StatusForbidden, metav1.StatusReasonForbidden,
		`pods "jupyter-user" is forbidden: error looking up service account jhub/default: `+
			`serviceaccount "default" not found`))
	cl := newCluster()
	cl.errors["create pods"] = []error{late, late}
	s := cl.run(t, Options{})
	if _, err := s.Start(t.Context(), planOf(t, s, aliceKey, nil), nil); err != nil {
		t.Error(err)
	}
	cl = newCluster()
	for range 100 {
		cl.errors["create pods"] = append(cl.errors["create pods"], late)
	}
	s = cl.run(t, Options{Grace: time.Nanosecond})
	_, err := s.Start(t.Context(), planOf(t, s, aliceKey, nil), nil)
	var e *outpost.Error
	if !errors.As(err, &e) || e.Reason != diagnosis.ReasonConfig ||
		!strings.HasPrefix(e.Message, "The service account of this server does not exist: ") {
		t.Errorf("%v", err)
	}
}
