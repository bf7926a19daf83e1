package kube

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/server/kube/diagnosis"
	"github.com/outposts-dev/outposts/server/kubespawner"
)

// kinds are the resources that a pod refers to, as messages call them.
var kinds = map[string]string{
	kubespawner.ClaimResource: "claim", kubespawner.SecretResource: "Secret",
	kubespawner.ConfigResource: "ConfigMap", kubespawner.AccountResource: "service account",
	kubespawner.DevicesResource: "claim for devices",
}

// checkReferences refuses to start a pod that would use an object of another owner because of what its hub says.
func (st *start) checkReferences(ctx context.Context) error {
	for _, r := range st.o.References {
		if err := st.checkReference(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// checkReference is checkReferences for one object. With several hubs, one that is not there yet, or that nobody may
// look at, can be of any of them, and is refused.
func (st *start) checkReference(ctx context.Context, r kubespawner.Reference) error {
	kind := kinds[r.Resource]
	refuse := func(format string, args ...any) error {
		reason := diagnosis.ReasonConfig
		if r.Resource == kubespawner.ClaimResource {
			reason = diagnosis.ReasonPVC
		}
		return failed(reason, nil, fmt.Sprintf("The %s %s ", kind, r.Name)+fmt.Sprintf(format, args...))
	}
	var there metav1.Object
	err := st.request.do(ctx, func(ctx context.Context) (err error) {
		there, err = st.object(ctx, r.Resource, r.Name)
		return err
	})
	switch {
	case err == nil:
		switch other := st.o.OtherOwnerOf(r, there); other {
		case "":
			return nil
		case kubespawner.UnnamedHub:
			return refuse("belongs to %s; annotate it with %s.", other, kubespawner.HubKey)
		default:
			return refuse("belongs to %s.", other)
		}
	case apierrors.IsNotFound(err):
		if st.o.SeveralHubs {
			return refuse("does not exist.")
		}
		return nil
	case !apierrors.IsForbidden(err):
		return apiError(err, "read the "+kind)
	case st.o.SeveralHubs:
		return refuse("can be of another hub: the outpost is not permitted to read it; let its Role get %s.",
			r.Resource)
	}
	st.log().Warn("the outpost is not permitted to read what the server uses, so nobody knows whose it is",
		"resource", r.Resource, "name", r.Name)
	return nil
}

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
	_, err := st.object(ctx, o.Kind+"s", o.Name)
	return apierrors.IsNotFound(err),
		err == nil || apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || errors.Is(err, errUnknownKind)
}

// places says where the volumes are that the pod mounts. It is asked once; of one that the outpost may not read, nobody
// knows.
func (st *start) places(ctx context.Context) []diagnosis.Place {
	if st.placed != nil {
		return st.placed
	}
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	core := st.s.client.CoreV1()
	st.placed = []diagnosis.Place{}
	for _, v := range st.o.Pod.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		claim, err := core.PersistentVolumeClaims(st.o.Pod.Namespace).Get(ctx, v.PersistentVolumeClaim.ClaimName,
			metav1.GetOptions{})
		if err != nil || claim.Spec.VolumeName == "" {
			continue
		}
		volume, err := core.PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
		if err != nil {
			volume = nil
		}
		st.placed = append(st.placed, diagnosis.PlaceOf(claim, volume))
	}
	return st.placed
}

var errUnknownKind = errors.New("pods refer to no such object")

// object reads an object that a pod refers to.
func (st *start) object(ctx context.Context, resource, name string) (metav1.Object, error) {
	core, namespace := st.s.client.CoreV1(), st.o.Pod.Namespace
	switch resource {
	case kubespawner.ClaimResource:
		return core.PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	case kubespawner.SecretResource:
		return core.Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	case kubespawner.ConfigResource:
		return core.ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	case kubespawner.AccountResource:
		return core.ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
	case kubespawner.DevicesResource:
		return st.s.client.ResourceV1().ResourceClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	case "storageclasses":
		return st.s.client.StorageV1().StorageClasses().Get(ctx, name, metav1.GetOptions{})
	}
	return nil, errUnknownKind
}
