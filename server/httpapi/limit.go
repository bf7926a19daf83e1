package httpapi

import (
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outposts-dev/outposts/server/source"
)

const (
	// A source may send this many wrong passwords for a name at once, and one more in each interval (protocol 1.4).
	// What arrives beyond that is not compared as far as anybody can see. The pace leaves a hub its polls while
	// somebody guesses 50 times a second behind the same address, and a typed password the years that it takes.
	wrongPasswords        = 128
	wrongPasswordInterval = time.Second / 64
	// maxGuesses bounds the memory; when it is full, entries that have recovered are forgotten, then all.
	maxGuesses = 10_000

	// Refused logins in the log: this many at once, and one more in each interval.
	loggedGuesses         = 20
	loggedGuessesInterval = time.Second
)

// guessKey is what is counted together. The name is hashed with a seed: it may be a password that was typed there, and
// names of no hub count like those of hubs, so that an answer tells neither from the other.
type guessKey struct {
	source netip.Prefix
	name   uint64
}

// guesses counts wrong passwords for each source and name. Make it with newGuesses.
type guesses struct {
	now  func() time.Time
	seed maphash.Seed
	any  atomic.Bool // false while there is nothing to look up
	mu   sync.Mutex
	full map[guessKey]time.Time // when it will have recovered completely
	log  time.Time              // the same for the log
}

func newGuesses(now func() time.Time) *guesses {
	return &guesses{now: now, seed: maphash.MakeSeed(), full: map[guessKey]time.Time{}}
}

func (g *guesses) key(remote string, name []byte) guessKey {
	return guessKey{group(remote), maphash.Bytes(g.seed, name)}
}

// blocked reports whether there have been too many wrong passwords.
func (g *guesses) blocked(key guessKey) bool {
	if !g.any.Load() {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := spend(g.full[key], g.now(), wrongPasswords, wrongPasswordInterval)
	return !ok
}

// add counts a wrong password, and reports whether it may be answered as one and whether it is logged.
func (g *guesses) add(key guessKey) (answered, logged bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.any.Store(true)
	until, answered := spend(g.full[key], now, wrongPasswords, wrongPasswordInterval)
	if !answered {
		return false, false
	}
	if len(g.full) >= maxGuesses {
		g.forget(now)
	}
	g.full[key] = until
	until, logged = spend(g.log, now, loggedGuesses, loggedGuessesInterval)
	if logged {
		g.log = until
	}
	return true, logged
}

// spend takes one from an allowance that will be full at a time, and returns when it will be full then, and whether
// there was one to take.
func spend(full, now time.Time, burst int, interval time.Duration) (time.Time, bool) {
	if full.Before(now) {
		full = now
	}
	full = full.Add(interval)
	return full, full.Sub(now) <= time.Duration(burst)*interval
}

// forget drops the entries that have recovered, or all if none has.
func (g *guesses) forget(now time.Time) {
	for key, full := range g.full {
		if full.Before(now) {
			delete(g.full, key)
		}
	}
	if len(g.full) >= maxGuesses {
		clear(g.full)
	}
}

// sourceOf is the address of a connection without its port.
func sourceOf(remote string) string {
	if colon := strings.LastIndexByte(remote, ':'); colon >= 0 {
		return remote[:colon]
	}
	return remote
}

// group is the source of a connection. One without an address, as in a test on a pipe, counts with all others.
func group(remote string) netip.Prefix {
	address, err := netip.ParseAddr(strings.Trim(remote, "[]"))
	if err != nil {
		return netip.Prefix{}
	}
	return source.Of(address)
}
