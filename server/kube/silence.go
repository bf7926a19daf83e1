package kube

import "time"

// confirmAfter is how long a start or a stop trusts a silent watch.
const confirmAfter = 10 * time.Second

// silence says when what is waited for must be looked at, because the watch may be dead.
type silence struct {
	w    *watcher
	last time.Time // when Kubernetes last sent anything about pods, or was asked
}

// heard counts what the watch has sent until now.
func (s *silence) heard(now time.Time) {
	if last := now.Add(-s.w.age()); last.After(s.last) {
		s.last = last
	}
}

// over reports whether the silence has lasted too long; the next one begins then.
func (s *silence) over(now time.Time) bool {
	if now.Sub(s.last) < confirmAfter {
		return false
	}
	s.last = now
	return true
}
