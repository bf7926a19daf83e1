package cluster

import (
	"context"
	"fmt"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Right is one thing that a user may be allowed to do.
type Right struct {
	Namespace string // empty: in the whole cluster
	Group     string // of the API; empty for that of pods
	Resource  string // "pods", or with a subresource "pods/log"
	Name      string // of an object; empty: of any
	Verb      string
}

// parts are the resource and the subresource.
func (r Right) parts() (resource, subresource string) {
	resource, subresource, _ = strings.Cut(r.Resource, "/")
	return resource, subresource
}

var accessReviews = schema.GroupVersionResource{
	Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews",
}

// together is how many questions are asked at once.
const together = 16

// Missing returns those of the rights that the user does not have, in their order. A user who may do everything is
// asked about no more than that, and one who may not ask is missing nothing.
func (a *API) Missing(ctx context.Context, rights []Right) ([]Right, error) {
	everything, err := a.may(ctx, Right{Group: "*", Resource: "*", Verb: "*"})
	if everything || err != nil {
		return nil, err
	}
	allowed, errs := make([]bool, len(rights)), make([]error, len(rights))
	var all sync.WaitGroup
	free := make(chan struct{}, together)
	for i, right := range rights {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			allowed[i], errs[i] = a.may(ctx, right)
		})
	}
	all.Wait()
	var missing []Right
	for i, right := range rights {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if !allowed[i] {
			missing = append(missing, right)
		}
	}
	return missing, nil
}

// may asks whether the user has a right. A review is not written anywhere.
func (a *API) may(ctx context.Context, r Right) (bool, error) {
	resource, subresource := r.parts()
	review := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": accessReviews.GroupVersion().String(), "kind": "SelfSubjectAccessReview",
		"spec": map[string]any{"resourceAttributes": map[string]any{
			"namespace": r.Namespace, "group": r.Group, "resource": resource, "subresource": subresource,
			"name": r.Name, "verb": r.Verb,
		}},
	}}
	answer, err := a.client.Resource(accessReviews).Create(ctx, review, metav1.CreateOptions{})
	switch {
	case apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err):
		return true, nil // then the API server refuses what is not allowed, one after the other
	case err != nil:
		return false, fmt.Errorf("ask for rights: %w", a.failed(err))
	}
	allowed, _, err := unstructured.NestedBool(answer.Object, "status", "allowed")
	return allowed, err
}
