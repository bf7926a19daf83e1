package kubespawner

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// Keys of the Secret with the certificates of internal TLS; the mounted files have the same names.
const (
	secretKey  = "ssl.key"
	secretCert = "ssl.crt"
	secretCA   = "notebooks-ca_trust.crt"
)

const storageClassAnnotation = "volume.beta.kubernetes.io/storage-class"

// pvcInput is what a volume claim is made of.
type pvcInput struct {
	Name, Namespace     string
	Labels, Annotations map[string]string
	StorageClass        *string // nil leaves it to the cluster, empty means none
	AccessModes         []string
	Selector            map[string]any
	Storage             string
}

// buildPVC makes the claim for a user's home, as KubeSpawner's make_pvc does.
func buildPVC(in pvcInput, p *options.Problems) *corev1.PersistentVolumeClaim {
	pvc := &corev1.PersistentVolumeClaim{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{
			Name: in.Name, Namespace: in.Namespace, Labels: in.Labels, Annotations: maps.Clone(in.Annotations),
		},
	}
	for _, mode := range in.AccessModes {
		pvc.Spec.AccessModes = append(pvc.Spec.AccessModes, corev1.PersistentVolumeAccessMode(mode))
	}
	size, err := resource.ParseQuantity(in.Storage)
	if err != nil {
		p.Addf("storage_capacity", "must be a quantity such as 10Gi")
	} else if size.Sign() <= 0 {
		p.Addf("storage_capacity", "must be more than 0, such as 10Gi, not %s", quoted(in.Storage))
	}
	pvc.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: size}
	if len(in.Selector) > 0 {
		pvc.Spec.Selector = &metav1.LabelSelector{}
		decodeInto(pvc.Spec.Selector, in.Selector, "storage_selector", p)
	}
	if in.StorageClass != nil {
		if pvc.Annotations == nil {
			pvc.Annotations = map[string]string{}
		}
		pvc.Annotations[storageClassAnnotation] = *in.StorageClass
		pvc.Spec.StorageClassName = in.StorageClass
	}
	return pvc
}

// buildService makes the Service that gives a pod its DNS name; port is that of the notebook.
func buildService(name, namespace string, port int32, selector, labels, annotations map[string]string) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels, Annotations: annotations},
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeClusterIP,
			Ports:    []corev1.ServicePort{{Name: "http", Port: port, TargetPort: intstr.FromInt32(port)}},
			Selector: selector,
		},
	}
}

// certificates are the PEM blocks of internal TLS in a request.
type certificates struct {
	Key, Cert, CA string
	HubCA         string // from the trust bundles
}

// buildSecret makes the Secret that the pod mounts for internal TLS.
func buildSecret(name, namespace string, c certificates, labels, annotations map[string]string) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels, Annotations: annotations},
		Data: map[string][]byte{
			secretKey:  []byte(c.Key),
			secretCert: []byte(c.Cert),
			secretCA:   []byte(strings.Trim(c.CA, "\n") + "\n" + c.HubCA),
		},
	}
}

// addLogin makes the Secret with the login that the user brings along, for the pod alone to pull its images with.
func (o *Objects) addLogin(config []byte, m metadata) {
	o.Pull = buildSecret(o.names.Pod+"-registry", o.names.Namespace, certificates{}, m.labels, m.annotations)
	o.Pull.Type, o.Pull.Data = corev1.SecretTypeDockerConfigJson, map[string][]byte{corev1.DockerConfigJsonKey: config}
	o.Pod.Spec.ImagePullSecrets = append(o.Pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: o.Pull.Name})
}

// Secrets are those that the start makes.
func (o *Objects) Secrets() []*corev1.Secret {
	return slices.DeleteFunc([]*corev1.Secret{o.Secret, o.Pull}, func(s *corev1.Secret) bool { return s == nil })
}

// buildNamespace makes a user's own namespace.
func buildNamespace(name string, s options.Settings, f *expander, p *options.Problems) *corev1.Namespace {
	ns := &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}, Annotations: map[string]string{}},
	}
	for key, value := range f.expandMap("user_namespace_labels", s.UserNamespaceLabels, p) {
		ns.Labels[key], _ = value.(string)
	}
	for key, value := range f.expandMap("user_namespace_annotations", s.UserNamespaceAnnots, p) {
		ns.Annotations[key], _ = value.(string)
	}
	return ns
}

// OwnerReference makes an object go with the pod.
func OwnerReference(name string, uid types.UID) metav1.OwnerReference {
	return metav1.OwnerReference{
		APIVersion: "v1", Kind: "Pod", Name: name, UID: uid, Controller: new(false), BlockOwnerDeletion: new(true),
	}
}

// ServingContainer returns the container of a pod that serves, and its port: the first one named notebook-port.
func ServingContainer(pod *corev1.Pod) (corev1.Container, int32, error) {
	for _, c := range pod.Spec.Containers {
		for _, port := range c.Ports {
			if port.Name == NotebookPort {
				return c, port.ContainerPort, nil
			}
		}
	}
	return corev1.Container{}, 0, fmt.Errorf("no container has a port named %s", NotebookPort)
}
