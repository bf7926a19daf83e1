package deployed

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Claims are the volumes of a namespace, with the uid that tells one from another of the same name.
func Claims(t testing.TB, api kubernetes.Interface, namespace string) map[string]string {
	t.Helper()
	found, err := api.CoreV1().PersistentVolumeClaims(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	uids := map[string]string{}
	for _, claim := range found.Items {
		uids[claim.Name] = string(claim.UID)
	}
	return uids
}
