package watch

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/outpost"
)

const (
	quickLooks  = 4                     // of one hub's services at once: most need memory only
	looksAtOnce = 256                   // the same while none of them ends
	stallAfter  = 20 * time.Millisecond // after which none has ended
	lookTimeout = 30 * time.Second      // of one
	retryEvery  = time.Second           // to look again at what is unknown
	lookEvery   = 30 * time.Second      // to look at all that runs, whatever was signalled
	maxGone     = 1024                  // services that are gone and kept for watches that have not been told
)

// record is what was last found of a service.
type record struct {
	key    outpost.Key
	seq    uint64 // of its last change
	kind   Kind   // KindService, KindGone or KindUnknown
	result outpost.PollResult
}

// place is where a record was put when it changed; one whose record has changed since is stale.
type place struct {
	seq    uint64
	record *record
}

// look is a service that is being looked at, or waits for it.
type look struct {
	again bool // it has changed meanwhile
	due   bool // no snapshot is complete without it
}

// board is what is known of one hub's services.
type board struct {
	boards *Boards
	hub    string
	ctx    context.Context // of its looks
	end    context.CancelFunc

	mu      sync.Mutex
	watches map[*Watch]struct{}
	records map[outpost.Key]*record
	log     []place // by seq
	seq     uint64  // of the last change
	horizon uint64  // a service that went at this seq is forgotten
	live    int     // records of services that are not gone

	maintenance *catalog.Maintenance // that is announced; nil for none

	looks   map[outpost.Key]look
	queue   []outpost.Key // of looks that nobody has begun
	lookers int
	busy    int           // lookers that are looking
	ended   int           // looks, ever
	crowded chan struct{} // capacity 1; there are more looks than lookers
	due     int           // looks that are due, and not ended
	settled bool          // left-overs are reconciled: what is looked at from now on holds
}

func newBoard(s *Boards, hub string) *board {
	b := &board{
		boards: s, hub: hub, watches: map[*Watch]struct{}{}, records: map[outpost.Key]*record{},
		looks: map[outpost.Key]look{}, crowded: make(chan struct{}, 1),
	}
	b.ctx, b.end = context.WithCancel(context.Background())
	select {
	case <-s.source.Reconciled():
		b.settled = true
	default:
	}
	return b
}

// count returns how many watches the board has.
func (b *board) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.watches)
}

// complete reports whether all that the hub has is in the log. b.mu must be held.
func (b *board) complete() bool { return b.settled && b.due == 0 }

// begin looks at the services of a new watch that are not known yet.
func (b *board) begin(keys []outpost.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range keys {
		if r := b.records[k]; r == nil || r.kind == KindGone {
			b.look(k, true)
		}
	}
}

// changed lets a service be looked at. It never waits.
func (b *board) changed(k outpost.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.look(k, false)
}

// look lets a service be looked at, once more if that has begun. b.mu must be held.
func (b *board) look(k outpost.Key, due bool) {
	if b.ctx.Err() != nil {
		return
	}
	l, looking := b.looks[k]
	if due && !l.due {
		b.due++
	}
	b.looks[k] = look{again: looking, due: l.due || due}
	if looking {
		return
	}
	b.queue = append(b.queue, k)
	if b.staff(quickLooks); b.short() {
		select {
		case b.crowded <- struct{}{}:
		default:
		}
	}
}

// short reports whether there are more looks than lookers for them. b.mu must be held.
func (b *board) short() bool { return len(b.queue) > b.lookers-b.busy }

// staff lets up to so many lookers work, if there is something for them. b.mu must be held.
func (b *board) staff(most int) {
	for b.short() && b.lookers < most {
		b.lookers++
		b.boards.work.Go(b.work)
	}
}

// work looks at services until none waits.
func (b *board) work() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.queue) > 0 && b.ctx.Err() == nil {
		k := b.queue[0]
		b.queue = b.queue[1:]
		due := b.looks[k].due
		b.looks[k] = look{} // what has changed until now is about to be seen
		b.busy++
		b.mu.Unlock()

		limited, cancel := context.WithTimeout(b.ctx, lookTimeout)
		result, err := b.boards.source.Look(limited, k)
		cancel()

		b.mu.Lock()
		b.busy--
		b.ended++
		if b.ctx.Err() == nil {
			b.put(k, result, err)
			b.looked(k, due)
		}
	}
	b.lookers--
	b.queue = nil
}

