package outpost

import (
	"strings"
	"time"
)

// Maintenance is a time in which the outpost starts no servers; those that run go on, unless Evict ends them at its
// beginning.
type Maintenance struct {
	From  time.Time
	Until time.Time // zero until somebody ends it
	Text  string    // a sentence for users; may be empty
	Evict bool
}

// Over reports whether it has ended at a time.
func (m Maintenance) Over(now time.Time) bool { return !m.Until.IsZero() && !now.Before(m.Until) }

// Active reports whether it has begun at a time, and has not ended.
func (m Maintenance) Active(now time.Time) bool { return !now.Before(m.From) && !m.Over(now) }

// Refusal is the error of a start while it is active.
func (m Maintenance) Refusal() *Error {
	sentence := "This system is in maintenance"
	if !m.Until.IsZero() {
		sentence += " until " + m.Until.UTC().Format("2006-01-02 15:04 MST")
	}
	return &Error{
		Kind: KindUnavailable, Reason: "maintenance", Message: strings.TrimSpace(sentence + ". " + m.Text),
	}
}
