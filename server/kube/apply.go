package kube

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/outposts-dev/outposts/server/kube/diagnosis"
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
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// sleep waits; the error is ctx's, if that ends before.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// objectClient is the client of one kind of object.
type objectClient[T metav1.Object] interface {
	Create(context.Context, T, metav1.CreateOptions) (T, error)
	Get(context.Context, string, metav1.GetOptions) (T, error)
	Delete(context.Context, string, metav1.DeleteOptions) error
}

// create creates an object and returns it as Kubernetes has it.
func create[T metav1.Object](ctx context.Context, a attempt, client objectClient[T], wanted T) (made T, err error) {
	err = a.do(ctx, func(ctx context.Context) (err error) {
		made, err = client.Create(ctx, wanted, metav1.CreateOptions{})
		return err
	})
	return made, err
}

// get reads an object.
func get[T metav1.Object](ctx context.Context, a attempt, client objectClient[T], name string) (object T, err error) {
	err = a.do(ctx, func(ctx context.Context) (err error) {
		object, err = client.Get(ctx, name, metav1.GetOptions{})
		return err
	})
	return object, err
}

// remove deletes this very object and no other of its name; that it is already gone is not an error. grace is how many
// seconds a pod has to end, nil leaves it to the pod.
func remove[T metav1.Object](ctx context.Context, a attempt, client objectClient[T], object T, grace *int64) error {
	uid := object.GetUID()
	only := metav1.DeleteOptions{GracePeriodSeconds: grace, Preconditions: &metav1.Preconditions{UID: &uid}}
	err := a.do(ctx, func(ctx context.Context) error { return client.Delete(ctx, object.GetName(), only) })
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
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

// failed is the error of a start or stop that has failed for good.
func failed(reason string, cause error, message string) *outpost.Error {
	return &outpost.Error{Kind: outpost.KindFailed, Reason: reason, Message: message, Cause: cause}
}

// apiError gives an error of Kubernetes a kind and a message for users; action is what was tried, such as "create the
// pod".
func apiError(err error, action string) error {
	if _, ok := errors.AsType[*outpost.Error](err); ok {
		return err
	}
	text := ""
	if status := apiStatus(err); status != nil {
		text = diagnosis.Detail(status.Message)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case apierrors.IsForbidden(err) && strings.Contains(text, "exceeded quota"):
		_, text, _ = strings.Cut(text, "exceeded quota")
		text = strings.TrimPrefix(text, ": ")
		return failed(diagnosis.ReasonQuota, err, diagnosis.Sentence("The quota of this cluster is used up", text))
	case lacksAccount(err):
		return failed(diagnosis.ReasonConfig, err,
			diagnosis.Sentence("The service account of this server does not exist", text))
	case apierrors.IsForbidden(err):
		return failed(diagnosis.ReasonRefused, err, diagnosis.Sentence("The outpost is not permitted to "+action, text))
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return failed(diagnosis.ReasonRefused, err, diagnosis.Sentence("Kubernetes refused to "+action, text))
	case transient(err):
		return &outpost.Error{
			Kind: outpost.KindUnavailable, Reason: diagnosis.ReasonAPI, Cause: err,
			Message: "Kubernetes did not answer a request to " + action + "; try again.",
		}
	}
	return failed(diagnosis.ReasonRefused, err, diagnosis.Sentence("Kubernetes failed to "+action, text))
}

// lacksAccount reports whether Kubernetes has refused a pod because its service account does not exist. It has looked
// for it itself (admission plugin ServiceAccount), so this is an answer and not only a text.
func lacksAccount(err error) bool {
	if !apierrors.IsForbidden(err) {
		return false
	}
	isAccount := func(o diagnosis.Object) bool { return o.Kind == "serviceaccount" }
	return slices.ContainsFunc(diagnosis.AbsentObjects(err.Error()), isAccount)
}

// ensureNamespace creates a user's namespace unless it exists. With several hubs, one that was made for another is
// refused; one that does not name its hub, or that the outpost may not read, is taken as it was before namespaces did.
func (st *start) ensureNamespace(ctx context.Context) error {
	namespaces := st.s.client.CoreV1().Namespaces()
	_, err := create(ctx, st.request, namespaces, st.o.Namespace)
	switch {
	case err != nil && !apierrors.IsAlreadyExists(err):
		return apiError(err, "create the namespace")
	case err == nil || !st.o.SeveralHubs:
		return nil
	}
	there, err := get(ctx, st.request, namespaces, st.o.Namespace.Name)
	switch {
	case apierrors.IsForbidden(err):
		st.log().Warn("the outpost is not permitted to read a user's namespace, so nobody knows whose it is")
		return nil
	case err != nil:
		return apiError(err, "read the namespace")
	}
	if other := st.o.OtherOwner(st.o.Namespace, there, true); other != "" && other != kubespawner.UnnamedHub {
		return failed(diagnosis.ReasonTaken, nil,
			"The namespace "+there.Name+" belongs to "+other+"; change user_namespace_template.")
	}
	return nil
}

// ensureClaim creates the volume claim unless it exists, even where quota or permissions forbid to create it. Every
// start asks for it, so one that was deleted by hand comes back. One of another owner is refused: it is somebody's
// home.
func (st *start) ensureClaim(ctx context.Context) (claim *corev1.PersistentVolumeClaim, err error) {
	wanted := st.o.Claim
	claims := st.s.client.CoreV1().PersistentVolumeClaims(wanted.Namespace)
	claim, refused := create(ctx, st.request, claims, wanted)
	if refused == nil {
		return claim, nil
	}
	if apierrors.IsAlreadyExists(refused) || apierrors.IsForbidden(refused) {
		claim, err = get(ctx, st.request, claims, wanted.Name)
		switch {
		case err == nil:
			if other := st.o.OtherOwner(wanted, claim, st.o.SharedClaim); other != "" {
				return nil, failed(diagnosis.ReasonPVC, nil,
					"The home "+wanted.Name+" belongs to "+other+"; change pvc_name_template.")
			}
			if claim.DeletionTimestamp != nil { // no pod is scheduled with it anymore
				return nil, failed(diagnosis.ReasonPVC, nil,
					"The home "+wanted.Name+" is being removed; start again when it is gone.")
			}
			return claim, nil
		case apierrors.IsAlreadyExists(refused): // it exists, but nobody may say whose it is
			refused = err
		}
	}
	err = apiError(refused, "create the storage claim")
	if e, ok := errors.AsType[*outpost.Error](err); ok && e.Reason == diagnosis.ReasonRefused {
		e.Reason = diagnosis.ReasonPVC
	}
	return nil, err
}

// ensureSecret creates a Secret that the pod will use. The one of this start is kept, and that of an earlier start
// of this server is replaced.
func (st *start) ensureSecret(ctx context.Context, secret *corev1.Secret) error {
	origin := st.o.Origin
	return ensure(ctx, st, st.s.client.CoreV1().Secrets(secret.Namespace), secret, "Secret",
		func(old metav1.Object) bool {
			have, ours := kubespawner.OriginOf(old)
			return ours && have == origin
		}, nil)
}

// ownSecret makes the pod the owner of a Secret, which then goes with it. Without permission it stays without an
// owner, and the stop of the server deletes it.
func (st *start) ownSecret(ctx context.Context, pod *corev1.Pod, name string) error {
	owner, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"ownerReferences": []metav1.OwnerReference{kubespawner.OwnerReference(pod.Name, pod.UID)},
	}})
	if err != nil {
		return err
	}
	err = st.request.do(ctx, func(ctx context.Context) error {
		_, err := st.s.client.CoreV1().Secrets(pod.Namespace).Patch(
			ctx, name, types.MergePatchType, owner, metav1.PatchOptions{})
		return err
	})
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err):
		st.log().Warn("the outpost is not permitted to patch Secrets, so one stays until its server is stopped",
			"secret", name)
		return nil
	}
	return apiError(err, "give the Secret to its pod")
}

