// Package watch tells hubs at once what changes about their services, so that they need not poll.
//
// A [Boards] has a board for each hub that watches: what a poll of each of its services would answer now, in the order
// of the last change. A [Watch] is a place in that order. It keeps nothing of its own, so that a slow reader costs no
// memory: when it comes back it gets the newest state of what has changed.
package watch

import (
	"context"
	"errors"
	"slices"
	"sort"
	"time"

	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/outpost"
)

const (
	// Heartbeat is after how long a watch says that it is alive, if there was nothing else to say.
	Heartbeat = 10 * time.Second
	// PerHub is how many watches a hub may have open.
	PerHub = 4
	// batch is how many events Next returns at once.
	batch = 64
)

// ErrEnded is the error of a watch that this process has ended.
var ErrEnded = errors.New("the watch has been ended")

// Kind says what an [Event] tells.
type Kind int

// The kinds of events (protocol 1.13).
const (
	KindService     Kind = iota // a poll of the service would be answered Result now
	KindGone                    // a poll would be answered 404
	KindUnknown                 // a poll would be answered neither
	KindSynced                  // all that the hub has was said; Services is how many there are
	KindResync                  // all that the hub has is said once more
	KindHeartbeat               // nothing has changed
	KindMaintenance             // another Maintenance is announced
)

// Event is one line of a watch.
type Event struct {
	Kind     Kind
	Key      outpost.Key        // of the first three
	Result   outpost.PollResult // of KindService
	Services int                // of KindSynced
	// Maintenance is of KindMaintenance; nil if it has ended.
	Maintenance *catalog.Maintenance
}

// Watch is what one reader has been told of a hub's services. Its methods are for one goroutine.
type Watch struct {
	board *board
	wake  chan struct{} // capacity 1
	ended chan struct{} // closed by Close, and when the process ends

	// Guarded by the board's lock.
	told   uint64 // seq of the last state that was told
	begun  uint64 // seq when the snapshot began: what went before is not part of it
	synced bool
	heard  *catalog.Maintenance // the announcement that was told last; nil for none
}

// Next waits for something to tell and returns it, a heartbeat if there is nothing for [Heartbeat]. The error is
// [ErrEnded], or that of ctx.
func (w *Watch) Next(ctx context.Context) ([]Event, error) {
	quiet := time.NewTimer(Heartbeat)
	defer quiet.Stop()
	for {
		select {
		case <-w.ended:
			return nil, ErrEnded
		case <-ctx.Done():
			return nil, ctx.Err()
		default:
		}
		if events := w.take(); len(events) > 0 {
			return events, nil
		}
		select {
		case <-w.wake:
		case <-w.ended:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-quiet.C:
			return []Event{{Kind: KindHeartbeat}}, nil
		}
	}
}

// take returns what is to be told now.
func (w *Watch) take() (events []Event) {
	b := w.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.heard != b.maintenance {
		w.heard = b.maintenance
		return []Event{{Kind: KindMaintenance, Maintenance: b.maintenance}}
	}
	if b.horizon > max(w.told, w.begun) {
		w.told, w.begun, w.synced = 0, b.seq, false
		b.await() // it may be of services whose start was answered before this moment
		return []Event{{Kind: KindResync}}
	}
	next := sort.Search(len(b.log), func(i int) bool { return b.log[i].seq > w.told })
	for ; next < len(b.log) && len(events) < batch; next++ {
		at := b.log[next]
		w.told = at.seq
		if r := at.record; r.seq == at.seq && (r.kind != KindGone || at.seq > w.begun) {
			events = append(events, Event{Kind: r.kind, Key: r.key, Result: r.result})
		}
	}
	if next == len(b.log) && !w.synced && b.complete() {
		w.synced = true
		events = append(events, Event{Kind: KindSynced, Services: b.live})
	}
	return events
}

// Close ends the watch. It may be called twice.
func (w *Watch) Close() { w.board.boards.leave(w) }

// equal reports whether two results are told in the same words.
func equal(a, b outpost.PollResult) bool {
	return a.Ended == b.Ended && a.ExitCode == b.ExitCode && a.KubeReason == b.KubeReason &&
		a.LogsDue == b.LogsDue && slices.Equal(a.Logs, b.Logs)
}
