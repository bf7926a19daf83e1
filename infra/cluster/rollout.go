package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Rollout is how far the pods of a Deployment are those of its template.
type Rollout struct {
	// Done says that all pods are of the template as it is, that none of an older one is left, and that they have been
	// ready. It stays so when they fail later.
	Done bool
	// Failed says that the Deployment's controller has given up on it.
	Failed bool
	// Text says of a rollout that is not done how far it is, and what its pods wait for.
	Text string
}

// Reasons of the condition Progressing: Kubernetes' pkg/controller/deployment/util.
const (
	rolledOut        = "NewReplicaSetAvailable"
	deadlineExceeded = "ProgressDeadlineExceeded"
)

// Rollout returns how far a Deployment is. One that is not there, or that the user may not read, is done.
func (a *API) Rollout(ctx context.Context, name Object) (Rollout, error) {
	found, err := a.readable(ctx, resources[Deployment], name)
	if found == nil {
		return Rollout{Done: true}, err
	}
	var made appsv1.Deployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, &made); err != nil {
		return Rollout{}, fmt.Errorf("%s: Deployment %s: %w", a.host, name, err)
	}
	rollout := rolloutOf(made)
	if rollout.Done {
		return rollout, nil
	}
	waits, err := a.podsWait(ctx, name.Namespace, made.Spec.Selector)
	if waits != "" {
		rollout.Text += ": " + waits
	}
	return rollout, err
}

// rolloutOf judges a Deployment by its status. What the status says besides the numbers may be of the template before:
// where old pods end before new ones begin (strategy Recreate), it is until there are new ones.
func rolloutOf(made appsv1.Deployment) Rollout {
	want := int32(1)
	if made.Spec.Replicas != nil {
		want = *made.Spec.Replicas
	}
	var progress appsv1.DeploymentCondition
	for _, condition := range made.Status.Conditions {
		if condition.Type == appsv1.DeploymentProgressing {
			progress = condition
		}
	}
	s := made.Status
	observed := s.ObservedGeneration >= made.Generation
	replaced := observed && s.UpdatedReplicas == want && s.Replicas == want
	return Rollout{
		Done:   replaced && (s.AvailableReplicas == want || progress.Reason == rolledOut),
		Failed: observed && s.UpdatedReplicas > 0 && progress.Reason == deadlineExceeded,
		Text:   fmt.Sprintf("%d of %d pods are new, %d are available", s.UpdatedReplicas, want, s.AvailableReplicas),
	}
}

// podsWait says what the first of a Deployment's pods that waits for something waits for; empty if none does.
func (a *API) podsWait(ctx context.Context, namespace string, of *metav1.LabelSelector) (string, error) {
	found, err := a.list(ctx, pods, namespace, metav1.FormatLabelSelector(of))
	if apierrors.IsForbidden(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for _, one := range found {
		var pod corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(one.Object, &pod); err != nil {
			return "", fmt.Errorf("%s: pod %s: %w", a.host, one.GetName(), err)
		}
		if waits := podWaits(pod); waits != "" && pod.DeletionTimestamp == nil {
			return fmt.Sprintf("pod %s: %s", pod.Name, waits), nil
		}
	}
	return "", nil
}

// starting are reasons for which containers of a sound pod wait.
var starting = []string{"ContainerCreating", "PodInitializing"}

// podWaits says why a pod has no node, or a container of it does not run; empty if nothing is in the way.
func podWaits(pod corev1.Pod) string {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return reasonOf(condition.Reason, condition.Message)
		}
	}
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		waiting := c.State.Waiting
		if waiting != nil && !slices.Contains(starting, waiting.Reason) {
			return fmt.Sprintf("container %s: %s", c.Name, reasonOf(waiting.Reason, waiting.Message))
		}
	}
	return ""
}

// reasonOf is a reason with its message, if there is one.
func reasonOf(reason, message string) string {
	reason = cmp.Or(reason, "waiting")
	if message == "" {
		return reason
	}
	return reason + ": " + message
}
