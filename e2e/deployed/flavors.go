package deployed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ReplaceFlavors gives the outpost of a cluster other flavors until the test ends, and waits until the
// outpost says that it uses them. It reads the file again when the kubelet has brought it, which a change
// of the pod makes it do soon.
func (c Cluster) ReplaceFlavors(t testing.TB, text string) {
	t.Helper()
	const name = "outpost-flavors"
	maps := c.API.CoreV1().ConfigMaps(OutpostNamespace)
	before, err := maps.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	key := ""
	for k := range before.Data {
		key = k
	}
	pods := c.API.CoreV1().Pods(OutpostNamespace)
	reloads := func(ctx context.Context) (int, error) {
		pod, err := c.Pod(ctx, OutpostNamespace, OutpostPod)
		if err != nil {
			return 0, err
		}
		log, err := pods.GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(ctx)
		return bytes.Count(log, []byte("file reloaded")), err
	}
	set := func(ctx context.Context, text string) error {
		ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
		defer cancel()
		earlier, err := reloads(ctx)
		if err != nil {
			return err
		}
		changed := before.DeepCopy()
		changed.ResourceVersion = ""
		changed.Data = map[string]string{key: text}
		if _, err := maps.Update(ctx, changed, metav1.UpdateOptions{}); err != nil {
			return err
		}
		mark := func(pod *corev1.Pod) {
			if pod.Annotations == nil {
				pod.Annotations = map[string]string{}
			}
			pod.Annotations["outposts.dev/e2e"] = fmt.Sprint(time.Now().UnixNano())
		}
		err = Eventually(ctx, func(ctx context.Context) error {
			pod, err := c.Pod(ctx, OutpostNamespace, OutpostPod)
			if err != nil {
				return err
			}
			there, err := pods.Get(ctx, pod, metav1.GetOptions{})
			if err != nil {
				return err
			}
			mark(there)
			_, err = pods.Update(ctx, there, metav1.UpdateOptions{})
			return err
		})
		if err != nil {
			return err
		}
		return Eventually(ctx, func(ctx context.Context) error {
			if now, err := reloads(ctx); err != nil || now > earlier {
				return err
			}
			return errors.New("the outpost does not use the new flavors yet")
		})
	}
	if err := set(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set(context.Background(), before.Data[key]); err != nil {
			t.Errorf("give the flavors back: %v", err)
		}
	})
}
