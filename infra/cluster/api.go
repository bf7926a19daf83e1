package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// API asks a cluster what must be known before anything is written to it. It never writes. Its client is the dynamic
// one: the typed ones would more than double what is compiled of Kubernetes into the Pulumi program.
type API struct {
	host   string
	client dynamic.Interface
}

var (
	namespaces     = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	services       = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	pods           = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	roles          = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}
	storageClasses = schema.GroupVersionResource{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}
)

// Kind is a kind of objects that can be looked for by name.
type Kind string

// Kinds of what an installation consists of.
const (
	Secret     Kind = "Secret"
	Claim      Kind = "PersistentVolumeClaim"
	Deployment Kind = "Deployment"
)

var resources = map[Kind]schema.GroupVersionResource{
	Secret:     {Version: "v1", Resource: "secrets"},
	Claim:      {Version: "v1", Resource: "persistentvolumeclaims"},
	Deployment: {Group: "apps", Version: "v1", Resource: "deployments"},
}

// Object names an object in a cluster.
type Object struct{ Namespace, Name string }

// String returns "namespace/name".
func (o Object) String() string { return o.Namespace + "/" + o.Name }

// Part names an object of an installation in its namespace.
type Part struct {
	Kind Kind
	Name string
}

// String returns "Kind name".
func (p Part) String() string { return string(p.Kind) + " " + p.Name }

// Open reads the kubeconfig. A missing file or context is an error that says what is there instead; it begins with the
// name of the argument, kubeconfig or context. The cluster itself is not asked anything yet.
func Open(access Access) (*API, error) { return open(access, answerTimeout) }

func open(access Access, limit time.Duration) (*API, error) {
	config, err := access.clientConfig()
	if err != nil {
		return nil, err
	}
	// Credentials are looked for outside of this wrapper, and take the time that they take: a plugin may open a
	// browser.
	config.QPS = -1 // a run asks a few dozen questions, and is done
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return timed{next, limit} })
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %s: %w", access.source(), err)
	}
	return &API{host: config.Host, client: client}, nil
}

// Identity returns the uid of namespace kube-system, which lives and dies with the cluster; empty if the user may not
// read it.
func (a *API) Identity(ctx context.Context) (string, error) {
	namespace, err := a.get(ctx, namespaces, Object{Name: metav1.NamespaceSystem})
	switch {
	case apierrors.IsForbidden(err):
		return "", nil
	case err != nil:
		return "", err
	case namespace == nil || namespace.GetUID() == "":
		return "", fmt.Errorf("%s: namespace %s has no uid", a.host, metav1.NamespaceSystem)
	}
	return string(namespace.GetUID()), nil
}

// NamespaceUID returns the uid of a namespace; empty if there is none that the user may read.
func (a *API) NamespaceUID(ctx context.Context, name string) (string, error) {
	found, err := a.readable(ctx, namespaces, Object{Name: name})
	if found == nil {
		return "", err
	}
	return string(found.GetUID()), nil
}

// Owner returns the full name of the stack that a namespace is marked with, by its annotation or by a Mark in it, if
// there is such a namespace. Whoever may not read either is told that there is none.
func (a *API) Owner(ctx context.Context, namespace string) (stack string, exists bool, err error) {
	for _, at := range []struct {
		kind schema.GroupVersionResource
		name Object
	}{{namespaces, Object{Name: namespace}}, {roles, Object{namespace, Mark}}} {
		found, err := a.readable(ctx, at.kind, at.name)
		if err != nil {
			return "", false, err
		}
		exists = exists || found != nil
		if found != nil && found.GetAnnotations()[OwnerAnnotation] != "" {
			return found.GetAnnotations()[OwnerAnnotation], true, nil
		}
	}
	return "", exists, nil
}

// Present returns those of the parts that are in a namespace. What may not be read is taken for absent.
func (a *API) Present(ctx context.Context, namespace string, parts []Part) ([]Part, error) {
	var present []Part
	for _, part := range parts {
		found, err := a.readable(ctx, resources[part.Kind], Object{namespace, part.Name})
		if err != nil {
			return nil, err
		}
		if found != nil {
			present = append(present, part)
		}
	}
	return present, nil
}

