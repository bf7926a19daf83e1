package kube

import (
	"context"
	"fmt"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
)

const (
	// maxWatchers is how many namespaces are watched beside the configured ones, which costs two requests that last and
	// about ten goroutines each.
	maxWatchers = 2000
	idleCheck   = time.Minute      // how often watchers that nothing needs are looked for
	idleAfter   = 10 * time.Minute // how long a watcher stays that nothing needs
	busyFor     = time.Minute      // how long a watcher is not taken for idle, however many there are
)

// watch returns the watcher of a namespace, after starting it if there is none. The error is KindUnavailable if too
// many others are needed.
func (s *Spawner) watch(ctx context.Context, namespace string) (*watcher, error) {
	if err := s.waitRun(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.watchers[namespace]; w != nil {
		if !w.configured {
			w.used = s.now()
		}
		return w, nil
	}
	if s.stopped {
		return nil, outpost.Errorf(outpost.KindUnavailable, "The outpost is stopping; try again.")
	}
	if err := s.makeRoom(); err != nil {
		return nil, err
	}
	w, err := newWatcher(s.client, namespace, s.logger, s.now, s.scaling.observe, s.podChanged)
	if err != nil {
		return nil, err
	}
	ctx, w.end = context.WithCancel(s.runCtx)
	w.used = s.now()
	s.watchers[namespace] = w
	s.wg.Go(func() { w.run(ctx) })
	return w, nil
}

// makeRoom ends the watcher that has not been used for longest if there are as many as there may be. It needs s.mu.
func (s *Spawner) makeRoom() error {
	var oldest *watcher
	n := 0
	for _, w := range s.watchers {
		if w.configured {
			continue
		}
		n++
		if w.idle(s.now(), busyFor) && (oldest == nil || w.used.Before(oldest.used)) {
			oldest = w
		}
	}
	switch {
	case n < s.maxWatchers:
		return nil
	case oldest == nil:
		return outpost.Wrap(fmt.Errorf("%d namespaces with servers are watched, which is the limit", n),
			outpost.KindUnavailable, "The outpost has servers in as many namespaces as it can watch; try again later.")
	}
	s.end(oldest)
	return nil
}

// endIdle ends the watchers that nothing has needed for a while.
func (s *Spawner) endIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.watchers {
		if !w.configured && w.idle(s.now(), idleAfter) {
			s.end(w)
		}
	}
}

// end ends a watcher. It needs s.mu.
func (s *Spawner) end(w *watcher) {
	delete(s.watchers, w.namespace)
	w.end()
	w.logger.Debug("namespace is no longer watched")
}

// idle reports whether nothing has asked for the watcher for so long, nothing waits on it, and no outpost has a pod
// there. It needs the Spawner's lock.
func (w *watcher) idle(now time.Time, unused time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return now.Sub(w.used) >= unused && len(w.subscribers) == 0 && len(w.pods()) == 0
}
