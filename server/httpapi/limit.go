package httpapi

import (
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outposts-dev/outposts/server/source"
)

const (
	// A source may send this many wrong passwords at once, and one more in each interval (protocol 1.4).
	wrongPasswords        = 20
	wrongPasswordInterval = 10 * time.Second
	// maxFailedSources bounds the memory; when it is full, sources that have recovered are forgotten, then all.
	maxFailedSources = 10_000
)

// failedLogins counts wrong passwords for each source. The zero value with a clock is empty.
type failedLogins struct {
	now   func() time.Time
	any   atomic.Bool // false while there is nothing to look up
	mu    sync.Mutex
	bySrc map[netip.Prefix]time.Time // when the source will have recovered completely
}

// blocked reports whether the source of a connection has sent too many wrong passwords.
func (f *failedLogins) blocked(remote string) bool {
	if !f.any.Load() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bySrc[group(remote)].Sub(f.now()) > (wrongPasswords-1)*wrongPasswordInterval
}

// add counts a wrong password.
func (f *failedLogins) add(remote string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if f.bySrc == nil {
		f.bySrc = map[netip.Prefix]time.Time{}
	}
	f.any.Store(true)
	if len(f.bySrc) >= maxFailedSources {
		f.forget(now)
	}
	key := group(remote)
	recovered := f.bySrc[key]
	if recovered.Before(now) {
		recovered = now
	}
	f.bySrc[key] = recovered.Add(wrongPasswordInterval)
}

// forget drops the sources that have recovered, or all if none has.
func (f *failedLogins) forget(now time.Time) {
	for group, recovered := range f.bySrc {
		if recovered.Before(now) {
			delete(f.bySrc, group)
		}
	}
	if len(f.bySrc) >= maxFailedSources {
		clear(f.bySrc)
	}
}

// sourceOf is the address of a connection without its port.
func sourceOf(remote string) string {
	if colon := strings.LastIndexByte(remote, ':'); colon >= 0 {
		return remote[:colon]
	}
	return remote
}

// group is what is counted together. Where the connection has no address, as in a test on a pipe, that is everybody.
func group(remote string) netip.Prefix {
	address, err := netip.ParseAddr(strings.Trim(remote, "[]"))
	if err != nil {
		return netip.Prefix{}
	}
	return source.Of(address)
}
