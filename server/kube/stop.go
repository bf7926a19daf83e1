package kube

import (
	"context"
	"errors"
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
	known := kubespawner.ParseState(st, s.namespace)
	w, err := s.watch(ctx, known.Namespace)
	if err != nil {
		return err
	}
	pod, err := s.findPod(ctx, w, k, known)
	if err != nil {
		return err
	}
	if pod != nil && !kubespawner.Fits(pod, st) {
		pod = nil
	}
	var uid types.UID
	var problems []error
	if pod != nil {
		uid = pod.UID
		if known.Pod == "" {
			known = kubespawner.ParseState(kubespawner.StateOf(pod), s.namespace)
		}
		if err := s.deletePod(ctx, pod, known.Grace); err != nil {
			problems = append(problems, err)
		} else if err := s.waitGone(ctx, w, pod, time.After(s.forceAfter+s.graceLeft(pod, known.Grace))); err != nil {
			problems = append(problems, err)
		}
	}
	if known.Pod != "" {
		problems = append(problems, s.deleteHelpers(ctx, k, known, uid))
	}
	return errors.Join(problems...)
}

// endStart cancels a start of the key that is under way in this process and waits until it makes nothing more.
func (s *Spawner) endStart(ctx context.Context, k outpost.Key) error {
	s.mu.Lock()
	run := s.starts[k]
	s.mu.Unlock()
	if run == nil {
		return nil
	}
	run.cancel()
	select {
	case <-run.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// findPod returns the key's pod as Kubernetes has it, nil if there is none. A pod of that name which belongs to
// another start is none.
func (s *Spawner) findPod(ctx context.Context, w *watcher, k outpost.Key, known kubespawner.ParsedState) (*corev1.Pod, error) {
	name := known.Pod
	if name == "" {
		if err := w.ready(ctx); err != nil {
			return nil, err
		}
		cached := w.podOf(s.identity(k))
		if cached == nil {
			return nil, nil
		}
		name = cached.Name
	}
	var pod *corev1.Pod
	a := attempt{timeout: lookTimeout, budget: stopBudget}
	err := a.do(ctx, func(ctx context.Context) (err error) {
		pod, err = s.client.CoreV1().Pods(known.Namespace).Get(ctx, name, metav1.GetOptions{})
		return err
	})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, apiError(err, "look for the server's pod")
	case !belongs(pod, s.identity(k)):
		return nil, nil
	}
	return pod, nil
}

// deletePod deletes this very pod and no other of its name; one that is not there any more is no error.
func (s *Spawner) deletePod(ctx context.Context, pod *corev1.Pod, grace *int64) error {
	uid := pod.UID
	a := attempt{timeout: 2 * lookTimeout, budget: stopBudget}
	err := a.do(ctx, func(ctx context.Context) error {
		return s.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: grace, Preconditions: &metav1.Preconditions{UID: &uid},
		})
	})
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return apiError(err, "delete the server's pod")
}

// waitGone waits until a pod that is being deleted is gone. One that is still there when force fires is deleted by
// force: its node does not answer any more. Nil never forces.
func (s *Spawner) waitGone(ctx context.Context, w *watcher, pod *corev1.Pod, force <-chan time.Time) error {
	sub := w.subscribe(pod.Name)
	defer sub.close()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for ask := false; ; {
		cached := w.pod(pod.Name)
		if ask || cached == nil || cached.UID != pod.UID {
			there, err := s.look(ctx, pod.Namespace, pod.Name) // the cache may be behind
			if err == nil && (there == nil || there.UID != pod.UID) {
				return nil
			}
		}
		ask = !w.filled()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-force:
			force = nil
			s.logger.Warn("pod deleted by force", "pod", pod.Name, "namespace", pod.Namespace, "node", pod.Spec.NodeName)
			if err := s.deletePod(ctx, pod, new(int64(0))); err != nil {
				return err
			}
			ask = true
		case <-sub.C:
		case <-ticker.C:
		}
	}
}

// graceLeft is how long a pod that is being deleted may still take to end. An earlier try may have begun it: a deletion
// timestamp is the end of the period that runs already, and a later request can only make it shorter.
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

// deleteHelpers deletes Service and Secret of a start, as far as they have not gone with the pod: the garbage collector takes
// its time, and an older outpost or the peer may have left them without an owner. Those of another start stay.
func (s *Spawner) deleteHelpers(ctx context.Context, k outpost.Key, known kubespawner.ParsedState, podUID types.UID) error {
	core := s.client.CoreV1()
	err := s.deleteHelper(ctx, k, podUID, "Service",
		func(ctx context.Context) (metav1.Object, error) {
			return core.Services(known.Namespace).Get(ctx, known.Pod, metav1.GetOptions{})
		},
		func(ctx context.Context, o metav1.DeleteOptions) error {
			return core.Services(known.Namespace).Delete(ctx, known.Pod, o)
		})
	if known.Secret == "" {
		return err
	}
	return errors.Join(err, s.deleteHelper(ctx, k, podUID, "Secret",
		func(ctx context.Context) (metav1.Object, error) {
			return core.Secrets(known.Namespace).Get(ctx, known.Secret, metav1.GetOptions{})
		},
		func(ctx context.Context, o metav1.DeleteOptions) error {
			return core.Secrets(known.Namespace).Delete(ctx, known.Secret, o)
		}))
}

func (s *Spawner) deleteHelper(ctx context.Context, k outpost.Key, podUID types.UID, kind string,
	get func(context.Context) (metav1.Object, error), remove func(context.Context, metav1.DeleteOptions) error,
) error {
	a := attempt{timeout: 2 * lookTimeout, budget: stopBudget}
	var object metav1.Object
	err := a.do(ctx, func(ctx context.Context) (err error) { object, err = get(ctx); return err })
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return apiError(err, "look for the server's "+kind)
	}
	have, ours := kubespawner.OriginOf(object.GetAnnotations())
	if !(ours && have == s.identity(k)) && !ownedBy(object, podUID) {
		return nil
	}
	uid := object.GetUID()
	err = a.do(ctx, func(ctx context.Context) error {
		return remove(ctx, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	})
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return apiError(err, "delete the server's "+kind)
}

// ownedBy tells whether an object goes with the pod of this uid.
func ownedBy(object metav1.Object, uid types.UID) bool {
	for _, owner := range object.GetOwnerReferences() {
		if uid != "" && owner.UID == uid {
			return true
		}
	}
	return false
}
