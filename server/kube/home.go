package kube

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/outposts-dev/outposts/server/kubespawner"
)

// findHome looks for a home that an earlier KubeSpawner has made under another name before a new, empty one is made,
// and lets the start use it. KubeSpawner 7 does so once for each user, for a row that 6 has written; it differs in that
// it looks in the cluster each time, since an outpost keeps nothing of a user, and in that the home must say whose it
// is.
func (st *start) findHome(ctx context.Context) error {
	if len(st.o.EarlierHomes()) == 0 {
		return nil
	}
	claim, err := st.getClaim(ctx, st.o.Claim.Name)
	if claim != nil || err != nil {
		return err
	}
	for _, name := range st.o.EarlierHomes() {
		claim, err := st.getClaim(ctx, name)
		switch {
		case err != nil:
			return err
		case claim == nil:
			continue
		case !st.o.IsHome(claim):
			st.logOtherHome(claim)
			continue
		}
		moved, err := st.o.WithHome(name)
		if err != nil {
			return err
		}
		st.log().Info("home of an earlier name used", "claim", name)
		st.o = moved
		return nil
	}
	return nil
}

// logOtherHome says of a claim that may be the user's home why it is not used, if an operator can change that.
func (st *start) logOtherHome(claim *corev1.PersistentVolumeClaim) {
	const another = "a home of an earlier name is not used, because it does not name its hub; " +
		"if it is this hub's, annotate it"
	user := st.o.Claim.Annotations[kubespawner.UsernameKey]
	if claim.Annotations[kubespawner.UsernameKey] == user && claim.Annotations[kubespawner.HubKey] == "" {
		st.log().Warn(another, "claim", claim.Name, "annotation", kubespawner.HubKey)
	}
}

// getClaim returns a claim of the pod's namespace; nil if there is none, or none that the outpost may read.
func (st *start) getClaim(ctx context.Context, name string) (*corev1.PersistentVolumeClaim, error) {
	claim, err := get(ctx, st.request, st.s.client.CoreV1().PersistentVolumeClaims(st.o.Claim.Namespace), name)
	switch {
	case err == nil:
		return claim, nil
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return nil, nil
	}
	return nil, apiError(err, "look for the storage claim")
}
