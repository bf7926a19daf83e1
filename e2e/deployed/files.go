package deployed

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// arriveIn is how long a changed file may be on its way into a pod, and into the process there.
const arriveIn = 2 * time.Minute

// Arrives waits until what was changed has reached the pods of a namespace.
func (c Cluster) Arrives(t testing.TB, namespace, what string, ask func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), arriveIn)
	defer cancel()
	err := Eventually(ctx, func(ctx context.Context) error {
		if err := c.Hasten(ctx, namespace); err != nil {
			return err
		}
		return ask(ctx)
	})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// Hasten lets the kubelet look after what the pods of a namespace mount, which it does at any change of a pod and else
// within a minute or two.
func (c Cluster) Hasten(ctx context.Context, namespace string) error {
	pods, err := c.API.CoreV1().Pods(namespace).List(ctx,
		metav1.ListOptions{LabelSelector: "component!=singleuser-server"})
	if err != nil {
		return err
	}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"outposts.dev/hastened":%q}}}`, time.Now())
	for _, pod := range pods.Items {
		_, err := c.API.CoreV1().Pods(namespace).Patch(ctx, pod.Name, types.MergePatchType, patch,
			metav1.PatchOptions{})
		if err != nil {
			return err
		}
	}
	return nil
}
