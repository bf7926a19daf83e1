package source

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// Queue is a bounded set of connections whose ends have yet to prove who they are. A new one is always taken in; over a
// bound another one goes for it: one of its own source, or over the total one of the source with the most. Who floods
// pushes out the own connections first, and an honest end needs its place only for as long as a login takes. It is safe
// for concurrent use.
type Queue struct {
	max, maxPerSource int
	choose            func([]*Place) *Place

	mu       sync.Mutex
	total    int
	bySource map[netip.Prefix][]*Place // oldest first
}

// Place is the place of one connection in a Queue.
type Place struct {
	source netip.Prefix
	drop   func()
	gone   bool
	stage  atomic.Int32
}

// Advance notes that a connection has come to a stage of its login, later ones being greater; it begins at 0.
func (p *Place) Advance(stage int32) { p.stage.Store(stage) }

// Below returns those of a list that have not come to a stage, or all of them if all have.
func Below(stage int32, list []*Place) []*Place {
	less := slices.DeleteFunc(slices.Clone(list), func(p *Place) bool { return p.stage.Load() >= stage })
	if len(less) == 0 {
		return list
	}
	return less
}

// Oldest returns the first of a list.
func Oldest(list []*Place) *Place { return list[0] }

// NewQueue returns an empty Queue for at most max connections, of which maxPerSource may be of one source. choose
// returns which of a source's connections, the oldest first, goes for another one, such as [Oldest].
func NewQueue(max, maxPerSource int, choose func([]*Place) *Place) *Queue {
	return &Queue{max: max, maxPerSource: maxPerSource, choose: choose, bySource: map[netip.Prefix][]*Place{}}
}

// Add takes a connection in. drop, which ends it, is called at most once and without a lock held: when another one
// needs the place.
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
	list := q.bySource[source]
	if len(list) < q.maxPerSource {
		if q.total < q.max {
			return nil
		}
		for _, other := range q.bySource {
			if len(other) > len(list) {
				list = other
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	return q.choose(list)
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

// DropAll ends all connections.
func (q *Queue) DropAll() {
	q.mu.Lock()
	all := slices.Concat(slices.Collect(maps.Values(q.bySource))...)
	for _, p := range all {
		q.remove(p)
	}
	q.mu.Unlock()
	for _, p := range all {
		p.drop()
	}
}

// Len returns how many connections have a place.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.total
}
