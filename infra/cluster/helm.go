package cluster

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// helmRelease is the annotation by which Helm says which release an object is of.
const helmRelease = "meta.helm.sh/release-name"

// helmRecords are where Helm keeps what a release consists of; the second one if it was told to.
var helmRecords = []schema.GroupVersionResource{
	{Version: "v1", Resource: "secrets"}, {Version: "v1", Resource: "configmaps"},
}

// HelmRelease returns the release of Helm that one of the parts in a namespace is of, empty if there is none, and
// whether Helm has a record of it, by which `helm uninstall` would delete all of it. What may not be read is taken for
// absent.
func (a *API) HelmRelease(ctx context.Context, namespace string, parts []Part) (name string, recorded bool, err error) {
	for _, part := range parts {
		found, err := a.readable(ctx, resources[part.Kind], Object{namespace, part.Name})
		if err != nil {
			return "", false, err
		}
		if found != nil && found.GetAnnotations()[helmRelease] != "" {
			name = found.GetAnnotations()[helmRelease]
			break
		}
	}
	if name == "" {
		return "", false, nil
	}
	for _, kind := range helmRecords {
		records, err := a.list(ctx, kind, namespace, "owner=helm,name="+name)
		switch {
		case apierrors.IsForbidden(err):
		case err != nil:
			return "", false, err
		case len(records) > 0:
			return name, true, nil
		}
	}
	return name, false, nil
}

// SecretData returns the data of a Secret as the API has it, base64; nil if there is none.
func (a *API) SecretData(ctx context.Context, at Object) (map[string]string, error) {
	found, err := a.readable(ctx, resources[Secret], at)
	if found == nil || err != nil {
		return nil, err
	}
	data, _, err := unstructured.NestedStringMap(found.Object, "data")
	if err != nil {
		return nil, fmt.Errorf("%s: secret %s: data is not a map of strings", a.host, at)
	}
	return data, nil
}
