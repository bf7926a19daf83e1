package watch

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Source is what is watched: *lifecycle.Manager, or a fake in tests. It calls [Boards.Changed].
type Source interface {
	// Look returns what a poll of a service would be answered now, without being one. It may take its time. A result
	// whose LogsDue is set is followed by a call of Changed.
	Look(ctx context.Context, k outpost.Key) (outpost.PollResult, error)
	// Services returns the keys of a hub's services, with all whose start was accepted before the call.
	Services(ctx context.Context, hub string) ([]outpost.Key, error)
	// Reconciled is closed when left-overs of earlier processes are dealt with.
	Reconciled() <-chan struct{}
}

// Boards are the boards of the hubs that watch. It is safe for concurrent use.
type Boards struct {
	source Source

	mu          sync.RWMutex
	byHub       map[string]*board
	closed      bool
	work        sync.WaitGroup
	maintenance *catalog.Maintenance // that is announced; nil for none
}

// New makes Boards without any.
func New(source Source) *Boards { return &Boards{source: source, byHub: map[string]*board{}} }

// Changed says that what a poll of a service would be answered may have changed. It never waits.
func (s *Boards) Changed(k outpost.Key) {
	s.mu.RLock()
	b := s.byHub[k.Hub]
	s.mu.RUnlock()
	if b != nil {
		b.changed(k)
	}
}

// Announce tells all watches of a maintenance, or with nil of its end, unless they know it. It never waits.
func (s *Boards) Announce(m *catalog.Maintenance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if reflect.DeepEqual(s.maintenance, m) {
		return
	}
	s.maintenance = m
	for _, b := range s.byHub {
		b.announce(m)
	}
}

// Open begins a watch of a hub's services. The error is KindUnavailable if the hub has too many, or that of the Source.
func (s *Boards) Open(ctx context.Context, hub string) (*Watch, error) {
	w, err := s.join(hub)
	if err != nil {
		return nil, err
	}
	keys, err := s.source.Services(ctx, hub)
	if err != nil {
		w.Close()
		return nil, err
	}
	w.board.begin(keys)
	return w, nil
}

// join adds a watch to the board of its hub, which is made for the first one.
func (s *Boards) join(hub string) (*Watch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.byHub[hub]
	switch {
	case s.closed:
		return nil, outpost.Errorf(outpost.KindUnavailable, "The outpost is restarting; try again.")
	case b != nil && b.count() >= PerHub:
		return nil, &outpost.Error{Kind: outpost.KindUnavailable, Reason: "watches", Message: fmt.Sprintf(
			"The hub has %d watches open, which is the limit; try again later.", PerHub)}
	case b == nil:
		b = newBoard(s, hub)
		b.maintenance = s.maintenance
		s.byHub[hub] = b
		s.work.Go(b.keep)
	}
	w := &Watch{board: b, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	w.begun = b.seq
	b.watches[w] = struct{}{}
	return w, nil
}

// leave takes a watch away, and its board with the last one.
func (s *Boards) leave(w *Watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := w.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, open := b.watches[w]; !open {
		return
	}
	delete(b.watches, w)
	close(w.ended)
	if len(b.watches) == 0 {
		delete(s.byHub, b.hub)
		b.end()
	}
}

// Counts returns how many watches are open, by hub.
func (s *Boards) Counts() map[string]int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	counts := make(map[string]int, len(s.byHub))
	for hub, b := range s.byHub {
		counts[hub] = b.count()
	}
	return counts
}

// Close ends all watches and returns when nothing is looked at any more. No other can be opened.
func (s *Boards) Close() {
	s.mu.Lock()
	s.closed = true
	for hub, b := range s.byHub {
		b.mu.Lock()
		for w := range b.watches {
			delete(b.watches, w)
			close(w.ended)
		}
		b.end()
		b.mu.Unlock()
		delete(s.byHub, hub)
	}
	s.mu.Unlock()
	s.work.Wait()
}
