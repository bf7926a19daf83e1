package sshd

import (
	"sync"
	"time"
)

// A connection moves much data once it has moved moverPieces pieces of at least bulkPiece, until it moves less than
// moverBytes in moverLook.
const (
	moverPieces = 64
	moverBytes  = 1 << 20
	moverLook   = 500 * time.Millisecond
)

// movers are the connections that move much data.
type movers struct {
	changed func(connections int) // may be nil

	mu    sync.Mutex
	moved map[*conn]int64 // bytes up to the last look
	next  *time.Timer     // the next look, while there are any
}

// piece counts a piece of at least bulkPiece that a connection has moved.
func (m *movers) piece(c *conn) {
	if m.changed == nil || c.pieces.Add(1)%moverPieces != 0 || c.moves.Load() {
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
		m.next = time.AfterFunc(moverLook, m.look)
	}
}

// look forgets those that have become slow.
func (m *movers) look() {
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
		m.next.Reset(moverLook)
	}
}

// stop forgets all; no connection may be left.
func (m *movers) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.moved) > 0 {
		clear(m.moved)
		m.next.Stop()
		m.changed(0)
	}
}
