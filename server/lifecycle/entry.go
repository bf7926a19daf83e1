package lifecycle

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
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

// phaseOf is where a service is by its row.
func phaseOf(s outpost.Summary) phase {
	switch {
	case s.StopPending:
		return phaseStopping
	case s.StartPending:
		return phaseStarting
	}
	return phaseRunning
}

// standing is where a service stands at one moment.
type standing struct {
	phase   phase
	owned   bool          // a goroutine of this process starts or removes it
	state   outpost.State // replaced, never changed
	address string
	end     time.Time
}

// ending is what the first poll that found a service ended has seen.
type ending struct {
	code   int
	reason string // Kubernetes' word
	logs   []string
}

// entry is a service in memory. What is above mu never changes.
type entry struct {
	outpost.Key
	user      string
	userID    int
	flavor    string
	startDate time.Time
	calls     outpost.Callbacks // where the hub wants to be told; from the request's environment
	async     bool
	unopened  bool // its row cannot be opened: it is neither polled nor removed

	// accepted is closed when the row is in the database (or acceptErr is set); gone when pod and row are gone; tried
	// when a try to remove them has failed.
	accepted, gone, tried chan struct{}
	triedOnce, goneOnce   sync.Once
	acceptErr             error // set before accepted is closed

	// seen is when the service was last polled, in Unix nanoseconds; written is what the Store knows of it.
	seen, written atomic.Int64

	attempt atomic.Pointer[attempt] // the last one; nil if this process has begun none
	ended   atomic.Pointer[ending]  // nil until a poll has found it ended, and its log is read
	marked  atomic.Bool             // the Store knows that it is being stopped
	yielded atomic.Bool             // its key is left to another start

	mu sync.Mutex
	standing
	sign   sign
	report chan struct{} // closed when ended is set; nil until a poll has found it ended
}

// sign is the LastUpdate of a row that another process works on, and since when it has been that by this process's
// clock.
type sign struct{ at, since time.Time }

// newEntry makes an entry in memory for a service.
func newEntry(s outpost.Service, calls outpost.Callbacks) *entry {
	e := &entry{
		Key: s.Key, user: s.Body.Env[outpost.EnvUser], userID: s.UserID, flavor: s.Flavor, startDate: s.StartDate,
		calls: calls, accepted: make(chan struct{}), gone: make(chan struct{}), tried: make(chan struct{}),
		standing: standing{phase: phaseOf(s.Summary), state: s.State, address: s.Address, end: s.EndDate},
	}
	e.async, _ = s.State[stateAsync].(bool)
	e.seen.Store(s.LastUpdate.UnixNano())
	e.written.Store(s.LastUpdate.UnixNano())
	return e
}

// subject names the service for an Observer.
func (e *entry) subject() outpost.Subject {
	return outpost.Subject{Key: e.Key, User: e.user, UserID: e.userID, Flavor: e.flavor, State: e.current().state}
}

// current returns where the service stands.
func (e *entry) current() standing {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.standing
}

// isStart reports whether a row of this key is that of this very start, not of an earlier or later one.
func (e *entry) isStart(row outpost.Summary) bool { return e.startDate.Equal(row.StartDate) }

// namespace is where the service's pod is or will be.
func (e *entry) namespace() string {
	name, _ := e.current().state["namespace"].(string)
	return name
}

// polled notes a sign that the hub knows the service (protocol 2.11).
func (e *entry) polled(at time.Time) {
	if !e.unopened {
		e.seen.Store(at.UnixNano())
	}
}

// lastPoll is when the service was last polled.
func (e *entry) lastPoll() time.Time { return time.Unix(0, e.seen.Load()).UTC() }

// silent returns for how long a row's LastUpdate has not changed. Clocks of two machines are never compared.
func (e *entry) silent(lastUpdate time.Time) time.Duration {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sign.since.IsZero() || !e.sign.at.Equal(lastUpdate) {
		e.sign = sign{at: lastUpdate, since: now}
	}
	return now.Sub(e.sign.since)
}

// take lets a goroutine of this process work on the service; false if one does. A start brings the function that
// cancels it.
func (e *entry) take(p phase, cancel context.CancelFunc) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.owned {
		return false
	}
	e.owned, e.phase = true, p
	if cancel != nil {
		e.attempt.Store(&attempt{cancel: cancel, ended: make(chan struct{})})
	}
	return true
}

// release says that no goroutine of this process works on the service any more.
func (e *entry) release() {
	e.mu.Lock()
	e.owned = false
	e.mu.Unlock()
}

// cancelStart cancels the start of the service, if this process has begun one; false if it has not.
func (e *entry) cancelStart() bool {
	a := e.attempt.Load()
	if a == nil {
		return false
	}
	a.cancel()
	return true
}

// waitStart waits until the start of the service has ended, if this process has begun one.
func (e *entry) waitStart() {
	if a := e.attempt.Load(); a != nil {
		<-a.ended
	}
}

func (e *entry) markTried() { e.triedOnce.Do(func() { close(e.tried) }) }
func (e *entry) markGone()  { e.goneOnce.Do(func() { close(e.gone) }) }

// isDone reports whether a channel that is only ever closed is closed.
func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
