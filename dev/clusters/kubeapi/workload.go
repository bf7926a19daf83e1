package kubeapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Pod is what the runner looks at in a Pod.
type Pod struct {
	Metadata struct {
		Namespace, DeletionTimestamp string
		Labels                       map[string]string
		OwnerReferences              []struct{ Kind, Name string }
	}
	Spec struct {
		Containers []struct{ Name, Image string }
	}
	Status struct {
		Phase             string
		Conditions        []struct{ Type, Status string }
		ContainerStatuses []struct{ Name, ImageID string }
	}
}

// Deployment returns the name of the Deployment that made the pod; empty for another pod, and for one that is ending.
func (p Pod) Deployment() string {
	hash := p.Metadata.Labels["pod-template-hash"]
	if hash == "" || p.Metadata.DeletionTimestamp != "" {
		return ""
	}
	for _, owner := range p.Metadata.OwnerReferences {
		if name, is := strings.CutSuffix(owner.Name, "-"+hash); is && owner.Kind == "ReplicaSet" {
			return name
		}
	}
	return ""
}

// Images returns the digests of the images that the pod runs, by the names that it gives them. A container that has not
// begun runs none.
func (p Pod) Images() map[string]string {
	digests := map[string]string{}
	for _, container := range p.Spec.Containers {
		for _, status := range p.Status.ContainerStatuses {
			if _, digest, found := strings.Cut(status.ImageID, "@"); found && status.Name == container.Name {
				digests[container.Image] = digest
			}
		}
	}
	return digests
}

// Pods returns all pods.
func (c *Client) Pods(ctx context.Context) ([]Pod, error) {
	var list struct{ Items []Pod }
	return list.Items, c.Get(ctx, "/api/v1/pods", &list)
}

// CountPods returns how many pods there are that have not ended, and how many of them are ready.
func (c *Client) CountPods(ctx context.Context) (ready, all int, err error) {
	pods, err := c.Pods(ctx)
	for _, pod := range pods {
		if pod.Status.Phase == "Succeeded" || pod.Status.Phase == "Failed" {
			continue
		}
		all++
		for _, condition := range pod.Status.Conditions {
			if condition.Type == "Ready" && condition.Status == "True" {
				ready++
			}
		}
	}
	return ready, all, err
}

// Deployment is what the runner looks at in a Deployment.
type Deployment struct {
	Metadata struct{ Generation int }
	Spec     struct{ Replicas int }
	Status   struct{ ObservedGeneration, Replicas, UpdatedReplicas, AvailableReplicas int }
}

// RolledOut reports whether the pods are those that the Deployment wants, and if not, what is missing.
func (d Deployment) RolledOut() (bool, string) {
	s := d.Status
	switch want := d.Spec.Replicas; {
	case s.ObservedGeneration < d.Metadata.Generation:
		return false, "its controller has not seen it yet"
	case s.UpdatedReplicas < want || s.AvailableReplicas < want:
		return false, fmt.Sprintf("%d of %d pods are new, %d available", s.UpdatedReplicas, want, s.AvailableReplicas)
	case s.Replicas > want:
		return false, fmt.Sprintf("%d old pods are still there", s.Replicas-want)
	}
	return true, ""
}

func deploymentPath(namespace, name string) string {
	return "/apis/apps/v1/namespaces/" + namespace + "/deployments/" + name
}

// Deployment returns a Deployment by name.
func (c *Client) Deployment(ctx context.Context, namespace, name string) (Deployment, error) {
	var d Deployment
	return d, c.Get(ctx, deploymentPath(namespace, name), &d)
}

// Restart gives a Deployment new pods, as `kubectl rollout restart` does; at is now.
func (c *Client) Restart(ctx context.Context, namespace, name string, at time.Time) error {
	patch := fmt.Appendf(nil,
		`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`,
		at.UTC().Format(time.RFC3339))
	return c.do(ctx, http.MethodPatch, deploymentPath(namespace, name)+"?fieldManager=clusters",
		"application/strategic-merge-patch+json", patch, nil)
}
