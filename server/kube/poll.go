package kube

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/kube/diagnosis"
	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// reapAfter is how long a pod stays after a poll has reported its end, for its log to be read.
const reapAfter = 30 * time.Second

// Poll implements [outpost.Spawner]. Only a pod that is missing in the cache, or whose name another start's pod has
// there, costs a request: the cache may be behind, and "gone" makes a hub forget the server.
func (s *Spawner) Poll(ctx context.Context, k outpost.Key, st outpost.State) (outpost.Status, error) {
	parsed := kubespawner.ParseState(st, s.namespace)
	w, err := s.watch(ctx, parsed.Namespace)
	if err != nil {
		return outpost.Status{}, err
	}
	if !w.synced() {
		return outpost.Status{}, outpost.NotListed(nil)
	}
	origin := s.origin(k)
	var pod *corev1.Pod
	if parsed.Pod != "" {
		if pod = w.pod(parsed.Pod); pod != nil && !belongs(pod, origin, parsed) {
			pod = nil
		}
	}
	if pod == nil {
		pod = w.podOf(origin)
	}
	if pod == nil && parsed.Pod != "" {
		if pod, err = s.getPod(ctx, parsed.Namespace, parsed.Pod); err != nil {
			return outpost.Status{}, err
		}
		if pod != nil && !belongs(pod, origin, parsed) {
			pod = nil
		}
	}
	if pod != nil {
		s.adopt(k, pod)
	}
	status := diagnosis.Status(pod)
	if status.Ended && pod != nil && !parsed.Keep() {
		s.reap(pod)
	}
	return status, nil
}

// adopt remembers whose a pod is that does not say so itself, for podChanged.
func (s *Spawner) adopt(k outpost.Key, pod *corev1.Pod) {
	if _, ours := kubespawner.OriginOf(pod); ours {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.adopted[podName{pod.Namespace, pod.Name}] = k
}

// podChanged tells that a pod has changed, if it is that of a start.
func (s *Spawner) podChanged(pod *corev1.Pod) {
	if s.changed == nil {
		return
	}
	if origin, ours := kubespawner.OriginOf(pod); ours {
		if origin.Installation == s.installation {
			s.changed(origin.Key)
		}
		return
	}
	name := podName{pod.Namespace, pod.Name}
	s.mu.Lock()
	k, adopted := s.adopted[name]
	if pod.DeletionTimestamp != nil {
		delete(s.adopted, name) // a poll of a pod that is still there adds it again
	}
	s.mu.Unlock()
	if adopted {
		s.changed(k)
	}
}

// belongs reports whether a pod of the state's name is that of a start. A pod of KubeSpawner does not say whose it is;
// its name must do, for a state of KubeSpawner.
func belongs(pod *corev1.Pod, origin kubespawner.Origin, st kubespawner.ParsedState) bool {
	have, ours := kubespawner.OriginOf(pod)
	return ours && have == origin || !ours && !st.Own()
}

// reap deletes a pod whose server has ended, as KubeSpawner's poll does (delete_stopped_pods); the hub does not ask for
// it again. It differs in the time that it leaves for the log, and in pods that ended without a container's status.
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
		if sleep(s.runCtx, s.reapAfter) != nil {
			return
		}
		if err := s.deletePod(s.runCtx, pod, new(int64(0))); err != nil {
			s.logger.Warn("ended pod not deleted", "pod", pod.Name, "namespace", pod.Namespace, "err", err)
			return
		}
		s.logger.Info("ended pod deleted", "pod", pod.Name, "namespace", pod.Namespace)
	})
}
