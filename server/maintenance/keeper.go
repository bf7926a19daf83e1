package maintenance

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Servers are those of an outpost, and what is announced for them: *lifecycle.Manager.
type Servers interface {
	// Maintenance returns the present maintenance or the next one; nil if there is none.
	Maintenance(ctx context.Context) (*outpost.Maintenance, error)
	// Planned returns that, and the present or the next one of those that end servers; nil if there is none.
	Planned(ctx context.Context) (m, eviction *outpost.Maintenance, err error)
	// Announce tells hubs that watch what is announced now; nil is nothing. What they know already is not told again.
	Announce(shown *catalog.Maintenance)
	// Live returns the keys of all services that are not being stopped.
	Live() []outpost.Key
	// Tell sends a sentence to the hub of a service, for its user. One without a hub to call is no error.
	Tell(ctx context.Context, k outpost.Key, sentence string) error
	// Evict stops a service in whatever state it is. It does not wait.
	Evict(k outpost.Key)
}

const (
	followEvery = 5 * time.Second
	leadEvery   = 10 * time.Second
	tellTimeout = 20 * time.Second // of all that is told at once; the rest is told next time
	tellAtOnce  = 8
	remindEvery = time.Hour // the log of a maintenance without an end
	// clockJump is how far the wall clock may move away from the passing time. Then nobody is stopped for a while, nor
	// in a leader's first moments, when the clock may not be set yet: a wrong time would end everybody's work.
	clockJump = 30 * time.Second
	doubtFor  = time.Minute
)

// notices are how long before the beginning servers that it ends are told so.
var notices = []time.Duration{time.Hour, 10 * time.Minute}

// Keeper lets hubs and users know what is announced, and ends servers when that is.
type Keeper struct {
	servers Servers
	now     func() time.Time
	log     *slog.Logger
	state   atomic.Int64

	// Of Lead.
	about    time.Time           // the beginning that was told
	told     map[outpost.Key]int // how many notices
	reminded time.Time
	doubted  time.Time // when the clock jumped, or was first looked at
}

// NewKeeper returns the Keeper of some servers. now is the wall clock.
func NewKeeper(servers Servers, now func() time.Time, log *slog.Logger) *Keeper {
	return &Keeper{servers: servers, now: now, log: log, told: map[outpost.Key]int{}}
}

// State is 0 if nothing is announced, 1 before a maintenance, 2 in one.
func (k *Keeper) State() int { return int(k.state.Load()) }

// Follow tells hubs that watch what is announced, until ctx ends. Each process does so.
func (k *Keeper) Follow(ctx context.Context) error {
	for {
		if m, err := k.servers.Maintenance(ctx); err == nil { // else the database is away, which others report
			shown := Shown(m, k.now())
			k.servers.Announce(shown)
			switch {
			case shown == nil:
				k.state.Store(0)
			case shown.Active:
				k.state.Store(2)
			default:
				k.state.Store(1)
			}
		}
		if !sleep(ctx, followEvery) {
			return nil
		}
	}
}

// Lead tells users of servers that a maintenance ends, and ends them, until ctx ends. One process does so at a time;
// the next one knows nothing of what was told, and tells it again. It stops nobody within its first minute.
func (k *Keeper) Lead(ctx context.Context) {
	wall, mono := k.now().Round(0), time.Now()
	k.doubted = mono // nobody has seen this clock before
	for {
		now := k.now().Round(0)
		jump := now.Sub(wall) - time.Since(mono)
		wall, mono = now, time.Now()
		if jump.Abs() > clockJump {
			k.log.Warn("the clock has jumped; no server is stopped for a maintenance within a minute", "duration", jump)
			k.doubted = mono
		}
		if m, eviction, err := k.servers.Planned(ctx); err == nil {
			k.remind(m, now)
			k.step(ctx, eviction, now)
		}
		if !sleep(ctx, leadEvery) {
			return
		}
	}
}

// step does what is due at a time, of a maintenance that ends servers; nil is none.
func (k *Keeper) step(ctx context.Context, m *outpost.Maintenance, now time.Time) {
	switch {
	case m == nil || m.Over(now):
		k.callOff(ctx)
	case !m.Active(now):
		k.notify(ctx, *m, now)
	case time.Since(k.doubted) >= doubtFor:
		k.evict(m)
	}
}

// evict stops all servers, also those whose start is under way. A start that was admitted before the beginning, and was
// not there yet, is stopped the next time.
func (k *Keeper) evict(m *outpost.Maintenance) {
	live := k.servers.Live()
	if len(live) > 0 {
		k.log.Info("servers are stopped for a maintenance", "services", len(live), "from", m.From)
	}
	for _, key := range live {
		k.servers.Evict(key)
	}
	clear(k.told)
}

// notify tells users of servers that a maintenance will end what is due at a time. A server that starts late is told at
// once.
func (k *Keeper) notify(ctx context.Context, m outpost.Maintenance, now time.Time) {
	due := 0
	for due < len(notices) && m.From.Sub(now) <= notices[due] {
		due++
	}
	if !m.From.Equal(k.about) {
		if due == 0 {
			if k.callOff(ctx); len(k.told) > 0 {
				return
			}
		}
		clear(k.told)
		k.about = m.From
	}
	var keys []outpost.Key
	live := map[outpost.Key]int{}
	for _, key := range k.servers.Live() {
		if live[key] = k.told[key]; live[key] < due {
			keys = append(keys, key)
		}
	}
	k.told = live
	sentence := fmt.Sprintf("This server is stopped at %s, when a maintenance begins: save your work. %s",
		m.From.UTC().Format("2006-01-02 15:04 MST"), m.Text)
	for _, key := range k.tell(ctx, keys, strings.TrimSpace(sentence)) {
		k.told[key] = due
	}
}

// callOff tells users who have been told of a maintenance that it does not come. Those whose hub has not taken it stay
// in told, and are told next time.
func (k *Keeper) callOff(ctx context.Context) {
	var keys []outpost.Key
	left := map[outpost.Key]int{}
	for _, key := range k.servers.Live() {
		if k.told[key] > 0 {
			keys = append(keys, key)
			left[key] = k.told[key]
		}
	}
	for _, key := range k.tell(ctx, keys, "The maintenance is called off: this server goes on.") {
		delete(left, key)
	}
	k.told = left
}

// tell sends a sentence for several services, and returns those of which the hub has taken it.
func (k *Keeper) tell(ctx context.Context, keys []outpost.Key, sentence string) (told []outpost.Key) {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	var mu sync.Mutex
	var work sync.WaitGroup
	places := make(chan struct{}, tellAtOnce)
	for _, key := range keys {
		places <- struct{}{}
		work.Go(func() {
			defer func() { <-places }()
			if ctx.Err() != nil {
				return
			}
			if err := k.servers.Tell(ctx, key, sentence); err != nil {
				k.log.Debug("notice of a maintenance is not delivered", "hub", key.Hub, "service", key.Name, "err", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			told = append(told, key)
		})
	}
	work.Wait()
	return told
}

// remind writes of a maintenance whose end nobody has said into the log: it may have been forgotten.
func (k *Keeper) remind(m *outpost.Maintenance, now time.Time) {
	if m == nil || !m.Until.IsZero() || !m.Active(now) || time.Since(k.reminded) < remindEvery {
		return
	}
	k.reminded = time.Now()
	k.log.Warn("no servers are started, until `outpost undrain` or the configuration ends the maintenance",
		"from", m.From, "text", m.Text)
}

// sleep waits; false if ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
