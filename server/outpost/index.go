package outpost

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// phase is where a service is in its life, as this process knows it.
type phase int

const (
	phaseStarting phase = iota // its start is under way, here or elsewhere
	phaseRunning               // started; the pod may have ended meanwhile
	phaseFailed                // its start failed; it is being removed
	phaseStopping              // it is being removed
)

func (p phase) String() string {
	return [...]string{"starting", "running", "stopping", "stopping"}[p]
}

// entry is a service in memory. What is above mu never changes.
type entry struct {
	Key
	userID    int
	flavor    string
	startDate time.Time
	calls     callbacks // where the hub wants to be told; from the request's environment
	async     bool
	unopened  bool // its row cannot be opened: it is neither polled nor removed

	// accepted is closed when the row is in the database (or acceptErr is set); gone when pod and row are gone; tried
	// when a try to remove them has failed.
	accepted, gone, tried chan struct{}
	triedOnce, goneOnce   sync.Once

	// seen is when the service was last polled, in Unix nanoseconds; written is what the Store knows of it.
	seen, written atomic.Int64

	mu        sync.Mutex
	started   chan struct{} // closed when the start has ended: address or startErr is set
	phase     phase
	owned     bool // a goroutine of this process starts or removes it
	cancel    context.CancelFunc
	marked    bool  // the Store knows that it is being stopped
	state     State // replaced, never changed
	address   string
	end       time.Time
	acceptErr error
	startErr  error
	sign      sign
	ended     bool // a poll has found it ended: logs and exit code are those of then
	logs      []string
	code      int
}

// sign is the LastUpdate of a row that another process works on, and since when it has been that by this process's clock.
type sign struct{ at, since time.Time }

// silent tells how long a row's LastUpdate has not changed. Clocks of two machines are never compared.
func (e *entry) silent(lastUpdate time.Time) time.Duration {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sign.since.IsZero() || !e.sign.at.Equal(lastUpdate) {
		e.sign = sign{at: lastUpdate, since: now}
	}
	return now.Sub(e.sign.since)
}

// newEntry makes an entry in memory for a service; its start, if it has one, is not of this process.
func newEntry(s Service, calls callbacks) *entry {
	e := &entry{
		Key: s.Key, userID: s.UserID, flavor: s.Flavor, startDate: s.StartDate, calls: calls,
		accepted: make(chan struct{}), started: make(chan struct{}), gone: make(chan struct{}), tried: make(chan struct{}),
		state: s.State, address: s.Address, end: s.EndDate,
	}
	switch {
	case s.StopPending:
		e.phase = phaseStopping
	case s.StartPending:
		e.phase = phaseStarting
	default:
		e.phase = phaseRunning
	}
	e.seen.Store(s.LastUpdate.UnixNano())
	e.written.Store(s.LastUpdate.UnixNano())
	return e
}

// isDone tells whether a channel that is only ever closed is closed.
func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// index finds services in memory. Lock order: an entry's mu before the index's.
type index struct {
	mu      sync.RWMutex
	byKey   map[Key]*entry
	byHub   map[string]map[Key]*entry
	permits map[permit]*entry
}

func newIndex() *index {
	return &index{byKey: map[Key]*entry{}, byHub: map[string]map[Key]*entry{}, permits: map[permit]*entry{}}
}

// get returns the entry of a key, or nil.
func (x *index) get(k Key) *entry {
	x.mu.RLock()
	e := x.byKey[k]
	x.mu.RUnlock()
	return e
}

// add adds an entry unless its key is taken, and returns the one that is in the index now.
func (x *index) add(e *entry) (current *entry, added bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if old := x.byKey[e.Key]; old != nil {
		return old, false
	}
	x.byKey[e.Key] = e
	hub := x.byHub[e.Hub]
	if hub == nil {
		hub = map[Key]*entry{}
		x.byHub[e.Hub] = hub
	}
	hub[e.Key] = e
	return e, true
}

// remove removes an entry, if it is still the one of its key.
func (x *index) remove(e *entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byKey[e.Key] != e {
		return
	}
	delete(x.byKey, e.Key)
	delete(x.byHub[e.Hub], e.Key)
	if len(x.byHub[e.Hub]) == 0 {
		delete(x.byHub, e.Hub)
	}
}

// allow lets e's hub open an address; forbid takes it back, unless another service has the address by now.
func (x *index) allow(e *entry, p permit) {
	x.mu.Lock()
	x.permits[p] = e
	x.mu.Unlock()
}

func (x *index) forbid(e *entry, p permit) {
	x.mu.Lock()
	if x.permits[p] == e {
		delete(x.permits, p)
	}
	x.mu.Unlock()
}

// permitted returns the running service that has the address, nil for none.
func (x *index) permitted(p permit) *entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.permits[p]
}

// all returns every entry, of one hub if hub is not empty.
func (x *index) all(hub string) []*entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	from := x.byKey
	if hub != "" {
		from = x.byHub[hub]
	}
	es := make([]*entry, 0, len(from))
	for _, e := range from {
		es = append(es, e)
	}
	return es
}
