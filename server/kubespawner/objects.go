package kubespawner

import (
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Versions that the peer writes into annotations and states; what this package does is what these did.
const (
	kubespawnerVersion = "7.1.0"
	jupyterhubVersion  = "5.4.4"
)

// Labels and annotations. Those of the peer are hub.jupyter.org/...; ours tell whose an object is, so that it is
// found again without a database. The labels hold slugs, the annotations the raw texts.
const (
	UsernameKey    = "hub.jupyter.org/username"
	ServernameKey  = "hub.jupyter.org/servername"
	kubespawnerKey = "hub.jupyter.org/kubespawner-version"
	jupyterhubKey  = "hub.jupyter.org/jupyterhub-version"

	InstallationKey = "outposts.dev/installation" // the id of the database that has the start's row
	HubKey          = "outposts.dev/hub"
	NameKey         = "outposts.dev/name"
	StartIDKey      = "outposts.dev/start-id"
	DateKey         = "outposts.dev/start-date" // RFC 3339, the row's; of two starts of a server the later one stays
	StateKey        = "outposts.dev/state"      // the state as JSON, to give a service back after its row is lost
)

// Keys of the Secret with the certificates of internal TLS; the mounted files are called the same.
const (
	secretKey  = "ssl.key"
	secretCert = "ssl.crt"
	secretCA   = "notebooks-ca_trust.crt"
)

const storageClassAnnotation = "volume.beta.kubernetes.io/storage-class"

// identity is whose an object is: that of one start, by the outpost whose database has this id. Keys alone do not tell: two
// outposts in a namespace may both have a hub "jupyterhub".
type Origin struct {
	Installation string
	outpost.Key
}

// metadata are the labels and annotations of one start's objects.
type metadata struct {
	podLabels, labels, pvcLabels map[string]string
	annotations, pvcAnnotations  map[string]string
}

// buildMetadata layers labels and annotations; later layers win, so a hub cannot take the component label away.
func buildMetadata(id Origin, sub subject, s options.Settings, f fields, p *options.Problems) metadata {
	own := map[string]string{InstallationKey: id.Installation, HubKey: labelSlug(id.Hub), StartIDKey: labelSlug(id.StartID)}
	layers := func(list ...map[string]string) map[string]string {
		out := map[string]string{}
		for _, m := range list {
			maps.Copy(out, m)
		}
		return out
	}
	expand := func(option string, m map[string]any) map[string]string {
		out := make(map[string]string, len(m))
		for key, value := range f.expandMap(option, m, p) {
			out[key], _ = value.(string) // the option's kind lets texts through only
		}
		return out
	}
	user := map[string]string{UsernameKey: labelSlug(sub.User)}
	m := metadata{
		labels:    layers(user, expand("extra_labels", s.ExtraLabels), s.CommonLabels, own),
		pvcLabels: layers(user, expand("storage_extra_labels", s.StorageExtraLabels), s.CommonLabels),
	}
	component := map[string]string{"app.kubernetes.io/component": s.ComponentLabel, "component": s.ComponentLabel}
	m.podLabels = layers(m.labels, component, map[string]string{ServernameKey: labelSlug(sub.Server)}, own)
	maps.Copy(m.pvcLabels, map[string]string{
		"app.kubernetes.io/component": s.ComponentLabel, "component": "singleuser-storage", HubKey: labelSlug(id.Hub),
	})
	base := map[string]string{
		UsernameKey: sub.User, kubespawnerKey: kubespawnerVersion, jupyterhubKey: jupyterhubVersion,
	}
	if sub.Server != "" {
		base[ServernameKey] = sub.Server
	}
	m.annotations = layers(base, expand("extra_annotations", s.ExtraAnnotations),
		map[string]string{InstallationKey: id.Installation, HubKey: id.Hub, NameKey: id.Name, StartIDKey: id.StartID})
	m.pvcAnnotations = layers(base, expand("storage_extra_annotations", s.StorageExtraAnnotations),
		map[string]string{HubKey: id.Hub})
	return m
}

// identityOf returns whose object this is, from its annotations; false if no outpost made it.
func OriginOf(annotations map[string]string) (Origin, bool) {
	installation, ok1 := annotations[InstallationKey]
	hub, ok2 := annotations[HubKey]
	startID, ok3 := annotations[StartIDKey]
	return Origin{installation, outpost.Key{Hub: hub, Name: annotations[NameKey], StartID: startID}}, ok1 && ok2 && ok3
}

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

// certificates are the PEM texts of internal TLS as a request brings them.
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

// buildNamespace makes a user's own namespace.
func buildNamespace(name string, s options.Settings, f fields, p *options.Problems) *corev1.Namespace {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}, Annotations: map[string]string{}}}
	for key, value := range f.expandMap("user_namespace_labels", s.UserNamespaceLabels, p) {
		ns.Labels[key], _ = value.(string)
	}
	for key, value := range f.expandMap("user_namespace_annotations", s.UserNamespaceAnnots, p) {
		ns.Annotations[key], _ = value.(string)
	}
	return ns
}

// ownerReference makes an object go with the pod.
func OwnerReference(name string, uid types.UID) metav1.OwnerReference {
	controller, block := false, true
	return metav1.OwnerReference{
		APIVersion: "v1", Kind: "Pod", Name: name, UID: uid, Controller: &controller, BlockOwnerDeletion: &block,
	}
}

// portOf returns the port that the pod serves on: the first container port called notebook-port.
func portOf(pod *corev1.Pod) (int32, error) {
	for _, c := range pod.Spec.Containers {
		for _, port := range c.Ports {
			if port.Name == NotebookPort {
				return port.ContainerPort, nil
			}
		}
	}
	return 0, fmt.Errorf("no container has a port called %s", NotebookPort)
}
