package source

import (
	"net/netip"
	"slices"
	"sync"
)

// Queue is a bounded set of connections whose ends have yet to prove who they are. A new one over a bound is taken in
// all the same and the oldest goes: that of its own source, or over the total that of the source with the most. Who
// floods pushes out the own connections first, and an honest end needs its place only for as long as a login takes.
// It is safe for concurrent use.
type Queue struct {
	max, maxPerSource int

	mu       sync.Mutex
	total    int
	bySource map[netip.Prefix][]*Place // oldest first
}

// Place is the place of one connection in a Queue.
type Place struct {
	source netip.Prefix
	drop   func()
	gone   bool
}

// NewQueue returns an empty Queue for at most max connections, of which maxPerSource may be of one source.
func NewQueue(max, maxPerSource int) *Queue {
	return &Queue{max: max, maxPerSource: maxPerSource, bySource: map[netip.Prefix][]*Place{}}
}

// Add takes a connection in. drop, which ends it, is called at most once, by the Add that needs its place.
func (q *Queue) Add(source netip.Prefix, drop func()) *Place {
	p := &Place{source: source, drop: drop}
	q.mu.Lock()
	victim := q.victim(source)
	if victim != nil {
		q.remove(victim)
	}
	q.bySource[source] = append(q.bySource[source], p)
	q.total++
	q.mu.Unlock()
	if victim != nil {
		victim.drop()
	}
	return p
}

// victim returns which connection makes room for one of source; nil if there is room.
func (q *Queue) victim(source netip.Prefix) *Place {
	most := q.bySource[source]
	if len(most) < q.maxPerSource {
		if q.total < q.max {
			return nil
		}
		for _, list := range q.bySource {
			if len(list) > len(most) {
				most = list
			}
		}
	}
	if len(most) == 0 {
		return nil
	}
	return most[0]
}

// Remove takes a connection out and reports whether it still had its place.
func (q *Queue) Remove(p *Place) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if p.gone {
		return false
	}
	q.remove(p)
	return true
}

func (q *Queue) remove(p *Place) {
	p.gone = true
	q.total--
	list := q.bySource[p.source]
	if i := slices.Index(list, p); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(q.bySource, p.source)
		return
	}
	q.bySource[p.source] = list
}

// Len returns how many connections have a place.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.total
}
