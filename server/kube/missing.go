package kube

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/server/kube/diagnosis"
)

// lacks reports whether the API server really does not have one of the objects, which it is asked once for each. What
// the outpost may not read, and what is of another kind, is not known to be missing.
func (st *start) lacks(ctx context.Context, objects []diagnosis.Object) bool {
	for _, o := range objects {
		missing, known := st.missing[o]
		if !known {
			var final bool
			if missing, final = st.ask(ctx, o); final {
				st.missing[o] = missing
			}
		}
		if missing {
			return true
		}
	}
	return false
}

// ask asks the API server for an object; final says that it need not be asked again.
func (st *start) ask(ctx context.Context, o diagnosis.Object) (missing, final bool) {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	core, namespace := st.s.client.CoreV1(), st.o.Pod.Namespace
	var err error
	switch o.Kind {
	case "persistentvolumeclaim":
		_, err = core.PersistentVolumeClaims(namespace).Get(ctx, o.Name, metav1.GetOptions{})
	case "secret":
		_, err = core.Secrets(namespace).Get(ctx, o.Name, metav1.GetOptions{})
	case "configmap":
		_, err = core.ConfigMaps(namespace).Get(ctx, o.Name, metav1.GetOptions{})
	case "serviceaccount":
		_, err = core.ServiceAccounts(namespace).Get(ctx, o.Name, metav1.GetOptions{})
	case "storageclass":
		_, err = st.s.client.StorageV1().StorageClasses().Get(ctx, o.Name, metav1.GetOptions{})
	default:
		return false, true
	}
	return apierrors.IsNotFound(err), err == nil || apierrors.IsNotFound(err) || apierrors.IsForbidden(err)
}
