package sshd

import (
	"net/netip"
	"sync"

	"github.com/outposts-dev/outposts/server/source"
)

// startups are the connections in handshake. Each source has a bounded share of them. A new one over the total takes
// the place of the oldest of the source that has most: who floods pushes out the own ones first, and a hub needs its
// place for the tenth of a second that a handshake takes.
type startups struct {
	max, maxPerSource int

	mu      sync.Mutex
	total   int
	sources map[netip.Prefix][]*startup // oldest first
}

// startup is one connection in handshake.
type startup struct {
	source netip.Prefix
	drop   func() // ends the handshake
	gone   bool
}

func newStartups(max, maxPerSource int) *startups {
	return &startups{max: max, maxPerSource: maxPerSource, sources: map[netip.Prefix][]*startup{}}
}

// admit registers a connection; nil if its source has too many. drop is called, once and without a lock held by the
// caller's goroutine, when another one takes its place.
func (s *startups) admit(addr netip.Addr, drop func()) *startup {
	st := &startup{source: source.Of(addr), drop: drop}
	s.mu.Lock()
	if len(s.sources[st.source]) >= s.maxPerSource {
		s.mu.Unlock()
		return nil
	}
	var victim *startup
	if s.total >= s.max {
		for _, list := range s.sources {
			if victim == nil || len(list) > len(s.sources[victim.source]) {
				victim = list[0]
			}
		}
		if victim != nil {
			s.remove(victim)
		}
	}
	s.sources[st.source] = append(s.sources[st.source], st)
	s.total++
	s.mu.Unlock()
	if victim != nil {
		victim.drop()
	}
	return st
}

// done unregisters a connection whose handshake has ended, and reports whether it had kept its place until then.
func (s *startups) done(st *startup) (kept bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept = !st.gone
	s.remove(st)
	return kept
}

func (s *startups) remove(st *startup) {
	if st.gone {
		return
	}
	st.gone = true
	s.total--
	list := s.sources[st.source]
	for i, o := range list {
		if o == st {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(s.sources, st.source)
	} else {
		s.sources[st.source] = list
	}
}

// dropAll ends all handshakes.
func (s *startups) dropAll() {
	s.mu.Lock()
	var all []*startup
	for _, list := range s.sources {
		all = append(all, list...)
	}
	for _, st := range all {
		s.remove(st)
	}
	s.mu.Unlock()
	for _, st := range all {
		st.drop()
	}
}