// looked ends one look, and lets the next of the same service begin. b.mu must be held.
func (b *board) looked(k outpost.Key, due bool) {
	l := b.looks[k]
	if l.again {
		b.queue = append(b.queue, k)
		l.due = false // that is of the next one
	} else {
		delete(b.looks, k)
	}
	for _, was := range []bool{due, l.due} {
		if !was {
			continue
		}
		if b.due--; b.due == 0 {
			b.wake()
		}
	}
}

// await makes all that is being looked at a part of the next snapshot. b.mu must be held.
func (b *board) await() {
	for k, l := range b.looks {
		if !l.due {
			l.due = true
			b.looks[k] = l
			b.due++
		}
	}
}

// put writes what was found of a service. b.mu must be held.
func (b *board) put(k outpost.Key, result outpost.PollResult, err error) {
	kind := KindService
	switch {
	case err != nil && outpost.KindOf(err) == outpost.KindNotFound:
		kind, result = KindGone, outpost.PollResult{}
	case err != nil:
		kind, result = KindUnknown, outpost.PollResult{}
	}
	r := b.records[k]
	switch {
	case r == nil && kind == KindGone:
		return
	case r == nil:
		r = &record{key: k, kind: KindGone}
		b.records[k] = r
	case r.kind == kind && equal(r.result, result):
		return
	}
	if r.kind == KindGone {
		b.live++
	}
	if kind == KindGone {
		b.live--
	}
	b.seq++
	r.seq, r.kind, r.result = b.seq, kind, result
	b.log = append(b.log, place{b.seq, r})
	if len(b.log) > 2*(b.live+maxGone) {
		b.compact()
	}
	b.wake()
}

// compact drops stale places, and services that are gone but for the last ones. b.mu must be held.
func (b *board) compact() {
	gone, kept := 0, len(b.log)
	for i := len(b.log) - 1; i >= 0; i-- {
		at := b.log[i]
		if at.seq != at.record.seq {
			continue
		}
		if at.record.kind == KindGone {
			if gone++; gone > maxGone {
				b.horizon = max(b.horizon, at.seq)
				delete(b.records, at.record.key)
				continue
			}
		}
		kept--
		b.log[kept] = at
	}
	b.log = slices.Clone(b.log[kept:])
}

// announce takes over what is announced.
func (b *board) announce(m *catalog.Maintenance) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.maintenance = m
	b.wake()
}

// wake wakes those who wait for a change. b.mu must be held.
func (b *board) wake() {
	for w := range b.watches {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// keep looks again at what is unknown, and from time to time at all that runs, until the board ends.
func (b *board) keep() {
	ticker := time.NewTicker(retryEvery)
	defer ticker.Stop()
	reconciled := b.boards.source.Reconciled()
	var stalled <-chan time.Time
	var ended int
	for last := time.Now(); ; {
		select {
		case <-b.ctx.Done():
			return
		case <-reconciled:
			reconciled = nil
			b.settle()
		case <-b.crowded:
			if stalled == nil {
				stalled = time.After(stallAfter)
			}
		case <-stalled:
			if stalled = nil; b.relieve(&ended) {
				stalled = time.After(stallAfter)
			}
		case now := <-ticker.C:
			all := now.Sub(last) >= lookEvery
			if all {
				last = now
			}
			b.retry(all)
		}
	}
}

// relieve gives looks that wait more lookers if none has ended since the last call, which the number of them tells. It
// reports whether there are such looks.
func (b *board) relieve(ended *int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended == *ended && b.ctx.Err() == nil {
		b.staff(looksAtOnce)
	}
	*ended = b.ended
	return len(b.queue) > 0
}

// settle looks again at everything: until now a poll of a service that had ended was answered "running".
func (b *board) settle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.settled {
		return
	}
	b.settled = true
	for k := range b.looks {
		b.look(k, true)
	}
	for k := range b.records {
		b.look(k, true)
	}
	b.wake()
}

// retry looks again at services that are unknown, or at all but those that have ended.
func (b *board) retry(all bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, r := range b.records {
		if r.kind == KindUnknown || all && r.kind == KindService && !r.result.Ended {
			b.look(k, false)
		}
	}
}
