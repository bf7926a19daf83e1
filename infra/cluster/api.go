package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// answerTimeout bounds each question to a cluster.
const answerTimeout = 15 * time.Second

// API asks a cluster what must be known before anything is written to it. It never writes.
type API struct {
	base   string
	client *http.Client
}

// Object names an object in a cluster.
type Object struct{ Namespace, Name string }

// String returns "namespace/name".
func (o Object) String() string { return o.Namespace + "/" + o.Name }

// Open reads a kubeconfig. A missing file or context is an error that says what is there instead; it begins with the name
// of the argument, kubeconfig or context. The cluster itself is not asked anything yet.
func Open(kubeconfig, contextName string) (*API, error) {
	loaded, err := clientcmd.LoadFromFile(kubeconfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("kubeconfig: no file %s; name one that is there", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: read %s: %w", kubeconfig, err)
	}
	if loaded.Contexts[contextName] == nil {
		return nil, fmt.Errorf("context: kubeconfig %s has no context %q; it has: %s", kubeconfig, contextName,
			strings.Join(slices.Sorted(maps.Keys(loaded.Contexts)), ", "))
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*loaded, contextName, nil, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("context: %s of kubeconfig %s: %w", contextName, kubeconfig, err)
	}
	config.Timeout = answerTimeout
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("context: %s of kubeconfig %s: %w", contextName, kubeconfig, err)
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("context: %s of kubeconfig %s: %w", contextName, kubeconfig, err)
	}
	return &API{base: strings.TrimSuffix(base.String(), "/"), client: client}, nil
}

// statusError is an answer other than 200.
type statusError struct {
	code    int
	message string
}

func (e *statusError) Error() string { return e.message }

// get asks for one path and decodes the answer.
func (a *API) get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	response, err := a.client.Do(request)
	if err != nil {
		return fmt.Errorf("no answer from the cluster at %s: %w", a.base, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("ask %s%s: %w", a.base, path, err)
	}
	if response.StatusCode != http.StatusOK {
		var status struct{ Message string }
		_ = json.Unmarshal(body, &status) // what is no Status says its code alone
		return &statusError{response.StatusCode, fmt.Sprintf("%s%s: %s %s", a.base, path, response.Status, status.Message)}
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("ask %s%s: %w", a.base, path, err)
	}
	return nil
}

// Identity returns the uid of namespace kube-system, which lives and dies with the cluster.
func (a *API) Identity(ctx context.Context) (string, error) {
	var namespace struct {
		Metadata struct{ UID string }
	}
	if err := a.get(ctx, "/api/v1/namespaces/kube-system", &namespace); err != nil {
		return "", err
	}
	if namespace.Metadata.UID == "" {
		return "", fmt.Errorf("%s: namespace kube-system has no uid", a.base)
	}
	return namespace.Metadata.UID, nil
}

// NodePorts returns who holds which node port. Where the user may not list the Services of all namespaces, known is
// false and the API server will have to say it.
func (a *API) NodePorts(ctx context.Context) (holders map[int]Object, known bool, err error) {
	var services struct {
		Items []struct {
			Metadata Object
			Spec     struct {
				Ports []struct{ NodePort int }
			}
		}
	}
	err = a.get(ctx, "/api/v1/services", &services)
	var status *statusError
	if errors.As(err, &status) && status.code == http.StatusForbidden {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	holders = map[int]Object{}
	for _, service := range services.Items {
		for _, port := range service.Spec.Ports {
			if port.NodePort != 0 {
				holders[port.NodePort] = service.Metadata
			}
		}
	}
	return holders, true, nil
}

// CountServices returns how many Services of a namespace carry the labels.
func (a *API) CountServices(ctx context.Context, namespace string, labels map[string]string) (int, error) {
	return a.count(ctx, "services", namespace, labels)
}

// CountPods returns how many pods of a namespace carry the labels.
func (a *API) CountPods(ctx context.Context, namespace string, labels map[string]string) (int, error) {
	return a.count(ctx, "pods", namespace, labels)
}

// CountPodsBy returns how many pods of a namespace have which value in an annotation, of those that carry a label of the
// same name: where a label holds a text as far as labels can, and the annotation all of it.
func (a *API) CountPodsBy(ctx context.Context, namespace, key string) (map[string]int, error) {
	items, err := a.list(ctx, "pods", namespace, map[string]string{key: ""})
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, pod := range items {
		counts[pod.Metadata.Annotations[key]]++
	}
	return counts, nil
}

func (a *API) count(ctx context.Context, kind, namespace string, labels map[string]string) (int, error) {
	items, err := a.list(ctx, kind, namespace, labels)
	return len(items), err
}

// item is an object of a list, as far as it is looked at.
type item struct {
	Metadata struct{ Annotations map[string]string }
}

func (a *API) list(ctx context.Context, kind, namespace string, labels map[string]string) ([]item, error) {
	var terms []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if labels[key] == "" {
			terms = append(terms, key) // any value
		} else {
			terms = append(terms, key+"="+labels[key])
		}
	}
	var list struct{ Items []item }
	path := fmt.Sprintf("/api/v1/namespaces/%s/%s?labelSelector=%s", url.PathEscape(namespace), kind, url.QueryEscape(strings.Join(terms, ",")))
	err := a.get(ctx, path, &list)
	return list.Items, err
}
