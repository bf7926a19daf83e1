package sshd

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/outposts-dev/outposts/server/source"
)

// startups are the connections in handshake. A new one is always admitted; over the bounds another one is dropped for
// it, so that no flood keeps a login out, not even one from the address that the login comes from. Who floods pushes
// out the own ones first: the one to drop is of the same source, or of the source that has most. It is one that has not
// offered an authorized key, chosen at random from the older half of those: a login needs a tenth of a second to get
// that far, in which not many others come, while the flood's own stay for ten. In that half the silent go first, since
// a client identifies itself at once (RFC 4253 section 4.2).
type startups struct {
	max, maxPerSource int
	random            func(n int) int // from 0 to n-1

	mu      sync.Mutex
	total   int
	sources map[netip.Prefix][]*startup // oldest first
}

// startup is one connection in handshake.
type startup struct {
	source netip.Prefix
	drop   func()       // ends the handshake
	stage  atomic.Int32 // how far it has come
	gone   bool
}

// The stages of a handshake.
const (
	stageSilent     = iota
	stageIdentified // the client has sent its identification
	stageRecognized // the client has offered an authorized key
)

func newStartups(max, maxPerSource int) *startups {
	return &startups{
		max: max, maxPerSource: maxPerSource, random: rand.IntN, sources: map[netip.Prefix][]*startup{},
	}
}

// admit registers a connection. drop is called, at most once and without a lock held, when another one takes its place.
func (s *startups) admit(addr netip.Addr, drop func()) *startup {
	st := &startup{source: source.Of(addr), drop: drop}
	s.mu.Lock()
	victim := s.victim(st.source)
	if victim != nil {
		s.remove(victim)
	}
	s.sources[st.source] = append(s.sources[st.source], st)
	s.total++
	s.mu.Unlock()
	if victim != nil {
		victim.drop()
	}
	return st
}

// victim returns the connection that goes if one of from comes; nil while there is room.
func (s *startups) victim(from netip.Prefix) *startup {
	list := s.sources[from]
	switch {
	case len(list) >= s.maxPerSource:
	case s.total >= s.max:
		for _, other := range s.sources {
			if len(other) > len(list) {
				list = other
			}
		}
	default:
		return nil
	}
	candidates := below(stageRecognized, list)
	candidates = candidates[:(len(candidates)+1)/2]
	candidates = below(stageIdentified, candidates)
	return candidates[s.random(len(candidates))]
}

// below returns those of list that have not come to a stage, or all of them if all have.
func below(stage int32, list []*startup) []*startup {
	less := slices.DeleteFunc(slices.Clone(list), func(st *startup) bool { return st.stage.Load() >= stage })
	if len(less) == 0 {
		return list
	}
	return less
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
			list = slices.Delete(list, i, i+1)
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
