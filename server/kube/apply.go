package kube

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

const (
	firstPause = 100 * time.Millisecond
	maxPause   = 3 * time.Second
)

// attempt says for how long a request to Kubernetes is tried.
type attempt struct {
	timeout time.Duration // of one request
	budget  time.Duration // of the request and its repetitions
}

// do repeats a request until it succeeds, fails for good, its budget is used up or ctx ends. ctx does not cut off a
// request that is under way, so that it is always known whether an object was created.
func (a attempt) do(ctx context.Context, request func(context.Context) error) error {
	deadline := time.Now().Add(a.budget)
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		if err := ctx.Err(); err != nil {
			return err
		}
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.timeout)
		err := request(one)
		cancel()
		if err == nil || !transient(err) {
			return err
		}
		wait := pause/2 + rand.N(pause)
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
			wait = max(wait, time.Duration(seconds)*time.Second)
		}
		if time.Now().Add(wait).After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// transient reports whether the same request may succeed a moment later.
func transient(err error) bool {
	if apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) ||
		apierrors.IsInternalError(err) || apierrors.IsServiceUnavailable(err) ||
		apierrors.IsUnexpectedServerError(err) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return true
	}
	if status := apiStatus(err); status != nil {
		return status.Code >= 500
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsHTTP2ConnectionLost(err)
}

// apiStatus returns the status that Kubernetes answered with, nil if err is not its answer.
func apiStatus(err error) *metav1.Status {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return nil
	}
	return new(status.Status())
}

// apiError gives an error of Kubernetes a kind and a message for users; action is what was tried, such as "create the
// pod".
func apiError(err error, action string) error {
	if _, ok := errors.AsType[*outpost.Error](err); ok {
		return err
	}
	text := ""
	if status := apiStatus(err); status != nil {
		text = detail(status.Message)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case apierrors.IsForbidden(err) && strings.Contains(text, "exceeded quota"):
		_, text, _ = strings.Cut(text, "exceeded quota")
		text = strings.TrimPrefix(text, ": ")
		return failed(reasonQuota, err, sentence("The quota of this cluster is used up", text))
	case apierrors.IsForbidden(err):
		return failed(reasonRefused, err, sentence("The outpost is not permitted to "+action, text))
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return failed(reasonRefused, err, sentence("Kubernetes refused to "+action, text))
	case transient(err):
		return &outpost.Error{
			Kind: outpost.KindUnavailable, Reason: reasonAPI, Cause: err,
			Message: "Kubernetes did not answer a request to " + action + "; try again.",
		}
	}
	return failed(reasonRefused, err, sentence("Kubernetes failed to "+action, text))
}

// ensureNamespace creates a user's namespace unless it exists.
func (s *Spawner) ensureNamespace(ctx context.Context, a attempt, ns *corev1.Namespace) error {
	err := a.do(ctx, func(ctx context.Context) error {
		_, err := s.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
		return err
	})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return apiError(err, "create the namespace")
	}
	return nil
}

// ensureClaim creates the volume claim unless it exists, even where quota or permissions forbid to create it. Every
// start asks for it, so one that was deleted by hand comes back.
func (s *Spawner) ensureClaim(
	ctx context.Context, a attempt, claim *corev1.PersistentVolumeClaim,
) (made *corev1.PersistentVolumeClaim, err error) {
	claims := s.client.CoreV1().PersistentVolumeClaims(claim.Namespace)
	err = a.do(ctx, func(ctx context.Context) (err error) {
		made, err = claims.Create(ctx, claim, metav1.CreateOptions{})
		return err
	})
	if err == nil {
		return made, nil
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsForbidden(err) {
		missing := a.do(ctx, func(ctx context.Context) (err error) {
			made, err = claims.Get(ctx, claim.Name, metav1.GetOptions{})
			return err
		})
		if missing == nil || apierrors.IsAlreadyExists(err) { // without permission to get it, its existence must do
			return made, nil
		}
	}
	err = apiError(err, "create the storage claim")
	if e, ok := errors.AsType[*outpost.Error](err); ok && e.Reason == reasonRefused {
		e.Reason = reasonPVC
	}
	return nil, err
}

// helperClient is the client of one kind of object that a pod owns.
type helperClient[T metav1.Object] interface {
	Create(context.Context, T, metav1.CreateOptions) (T, error)
	Get(context.Context, string, metav1.GetOptions) (T, error)
	Delete(context.Context, string, metav1.DeleteOptions) error
}

// ensureRounds bounds how often an object in the way is removed.
const ensureRounds = 5

// ensure creates an object that a pod owns. One that this pod owns is kept; one that an earlier start left, or that the
// pod cleared owned, which was in this one's way, is replaced.
func ensure[T metav1.Object](
	ctx context.Context, a attempt, client helperClient[T], wanted T, pod *corev1.Pod, cleared types.UID, kind string,
) error {
	wanted.SetOwnerReferences([]metav1.OwnerReference{kubespawner.OwnerReference(pod.Name, pod.UID)})
	for range ensureRounds {
		var old T
		err := a.do(ctx, func(ctx context.Context) error {
			_, err := client.Create(ctx, wanted, metav1.CreateOptions{})
			return err
		})
		if err == nil {
			return nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return apiError(err, "create the "+kind)
		}
		err = a.do(ctx, func(ctx context.Context) (err error) {
			old, err = client.Get(ctx, wanted.GetName(), metav1.GetOptions{})
			return err
		})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return apiError(err, "read the "+kind)
		}
		if ownedBy(old, pod.UID) && old.GetDeletionTimestamp() == nil {
			return nil
		}
		same, err := replaces(wanted, old)
		if err != nil {
			return err
		}
		if !same && !ownedBy(old, cleared) {
			return failed(reasonTaken, nil,
				"A "+kind+" of this server's name belongs to something else; change the template of that name.")
		}
		uid := old.GetUID()
		err = a.do(ctx, func(ctx context.Context) error {
			only := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}
			return client.Delete(ctx, old.GetName(), only)
		})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return apiError(err, "remove the old "+kind)
		}
	}
	return failed(reasonTaken, nil, "An old "+kind+" of this server's name does not go away.")
}
