package kube

import (
	"context"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Stop implements [outpost.Spawner].
func (s *Spawner) Stop(ctx context.Context, k outpost.Key, st outpost.State) error {
	if err := s.endStart(ctx, k); err != nil {
		return err
	}
	parsed := kubespawner.ParseState(st, s.namespace)
	w, err := s.watch(ctx, parsed.Namespace)
	if err != nil {
		return err
	}
	pod, parsed, err := s.findMatch(ctx, w, k, parsed)
	if err != nil {
		return err
	}
	var uid types.UID
	var problems []error
	if pod != nil {
		uid = pod.UID
		if parsed.Pod == "" {
			parsed = kubespawner.ParseState(kubespawner.StateOf(pod), s.namespace)
		}
		grace := parsed.Grace()
		if err := s.deletePod(ctx, pod, grace); err != nil {
			problems = append(problems, err)
		} else if err := s.waitGone(ctx, w, pod, time.After(s.forceAfter+s.graceLeft(pod, grace))); err != nil {
			problems = append(problems, err)
		}
	}
	if parsed.Pod != "" {
		problems = append(problems, s.deleteHelpers(ctx, k, parsed, uid))
	}
	return errors.Join(problems...)
}

// endStart cancels a start of the key that is under way in this process and waits until it makes nothing more.
func (s *Spawner) endStart(ctx context.Context, k outpost.Key) error {
	s.mu.Lock()
	h := s.starts[k]
	s.mu.Unlock()
	if h == nil {
		return nil
	}
	h.cancel()
	select {
	case <-h.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// findMatch returns the pod of a start, nil if there is none, and the state with the name that it has.
func (s *Spawner) findMatch(
	ctx context.Context, w *watcher, k outpost.Key, st kubespawner.ParsedState,
) (*corev1.Pod, kubespawner.ParsedState, error) {
	for _, one := range st.Alternatives() {
		pod, err := s.findPod(ctx, w, k, one)
		if err != nil || pod != nil && one.Matches(pod) {
			return pod, one, err
		}
	}
	return nil, st, nil
}

// findPod returns the pod of a start as Kubernetes has it, nil if there is none. A pod of its name that belongs to
// another start does not count.
func (s *Spawner) findPod(
	ctx context.Context, w *watcher, k outpost.Key, st kubespawner.ParsedState,
) (*corev1.Pod, error) {
	name := st.Pod
	if name == "" {
		if err := w.waitSynced(ctx); err != nil {
			return nil, err
		}
		cached := w.podOf(s.origin(k))
		if cached == nil {
			return nil, nil
		}
		name = cached.Name
	}
	a := attempt{timeout: getTimeout, budget: stopBudget}
	pod, err := get(ctx, a, s.client.CoreV1().Pods(st.Namespace), name)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, apiError(err, "read the server's pod")
	case !belongs(pod, s.origin(k), st):
		return nil, nil
	}
	return pod, nil
}

// stopAttempt is how the objects of a server are removed.
var stopAttempt = attempt{timeout: 2 * getTimeout, budget: stopBudget}

// deletePod deletes this very pod and no other of its name; that it is already gone is not an error.
func (s *Spawner) deletePod(ctx context.Context, pod *corev1.Pod, grace *int64) error {
	if err := remove(ctx, stopAttempt, s.client.CoreV1().Pods(pod.Namespace), pod, grace); err != nil {
		return apiError(err, "delete the server's pod")
	}
	return nil
}

// waitGone waits until a pod that is being deleted is gone, and looks itself after a long silence of the watch. If the
// pod exists when force fires, it is deleted by force: its node no longer answers. Nil never forces.
func (s *Spawner) waitGone(ctx context.Context, w *watcher, pod *corev1.Pod, force <-chan time.Time) error {
	sub := w.subscribe(pod.Name)
	defer sub.close()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	silence := silence{w, s.now()}
	for ask := false; ; {
		silence.heard(s.now())
		ask = silence.over(s.now()) || ask
		cached := w.pod(pod.Name)
		if ask || cached == nil || cached.UID != pod.UID {
			current, err := s.getPod(ctx, pod.Namespace, pod.Name) // the cache may be behind
			if err == nil && (current == nil || current.UID != pod.UID) {
				return nil
			}
		}
		ask = !w.synced()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-force:
			force = nil
			s.logger.Warn("pod deleted by force",
				"pod", pod.Name, "namespace", pod.Namespace, "node", pod.Spec.NodeName)
			if err := s.deletePod(ctx, pod, new(int64(0))); err != nil {
				return err
			}
			ask = true
		case <-sub.C:
		case <-ticker.C:
		}
	}
}

// graceLeft is how long a pod that is being deleted may still take to end. A deletion timestamp is the end of the
// period that an earlier attempt has begun; a later request can only make it shorter.
func (s *Spawner) graceLeft(pod *corev1.Pod, asked *int64) time.Duration {
	left := graceOf(pod, asked)
	if pod.DeletionTimestamp != nil {
		left = min(left, pod.DeletionTimestamp.Sub(s.now()))
	}
	return left
}

// graceOf is how long a pod may take to end: what was asked for, else its own period.
func graceOf(pod *corev1.Pod, asked *int64) time.Duration {
	for _, seconds := range []*int64{asked, pod.Spec.TerminationGracePeriodSeconds} {
		if seconds != nil {
			return time.Duration(*seconds) * time.Second
		}
	}
	return 0
}

// deleteHelpers deletes Service and Secret of a start unless they have gone with the pod: the garbage collector takes
// its time, and an older outpost or KubeSpawner may have left them without an owner. Those of another start stay.
func (s *Spawner) deleteHelpers(
	ctx context.Context, k outpost.Key, st kubespawner.ParsedState, podUID types.UID,
) error {
	core, origin := s.client.CoreV1(), s.origin(k)
	err := deleteHelper(ctx, core.Services(st.Namespace), st.Pod, origin, podUID, "Service")
	for _, key := range []string{kubespawner.StateSecret, kubespawner.StatePull} {
		if secret := st.Secret(key); secret != "" {
			err = errors.Join(err, deleteHelper(ctx, core.Secrets(st.Namespace), secret, origin, podUID, "Secret"))
		}
	}
	return err
}

func deleteHelper[T metav1.Object](
	ctx context.Context, client objectClient[T], name string, origin kubespawner.Origin, podUID types.UID, kind string,
) error {
	object, err := get(ctx, stopAttempt, client, name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return apiError(err, "read the server's "+kind)
	}
	have, ours := kubespawner.OriginOf(object)
	if !(ours && have == origin) && !ownedBy(object, podUID) {
		return nil
	}
	if err := remove(ctx, stopAttempt, client, object, nil); err != nil {
		return apiError(err, "delete the server's "+kind)
	}
	return nil
}

// ownedBy reports whether the pod of this uid owns an object.
func ownedBy(object metav1.Object, uid types.UID) bool {
	owns := func(owner metav1.OwnerReference) bool { return owner.UID == uid }
	return uid != "" && slices.ContainsFunc(object.GetOwnerReferences(), owns)
}
