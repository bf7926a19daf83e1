package simulated

import (
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// A Service goes with the pod that owns it, as in a cluster with a garbage collector.
func TestServicesGoWithTheirPod(t *testing.T) {
	cluster := New(func(int) string { return "198.18.0.7" })
	server := httptest.NewServer(cluster)
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	pods, services := client.CoreV1().Pods("load"), client.CoreV1().Services("load")
	lab := metav1.ObjectMeta{Name: "lab"}
	pod, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: lab}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if pod.Status.PodIP != "198.18.0.7" {
		t.Errorf("the pod's address is %q", pod.Status.PodIP)
	}
	service := func(name string, owner *corev1.Pod) {
		t.Helper()
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if owner != nil {
			svc.OwnerReferences = []metav1.OwnerReference{{Kind: "Pod", Name: owner.Name, UID: owner.UID}}
		}
		if _, err := services.Create(t.Context(), svc, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	service("lab", pod)
	service("free", nil)
	if diff := cmp.Diff([]string{"free", "lab"}, cluster.Services()); diff != "" {
		t.Errorf("Services (-want +got):\n%s", diff)
	}
	_, err = services.Create(t.Context(), &corev1.Service{ObjectMeta: lab}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		t.Errorf("a second Service of a name: %v", err)
	}
	if err := pods.Delete(t.Context(), "lab", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	service("late", pod) // its pod is gone
	if diff := cmp.Diff([]string{"free"}, cluster.Services()); diff != "" {
		t.Errorf("Services after the pod (-want +got):\n%s", diff)
	}
	if names := cluster.Pods(); len(names) != 0 {
		t.Errorf("pods: %v", names)
	}
}
