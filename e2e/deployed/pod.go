package deployed

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StartPod starts a pod that does nothing, without rights, and returns its name; the test's end deletes it.
func (c Cluster) StartPod(t testing.TB, name, namespace, image string, labels map[string]string) string {
	t.Helper()
	pods, now := c.API.CoreV1().Pods(namespace), int64(0)
	user, no := int64(1000), false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-" + name + "-", Namespace: namespace, Labels: labels},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: &no,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsUser:      &user,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "probe", Image: image, Command: []string{"sleep", "infinity"},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no,
					Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
			TerminationGracePeriodSeconds: &now,
		},
	}
	made, err := pods.Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := pods.Delete(context.Background(), made.Name,
			metav1.DeleteOptions{GracePeriodSeconds: &now})
		if err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	err = Eventually(ctx, func(ctx context.Context) error {
		there, err := pods.Get(ctx, made.Name, metav1.GetOptions{})
		if err == nil && there.Status.Phase != corev1.PodRunning {
			err = fmt.Errorf("pod %s is %s", made.Name, there.Status.Phase)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return made.Name
}
