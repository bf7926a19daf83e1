package addons

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"
)

// writes returns what was asked for beside lists and watches, which informers ask for when they like.
func writes(c *fake.Clientset) (out []k8stesting.Action) {
	for _, a := range c.Actions() {
		if verb := a.GetVerb(); verb != "list" && verb != "watch" {
			out = append(out, a)
		}
	}
	return out
}

// provision runs the provisioner once over some objects and returns the client with what it did.
func provision(t *testing.T, dir string, objects ...runtime.Object) (*fake.Clientset, error) {
	t.Helper()
	client := fake.NewClientset(objects...)
	factory := informers.NewSharedInformerFactory(client, 0)
	p := provisioner{
		client: client, dir: dir, node: "local",
		claims:  factory.Core().V1().PersistentVolumeClaims().Lister(),
		volumes: factory.Core().V1().PersistentVolumes().Lister(),
		classes: factory.Storage().V1().StorageClasses().Lister(),
	}
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	return client, p.sync(t.Context())
}

func claim(class string, edit func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "data", UID: "uid-1"},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			},
		},
	}
	if edit != nil {
		edit(c)
	}
	return c
}

func class(name, provisioner string) *storagev1.StorageClass {
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner}
}

// late is a class that waits for a pod.
func late() *storagev1.StorageClass {
	c := class("late", Provisioner)
	c.VolumeBindingMode = ptr.To(storagev1.VolumeBindingWaitForFirstConsumer)
	return c
}

func TestProvisionWhenThePodHasANode(t *testing.T) {
	client, err := provision(t, t.TempDir(), late(), claim("late", func(c *corev1.PersistentVolumeClaim) {
		c.Annotations = map[string]string{selectedNode: "local"}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().PersistentVolumes().Get(t.Context(), "pvc-uid-1", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func TestProvision(t *testing.T) {
	dir := t.TempDir()
	client, err := provision(t, dir, claim("standard", nil), class("standard", Provisioner))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ns_data_pvc-uid-1")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("folder: %v, %v", info, err)
	}
	got, err := client.CoreV1().PersistentVolumes().Get(t.Context(), "pvc-uid-1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := corev1.PersistentVolumeSpec{
		Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
		AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		StorageClassName:              "standard",
		PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
		ClaimRef: &corev1.ObjectReference{
			Kind: "PersistentVolumeClaim", APIVersion: "v1",
			Namespace: "ns", Name: "data", UID: "uid-1",
		},
		PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: path}},
		NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: "kubernetes.io/hostname", Operator: corev1.NodeSelectorOpIn, Values: []string{"local"},
				}},
			}},
		}},
	}
	if diff := cmp.Diff(want, got.Spec); diff != "" {
		t.Errorf("volume (-want +got):\n%s", diff)
	}
}

func TestProvisionLeavesAlone(t *testing.T) {
	for name, objects := range map[string][]runtime.Object{
		"another provisioner":  {claim("fast", nil), class("fast", "else")},
		"a class that is gone": {claim("gone", nil)},
		"a bound claim": {
			claim("standard", func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "pv" }),
			class("standard", Provisioner),
		},
		"a claim on its way out": {claim("standard", func(c *corev1.PersistentVolumeClaim) {
			c.DeletionTimestamp, c.Finalizers = ptr.To(metav1.Now()), []string{"x/y"}
		}), class("standard", Provisioner)},
		"a claim whose pod has no node yet": {claim("late", nil), late()},
		"a volume that exists": {
			claim("standard", nil), class("standard", Provisioner),
			&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pvc-uid-1"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			client, err := provision(t, dir, objects...)
			if err != nil || len(writes(client)) > 0 {
				t.Errorf("%v, %v", writes(client), err)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("made: %v", left)
			}
		})
	}
	_, err := provision(t, t.TempDir(),
		claim("standard",
			func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeMode = ptr.To(corev1.PersistentVolumeBlock) }),
		class("standard", Provisioner))
	if err == nil || !strings.Contains(err.Error(), "claim ns/data: volume mode Block is not offered") {
		t.Errorf("block volume: %v", err)
	}
}

// TestReclaim holds that only folders of ours go, and only those of released volumes.
func TestReclaim(t *testing.T) {
	dir := t.TempDir()
	volume := func(name string, edit func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Join(path, "sub"), 0o755); err != nil {
			t.Fatal(err)
		}
		v := &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: Provisioner}},
			Spec: corev1.PersistentVolumeSpec{
				PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
				PersistentVolumeSource: corev1.PersistentVolumeSource{
					Local: &corev1.LocalVolumeSource{Path: path},
				},
			},
			Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeReleased},
		}
		if edit != nil {
			edit(v)
		}
		return v
	}
	outside := t.TempDir()
	client, err := provision(t, dir,
		volume("released", nil),
		volume("bound", func(v *corev1.PersistentVolume) { v.Status.Phase = corev1.VolumeBound }),
		volume("retained", func(v *corev1.PersistentVolume) {
			v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
		}),
		volume("foreign", func(v *corev1.PersistentVolume) { v.Annotations = nil }),
		volume("outside", func(v *corev1.PersistentVolume) { v.Spec.Local.Path = outside }),
		volume("climbing",
			func(v *corev1.PersistentVolume) { v.Spec.Local.Path = dir + "/../" + filepath.Base(outside) }),
	)
	if err != nil {
		t.Fatal(err)
	}
	var deleted, left []string
	for _, action := range writes(client) {
		deleted = append(deleted,
			fmt.Sprintf("%s %s", action.GetVerb(), action.(interface{ GetName() string }).GetName()))
	}
	folders, _ := os.ReadDir(dir)
	for _, folder := range folders {
		left = append(left, folder.Name())
	}
	if diff := cmp.Diff([]string{"delete released"}, deleted); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"bound", "climbing", "foreign", "outside", "retained"}, left); diff != "" {
		t.Errorf("folders (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
}
