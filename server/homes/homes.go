// Package homes lists and removes the homes that an outpost has made: claims that outlive the servers they were made
// for.
package homes

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Name is the place and name of a home's claim.
type Name = outpost.Home

// Home is a claim that an outpost has made for a user.
type Home struct {
	Name
	Hub, User string
	Size      string
	Made      time.Time
	Used      time.Time // zero if no server has used it since this is noted
	InUse     bool      // a pod of its namespace mounts it

	uid   types.UID
	noted time.Time // since when uses are
}

// Unused returns since when nobody has used it, as far as is known: what was used before that was noted may have been
// used until then.
func (h Home) Unused() time.Time {
	switch {
	case !h.Used.IsZero():
		return h.Used
	case h.Made.Before(h.noted):
		return h.noted
	}
	return h.Made
}

// Who returns the user for a message or a line of a table: hubs name users as they like, with line ends and escapes of
// terminals among it.
func (h Home) Who() string {
	if strings.ContainsFunc(h.User, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(h.User)
	}
	return h.User
}

// Filter says which homes are meant; an empty field is all.
type Filter struct {
	Hub, User   string
	UnusedSince time.Time // not used since then
}

func (f Filter) matches(h Home) bool {
	return (f.Hub == "" || f.Hub == h.Hub) && (f.User == "" || f.User == h.User) &&
		(f.UnusedSince.IsZero() || !h.InUse && h.Unused().Before(f.UnusedSince))
}

// List returns the homes in some namespaces that the outpost with a database of this id has made, by hub, user and
// name. used is what the database knows of them ([outpost.Store]), and noted since when it does.
func List(
	ctx context.Context, client kubernetes.Interface, namespaces []string, installation string,
	used map[Name]time.Time, noted time.Time, f Filter,
) ([]Home, error) {
	var list []Home
	for _, namespace := range namespaces {
		claims, err := client.CoreV1().PersistentVolumeClaims(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("list claims in %s: %w", namespace, err)
		}
		mounted, err := mountedIn(ctx, client, namespace)
		if err != nil {
			return nil, err
		}
		for _, claim := range claims.Items {
			owner := kubespawner.OwnerOf(&claim)
			if owner.Installation != installation || owner.User == "" {
				continue
			}
			name := Name{Namespace: namespace, Name: claim.Name}
			size := claim.Spec.Resources.Requests[corev1.ResourceStorage]
			h := Home{
				Name: name, Hub: owner.Hub, User: owner.User, Size: size.String(), InUse: mounted[claim.Name],
				Made: claim.CreationTimestamp.UTC(), Used: used[name], uid: claim.UID, noted: noted,
			}
			if f.matches(h) {
				list = append(list, h)
			}
		}
	}
	slices.SortFunc(list, func(a, b Home) int {
		return cmp.Or(cmp.Compare(a.Hub, b.Hub), cmp.Compare(a.User, b.User), cmp.Compare(a.Name.Name, b.Name.Name))
	})
	return list, nil
}

// mountedIn returns the names of the claims that pods of a namespace mount, those that have ended included.
func mountedIn(ctx context.Context, client kubernetes.Interface, namespace string) (map[string]bool, error) {
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list pods in %s: %w", namespace, err)
	}
	mounted := map[string]bool{}
	for _, pod := range pods.Items {
		for _, volume := range pod.Spec.Volumes {
			if volume.PersistentVolumeClaim != nil {
				mounted[volume.PersistentVolumeClaim.ClaimName] = true
			}
		}
	}
	return mounted, nil
}

// Remove deletes a home that is not in use, unless it is another one by now. One that is gone is no error. It looks at
// the pods again: since the homes were listed, of which there may be thousands, a server may have been started.
func Remove(ctx context.Context, client kubernetes.Interface, h Home) error {
	mounted, err := mountedIn(ctx, client, h.Namespace)
	if err != nil {
		return err
	}
	if h.InUse || mounted[h.Name.Name] {
		return fmt.Errorf("%s/%s is in use; stop the servers of %s first", h.Namespace, h.Name.Name, h.Who())
	}
	err = client.CoreV1().PersistentVolumeClaims(h.Namespace).Delete(ctx, h.Name.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &h.uid},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s/%s: %w", h.Namespace, h.Name.Name, err)
	}
	return nil
}
