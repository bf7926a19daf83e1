package deployed

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Without deletes namespaces, if they are there, and waits until they are gone. It works at the end of a test, too.
func (c Cluster) Without(t testing.TB, namespaces ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute)
	defer cancel()
	api := c.API.CoreV1().Namespaces()
	for _, name := range namespaces {
		if err := c.endPods(ctx, name); err != nil {
			t.Fatal(err)
		}
		if err := api.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	if err := c.Gone(ctx, namespaces...); err != nil {
		t.Fatal(err)
	}
}

// Gone waits until namespaces are gone.
func (c Cluster) Gone(ctx context.Context, namespaces ...string) error {
	return Eventually(ctx, func(ctx context.Context) error {
		for _, name := range namespaces {
			_, err := c.API.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
			if err == nil {
				err = errors.New("is still there")
			}
			if !apierrors.IsNotFound(err) {
				return fmt.Errorf("namespace %s: %w", name, err)
			}
		}
		return nil
	})
}

// endPods ends the pods of a namespace at once. Kubernetes gives those of a namespace that it deletes half of the
// longest time that one of them may take before it looks at them again, which is minutes for the tunnels.
func (c Cluster) endPods(ctx context.Context, namespace string) error {
	all := metav1.ListOptions{}
	whenever, now := metav1.DeleteOptions{}, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	apps := c.API.AppsV1()
	if err := errors.Join(
		apps.Deployments(namespace).DeleteCollection(ctx, whenever, all),
		apps.StatefulSets(namespace).DeleteCollection(ctx, whenever, all),
		apps.ReplicaSets(namespace).DeleteCollection(ctx, whenever, all),
		c.API.CoreV1().Pods(namespace).DeleteCollection(ctx, now, all),
	); err != nil {
		return fmt.Errorf("end what runs in namespace %s: %w", namespace, err)
	}
	return nil
}
