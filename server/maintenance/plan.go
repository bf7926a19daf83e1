// Package maintenance knows when an outpost starts no servers, by its configuration file and by what operators have
// told it, and ends those that run where that is announced.
package maintenance

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Store keeps what `outpost drain` has announced ([outpost.Store]).
type Store interface {
	Maintenance(ctx context.Context) (*outpost.Maintenance, error)
}

// Plan is what is announced, in the file and in the database. It is safe for concurrent use.
type Plan struct {
	store      Store
	now        func() time.Time
	configured atomic.Pointer[outpost.Maintenance]
}

// New returns the Plan of an outpost whose file says nothing. now is the wall clock.
func New(store Store, now func() time.Time) *Plan { return &Plan{store: store, now: now} }

// Configure replaces what the file says; nil is nothing.
func (p *Plan) Configure(m *outpost.Maintenance) { p.configured.Store(m) }

// Next returns the present maintenance or the next one, nil if there is none. Of several present ones it is that which
// ends last; servers are ended by it if any of these ends them. The error is the Store's.
func (p *Plan) Next(ctx context.Context) (*outpost.Maintenance, error) {
	m, _, err := p.Both(ctx)
	return m, err
}

// Both returns what Next returns, and the present maintenance or the next one of those that end servers, nil if there
// is none: another one that lets them run, whenever it is, changes nothing about it. The error is the Store's.
func (p *Plan) Both(ctx context.Context) (m, eviction *outpost.Maintenance, err error) {
	drained, err := p.store.Maintenance(ctx)
	if err != nil {
		return nil, nil, err
	}
	evicting := func(m *outpost.Maintenance) *outpost.Maintenance {
		if m == nil || !m.Evict {
			return nil
		}
		return m
	}
	now, configured := p.now(), p.configured.Load()
	return next(now, configured, drained), next(now, evicting(configured), evicting(drained)), nil
}

// next is Next at a time, of two that may be nil or over.
func next(now time.Time, a, b *outpost.Maintenance) *outpost.Maintenance {
	if a == nil || a.Over(now) {
		a, b = b, nil
	}
	switch {
	case a == nil || a.Over(now):
		return nil
	case b == nil || b.Over(now):
		return a
	case a.Active(now) && b.Active(now):
		both := *a
		if !a.Until.IsZero() && (b.Until.IsZero() || b.Until.After(a.Until)) {
			both = *b
		}
		both.Evict = a.Evict || b.Evict
		return &both
	case b.From.Before(a.From):
		return b
	}
	return a
}

// Shown is a maintenance as hubs show it; nil if there is none, or it is over.
func Shown(m *outpost.Maintenance, now time.Time) *catalog.Maintenance {
	if m == nil || m.Over(now) {
		return nil
	}
	shown := &catalog.Maintenance{From: m.From.UTC(), Text: m.Text, Evict: m.Evict, Active: m.Active(now)}
	if !m.Until.IsZero() {
		shown.Until = new(m.Until.UTC())
	}
	return shown
}
