package lifecycle

import (
	"context"

	"github.com/outposts-dev/outposts/server/outpost"
)

// claim is whose row the key of a start has.
type claim int

const (
	rowNone    claim = iota // there is none
	rowOwn                  // the start's own
	rowAnother              // that of another start, or one that cannot be opened
)

// rowOf reads whose row the key of an entry has, trying until the database answers; known is false if the process
// ends before.
func (m *Manager) rowOf(e *entry) (row claim, known bool) {
	for retry := newBackoff(); ; {
		row, err := m.readRow(e)
		if err == nil {
			return row, true
		}
		m.logger(e).Warn("row cannot be read yet", "err", err)
		if !retry.wait(m.base) {
			return row, false
		}
	}
}

// readRow is one try of rowOf. The error means that the database does not answer.
func (m *Manager) readRow(e *entry) (claim, error) {
	ctx, cancel := context.WithTimeout(m.base, storeTimeout)
	defer cancel()
	s, err := m.store.Get(ctx, e.Key)
	if err == nil {
		if e.isStart(s.Summary) {
			return rowOwn, nil
		}
		return rowAnother, nil
	}
	switch err = storeError(err); outpost.KindOf(err) {
	case outpost.KindNotFound:
		return rowNone, nil
	case outpost.KindUnavailable:
		return rowNone, err
	}
	return rowAnother, nil // also if it cannot be opened: this process has just sealed its own
}

// takeBack undoes an insert of which the database has not said whether it was done. Only a row of this very start is
// removed: the hub may have sent the start again, to another process, whose row and pod have the same key. Until that
// is known polls are answered "running".
func (m *Manager) takeBack(e *entry) {
	row, known := m.rowOf(e)
	switch {
	case !known:
		e.release()
	case !e.fail(): // the hub has asked for a stop meanwhile, which removes whatever has the key
	case row == rowOwn:
		m.remove(e, StopFailed)
	default:
		m.yield(e)
	}
}

// yield leaves the key of an entry to whoever has its row, or will have.
func (m *Manager) yield(e *entry) {
	m.logger(e).Info("start is left to another process")
	e.yielded.Store(true)
	m.forget(e)
	e.release()
}