// StorageClasses returns the names of all storage classes, and whether one of them is the default. If the user may not
// list them, known is false.
func (a *API) StorageClasses(ctx context.Context) (names []string, hasDefault, known bool, err error) {
	all, err := a.list(ctx, storageClasses, "", "")
	if apierrors.IsForbidden(err) {
		return nil, false, false, nil
	}
	if err != nil {
		return nil, false, false, err
	}
	for _, class := range all {
		names = append(names, class.GetName())
		hasDefault = hasDefault || class.GetAnnotations()["storageclass.kubernetes.io/is-default-class"] == "true"
	}
	return names, hasDefault, true, nil
}

// HasNamespace reports whether a namespace exists. If the user may not ask, it counts as existing, and the API server
// will refuse what is made in it.
func (a *API) HasNamespace(ctx context.Context, name string) (bool, error) {
	found, err := a.get(ctx, namespaces, Object{Name: name})
	if apierrors.IsForbidden(err) {
		return true, nil
	}
	return found != nil, err
}

// NodePorts returns which Service holds which node port. If the user may not list the Services of all namespaces, known
// is false, and the API server will refuse a port that is taken.
func (a *API) NodePorts(ctx context.Context) (holders map[int]Object, known bool, err error) {
	all, err := a.list(ctx, services, "", "")
	if apierrors.IsForbidden(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	holders = map[int]Object{}
	for _, service := range all {
		holder := Object{service.GetNamespace(), service.GetName()}
		ports, _, err := unstructured.NestedSlice(service.Object, "spec", "ports")
		if err != nil {
			return nil, false, fmt.Errorf("%s: service %s: %w", a.host, holder, err)
		}
		for _, port := range ports {
			if port, _ := port.(map[string]any); port["nodePort"] != nil {
				number, _ := port["nodePort"].(int64)
				holders[int(number)] = holder
			}
		}
	}
	return holders, true, nil
}

// CountServices returns how many Services of a namespace a label selector selects.
func (a *API) CountServices(ctx context.Context, namespace, selector string) (int, error) {
	items, err := a.list(ctx, services, namespace, selector)
	return len(items), err
}

// CountPods returns how many pods of a namespace a label selector selects.
func (a *API) CountPods(ctx context.Context, namespace, selector string) (int, error) {
	items, err := a.list(ctx, pods, namespace, selector)
	return len(items), err
}

// CountPodsBy returns the number of pods of a namespace by the value of an annotation, of those that carry a label of
// the same name: the label holds as much of a string as labels can, the annotation all of it.
func (a *API) CountPodsBy(ctx context.Context, namespace, key string) (map[string]int, error) {
	items, err := a.list(ctx, pods, namespace, key)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, pod := range items {
		counts[pod.GetAnnotations()[key]]++
	}
	return counts, nil
}

// get returns an object; nil if there is none. An empty namespace is for objects that are in none.
func (a *API) get(
	ctx context.Context, kind schema.GroupVersionResource, at Object,
) (*unstructured.Unstructured, error) {
	found, err := a.client.Resource(kind).Namespace(at.Namespace).Get(ctx, at.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, a.failed(err)
	}
	return found, nil
}

// readable returns an object; nil if it is not there or may not be read.
func (a *API) readable(
	ctx context.Context, kind schema.GroupVersionResource, at Object,
) (*unstructured.Unstructured, error) {
	found, err := a.get(ctx, kind, at)
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	return found, err
}

// list returns the objects of a namespace, of all for an empty one, that a label selector selects.
func (a *API) list(
	ctx context.Context, kind schema.GroupVersionResource, namespace, selector string,
) ([]unstructured.Unstructured, error) {
	list, err := a.client.Resource(kind).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, a.failed(err)
	}
	return list.Items, nil
}

// failed says which cluster an error is of, and whether it answered at all.
func (a *API) failed(err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return fmt.Errorf("%s: %w", a.host, err)
	}
	return fmt.Errorf("no answer from the cluster at %s: %w", a.host, err)
}