// ensureService creates the Service of the pod, which owns it. One that this pod owns is kept; one that an earlier
// start left, or that the pod cleared owned, which was in this one's way, is replaced.
func (st *start) ensureService(ctx context.Context, pod *corev1.Pod, cleared types.UID) error {
	svc := st.o.Service.DeepCopy()
	svc.SetOwnerReferences([]metav1.OwnerReference{kubespawner.OwnerReference(pod.Name, pod.UID)})
	return ensure(ctx, st, st.s.client.CoreV1().Services(pod.Namespace), svc, "Service",
		func(old metav1.Object) bool { return ownedBy(old, pod.UID) },
		func(old metav1.Object) bool { return ownedBy(old, cleared) })
}

// ensureRounds bounds how often an object in the way is removed.
const ensureRounds = 5

// ensure creates an object that goes with a pod. What keep says is the wanted one already; what an earlier start of
// this server left, or cleared says has gone with it, is replaced.
func ensure[T metav1.Object](
	ctx context.Context, st *start, client objectClient[T], wanted T, kind string,
	keep, cleared func(metav1.Object) bool,
) error {
	for range ensureRounds {
		_, err := create(ctx, st.request, client, wanted)
		if err == nil {
			return nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return apiError(err, "create the "+kind)
		}
		old, err := get(ctx, st.request, client, wanted.GetName())
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return apiError(err, "read the "+kind)
		}
		if keep(old) && old.GetDeletionTimestamp() == nil {
			return nil
		}
		same, err := st.replaces(wanted, old)
		if err != nil {
			return err
		}
		if !same && (cleared == nil || !cleared(old)) {
			return failed(diagnosis.ReasonTaken, nil,
				"A "+kind+" of this server's name belongs to something else; change the template of that name.")
		}
		if err := remove(ctx, st.request, client, old, nil); err != nil {
			return apiError(err, "remove the old "+kind)
		}
	}
	return failed(diagnosis.ReasonTaken, nil, "An old "+kind+" of this server's name does not go away.")
}
