package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestObjects(t *testing.T) {
	objects, err := Objects(Values{DNS: "10.96.0.10", DNSImage: "localhost/dns:1"})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	var text strings.Builder
	for _, object := range objects {
		paths = append(paths, object.Path)
		text.Write(object.YAML)
	}
	want := []string{
		"/api/v1/namespaces/kube-system/serviceaccounts/coredns",
		"/apis/rbac.authorization.k8s.io/v1/clusterroles/system:coredns",
		"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:coredns",
		"/api/v1/namespaces/kube-system/configmaps/coredns",
		"/apis/apps/v1/namespaces/kube-system/deployments/coredns",
		"/api/v1/namespaces/kube-system/services/kube-dns",
		"/apis/storage.k8s.io/v1/storageclasses/standard",
		"/apis/networking.k8s.io/v1/ingressclasses/standard",
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	for _, filled := range []string{
		"clusterIP: 10.96.0.10", "image: localhost/dns:1",
		`answer "{{ .Name }} 5 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}"`,
	} {
		if !strings.Contains(text.String(), filled) {
			t.Errorf("%q is not in the objects", filled)
		}
	}
}
