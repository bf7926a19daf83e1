package deployed

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// TestReplacePod holds that a pod is replaced when the one in its place is ready, although a replica is all the time.
func TestReplacePod(t *testing.T) {
	pod := func(name string, ready corev1.ConditionStatus) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, Labels: map[string]string{"app": "tunnels"}},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
				{Type: corev1.PodReady, Status: ready},
			}},
		}
	}
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		api := fake.NewClientset(pod("a", corev1.ConditionTrue), pod("b", corev1.ConditionTrue))
		pods := func() []corev1.Pod {
			list, err := api.CoreV1().Pods("n").List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Error(err)
				return nil
			}
			return list.Items
		}
		go func() {
			for len(pods()) > 1 {
				time.Sleep(time.Second)
			}
			for delay, ready := range []corev1.ConditionStatus{corev1.ConditionFalse, corev1.ConditionTrue} {
				time.Sleep(time.Duration(10*(1+delay)) * time.Second)
				_ = api.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), "n", "c")
				if err := api.Tracker().Add(pod("c", ready)); err != nil {
					t.Error(err)
				}
			}
		}()
		if err := (Cluster{API: api}).ReplacePod(context.Background(), "n", "app=tunnels"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took < 30*time.Second || took > 40*time.Second {
			t.Errorf("it took %v", took)
		}
		synctest.Wait()
		if now := pods(); len(now) != 2 || now[0].Name == "a" {
			t.Errorf("pods %v", now)
		}
	})
}
