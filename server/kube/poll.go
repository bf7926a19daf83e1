package kube

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// reapAfter is how long an ended pod stays after a poll has said so: its log is read meanwhile.
const reapAfter = 30 * time.Second

// Poll implements [outpost.Spawner]. Only a pod that is missing in the cache costs a request, because "gone"
// makes a hub forget the server.
func (s *Spawner) Poll(ctx context.Context, k outpost.Key, st outpost.State) (outpost.Status, error) {
	known := kubespawner.ParseState(st, s.namespace)
	w, err := s.watch(ctx, known.Namespace)
	if err != nil {
		return outpost.Status{}, err
	}
	if !w.filled() {
		return outpost.Status{}, outpost.Errorf(outpost.KindUnavailable, "the list of servers is not filled yet")
	}
	id := s.identity(k)
	var pod *corev1.Pod
	if known.Pod != "" {
		if pod = w.pod(known.Pod); pod != nil && !belongs(pod, id) {
			return judge(nil), nil
		}
	}
	if pod == nil {
		pod = w.podOf(id)
	}
	if pod == nil && known.Pod != "" {
		if pod, err = s.look(ctx, known.Namespace, known.Pod); err != nil {
			return outpost.Status{}, err
		}
		if pod != nil && !belongs(pod, id) {
			pod = nil
		}
	}
	status := judge(pod)
	if status.Ended && pod != nil && !known.Keep {
		s.reap(pod)
	}
	return status, nil
}

// belongs tells whether a pod is that of a start. A pod of the peer says nothing; its name must do.
func belongs(pod *corev1.Pod, id kubespawner.Origin) bool {
	have, ours := kubespawner.OriginOf(pod.Annotations)
	return !ours || have == id
}

// reap deletes a pod whose server has ended, as the peer's poll does (delete_stopped_pods); the hub does not ask for it
// any more. It differs in the time that is left for the log, and in pods that ended without a container's status.
func (s *Spawner) reap(pod *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reaping[pod.UID] || pod.DeletionTimestamp != nil || s.stopped {
		return
	}
	s.reaping[pod.UID] = true
	s.wg.Go(func() {
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.reaping, pod.UID)
		}()
		select {
		case <-s.runCtx.Done():
			return
		case <-time.After(s.reapAfter):
		}
		if err := s.deletePod(s.runCtx, pod, new(int64(0))); err != nil {
			s.logger.Warn("ended pod not deleted", "pod", pod.Name, "namespace", pod.Namespace, "err", err)
			return
		}
		s.logger.Info("ended pod deleted", "pod", pod.Name, "namespace", pod.Namespace)
	})
}
