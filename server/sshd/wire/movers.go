package wire

import (
	"sync"
	"sync/atomic"
	"time"
)

// BulkPiece is what a piece of much data has at least: half a packet, so that the rest of one of which a small buffer
// took the beginning counts too.
const BulkPiece = BriefSize / 2

// A connection moves much data once it has moved moverPieces pieces of at least BulkPiece, until it moves less than
// moverBytes in MoverLook.
const (
	moverPieces = 64
	moverBytes  = 1 << 20
	// MoverLook is how often connections that move much are looked at.
	MoverLook = 500 * time.Millisecond
)

// Movers are the connections that move much data. Its methods are safe for concurrent use.
type Movers struct {
	every   time.Duration         // between two looks
	changed func(connections int) // may be nil

	mu    sync.Mutex
	moved map[*Mover]int64 // bytes up to the last look
	next  *time.Timer      // the next look, while there are any
}

// Mover is a connection that may move much data.
type Mover struct {
	movers *Movers
	bytes  func() int64
	pieces atomic.Int64 // large ones
	moves  atomic.Bool  // it is one of the movers
}

// NewMovers returns none, to be looked at each time that so much time has passed. changed is called with their number
// each time that it changes, one call at a time; it may be nil.
func NewMovers(every time.Duration, changed func(connections int)) *Movers {
	return &Movers{every: every, changed: changed, moved: map[*Mover]int64{}}
}

// Mover returns a connection of which bytes says what it has moved, ever.
func (m *Movers) Mover(bytes func() int64) *Mover { return &Mover{movers: m, bytes: bytes} }

// Piece counts a piece of n bytes that the connection has moved.
func (c *Mover) Piece(n int) {
	m := c.movers
	if n < BulkPiece || m.changed == nil || c.pieces.Add(1)%moverPieces != 0 || c.moves.Load() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.moves.Swap(true) {
		return // by another channel
	}
	m.moved[c] = c.bytes()
	m.changed(len(m.moved))
	if len(m.moved) == 1 {
		m.next = time.AfterFunc(m.every, m.Look)
	}
}

// Look forgets those that have become slow since the look before. A test whose looks are far apart calls it itself.
func (m *Movers) Look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.moved)
	for c, last := range m.moved {
		now := c.bytes()
		m.moved[c] = now
		if now-last < moverBytes {
			delete(m.moved, c)
			c.moves.Store(false)
		}
	}
	if len(m.moved) != before {
		m.changed(len(m.moved))
	}
	if len(m.moved) > 0 {
		m.next.Reset(m.every)
	}
}

// Stop forgets all; no connection may be left.
func (m *Movers) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.moved) > 0 {
		clear(m.moved)
		m.next.Stop()
		m.changed(0)
	}
}
