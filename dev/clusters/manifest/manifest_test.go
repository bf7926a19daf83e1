package manifest

import (
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
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
		"/apis/storage.k8s.io/v1/storageclasses/late",
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

// TestDefinitions holds that every document of every file becomes an object, and comments none.
func TestDefinitions(t *testing.T) {
	objects, err := Definitions(fstest.MapFS{
		"a.yaml": {Data: []byte("---\n# a comment\n---\napiVersion: apiextensions.k8s.io/v1\n" +
			"kind: CustomResourceDefinition\nmetadata: {name: as.example.test}\n")},
		"b.yaml": {Data: []byte("apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\n" +
			"metadata: {name: p}\n\n---\n\napiVersion: admissionregistration.k8s.io/v1\n" +
			"kind: ValidatingAdmissionPolicyBinding\nmetadata: {name: p}\n")},
		"read.me": {},
	})
	if err != nil {
		t.Fatal(err)
	}
	class, err := GatewayClass()
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, object := range append(objects, class) {
		paths = append(paths, object.Path)
	}
	want := []string{
		"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/as.example.test",
		"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/p",
		"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/p",
		"/apis/gateway.networking.k8s.io/v1/gatewayclasses/outposts",
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	if _, err := Definitions(fstest.MapFS{}); err == nil {
		t.Error("a folder without definitions is taken for one")
	}
}

// TestDefaultStorageClass holds that one class is the default, and which.
func TestDefaultStorageClass(t *testing.T) {
	for _, late := range []bool{false, true} {
		objects, err := Objects(Values{BindsLate: late})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, object := range objects {
			var class struct {
				Metadata struct{ Annotations map[string]string }
				Mode     string `json:"volumeBindingMode"`
			}
			if err := yaml.Unmarshal(object.YAML, &class); err != nil {
				t.Fatal(err)
			}
			if class.Mode != "" {
				got[class.Mode] = class.Metadata.Annotations["storageclass.kubernetes.io/is-default-class"]
			}
		}
		want := map[string]string{
			"Immediate": strconv.FormatBool(!late), "WaitForFirstConsumer": strconv.FormatBool(late),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("binds late %t (-want +got):\n%s", late, diff)
		}
	}
}
