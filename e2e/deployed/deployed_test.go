package deployed

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// Who applies an object may go on to change what a test has replaced.
func TestReplace(t *testing.T) {
	maps := fake.NewClientset().CoreV1().ConfigMaps("n")
	apply := func(text string) error {
		applied := corev1.ConfigMap("m", "n").WithData(map[string]string{"k": text})
		_, err := maps.Apply(t.Context(), applied, metav1.ApplyOptions{FieldManager: "chart"})
		return err
	}
	if err := apply("before"); err != nil {
		t.Fatal(err)
	}
	object, err := maps.Get(t.Context(), "m", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	object.Data = map[string]string{"k": "replaced"}
	if err := Replace(t.Context(), maps.Update, object); err != nil {
		t.Fatal(err)
	}
	replaced, err := maps.Get(t.Context(), "m", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(object, replaced); diff != "" {
		t.Errorf("replaced (-want +got):\n%s", diff)
	}
	if err := apply("after"); err != nil {
		t.Error(err)
	}
}
