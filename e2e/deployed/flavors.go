package deployed

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// flavorsName is the name of the ConfigMap with an outpost's flavors.
const flavorsName = "outpost-flavors"

// ReplaceFlavors gives the outpost of a cluster other flavors until the test ends, and waits until the outpost says
// that it uses them.
func (c Cluster) ReplaceFlavors(t testing.TB, text string) {
	t.Helper()
	before, err := c.API.CoreV1().ConfigMaps(OutpostNamespace).Get(t.Context(), flavorsName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	key := ""
	for k := range before.Data {
		key = k
	}
	set := func(ctx context.Context, text string) error {
		changed := before.DeepCopy()
		changed.Data = map[string]string{key: text}
		return c.updateFlavors(ctx, changed)
	}
	if err := set(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set(context.Background(), before.Data[key]); err != nil {
			t.Errorf("restore the flavors: %v", err)
		}
	})
}

// updateFlavors writes the ConfigMap and waits until the outpost has read it again. The outpost does so when the
// kubelet has brought the file.
func (c Cluster) updateFlavors(ctx context.Context, changed *corev1.ConfigMap) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	earlier, err := c.reloads(ctx)
	if err != nil {
		return err
	}
	if err := Replace(ctx, c.API.CoreV1().ConfigMaps(OutpostNamespace).Update, changed); err != nil {
		return err
	}
	if err := Eventually(ctx, func(ctx context.Context) error { return c.Hasten(ctx, OutpostNamespace) }); err != nil {
		return err
	}
	return Eventually(ctx, func(ctx context.Context) error {
		if now, err := c.reloads(ctx); err != nil || now > earlier {
			return err
		}
		return errors.New("the outpost does not use the new flavors yet")
	})
}

// reloads is how many changed files the outpost says that it has read.
func (c Cluster) reloads(ctx context.Context) (int, error) {
	pod, err := c.Pod(ctx, OutpostNamespace, OutpostPod)
	if err != nil {
		return 0, err
	}
	log, err := c.API.CoreV1().Pods(OutpostNamespace).GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(ctx)
	return bytes.Count(log, []byte("file reloaded")), err
}
