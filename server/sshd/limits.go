package sshd

import (
	"math"
	"sync"
	"time"
)

// user is the only user name that may log in.
const user = "jhuboutpost"

// limits are how much a server serves and for how long it waits. Only tests have others than [limitsFor] returns.
type limits struct {
	// handshakeTimeout bounds the time from accept to a finished authentication.
	handshakeTimeout time.Duration
	// dialTimeout bounds resolving and dialling a target together.
	dialTimeout time.Duration
	// keepAliveInterval is the silence after which a client is asked for a sign of life.
	keepAliveInterval time.Duration
	// deadAfter is the silence after which a client is given up, found within this time. It is also how long a single
	// write or a key exchange may make no progress. It is longer than keepAliveInterval.
	deadAfter time.Duration
	// reloadInterval is how often the directories of keys are looked at when nobody connects.
	reloadInterval time.Duration
	// drainTimeout bounds how long Serve waits for open channels after its context has ended.
	drainTimeout time.Duration
	// deliverGrace is how long a target may take for what its client has sent before it closed the channel.
	deliverGrace time.Duration
	// libraryGrace is how long the SSH library may take to finish after its connection is closed. It can hang for good
	// when a client that breaks the protocol had more packets on the way.
	libraryGrace time.Duration
	// rekeyThreshold is the number of bytes after which keys are exchanged anew; 0 for the cipher's own.
	rekeyThreshold uint64

	// maxUnauthenticated bounds connections in handshake. A new one over the bound takes the place of one of the
	// source that has most of them: see newcomers.go.
	maxUnauthenticated int
	// maxUnauthenticatedPerSource bounds them for one source: an IPv4 address or an IPv6 /64. Behind a NodePort all
	// hubs may share one source. A new one over the bound takes the place of one of the same source.
	maxUnauthenticatedPerSource int
	// maxConnections bounds the authenticated connections of one hub, which uses one for all its users. Only their
	// number bounds the few MiB that the library queues for each connection that stalls, as in a key exchange.
	maxConnections int
	// maxChannels bounds the channels of all connections, those being opened included: see shares.
	maxChannels int
	// maxTargetChannels bounds the channels of a hub to one target. Each connection of a browser is a channel.
	maxTargetChannels int
	// maxWaiting bounds the bytes that channels hold because a target or a client does not read: see waiting.
	maxWaiting int64
}

// The memory that limits are made for where none is set (GOMEMLIMIT, or the container's limit), and a channel's part of
// it: one that is idle takes 25 KiB, one whose client does not read up to 90.
const (
	usualMemory   = 460 << 20
	channelMemory = 64 << 10
)

// limitsFor returns the limits of a process that may use so many bytes.
func limitsFor(memory int64) limits {
	if memory == math.MaxInt64 {
		memory = usualMemory
	}
	return limits{
		handshakeTimeout:  10 * time.Second,
		dialTimeout:       10 * time.Second,
		keepAliveInterval: 15 * time.Second,
		deadAfter:         45 * time.Second,
		reloadInterval:    2 * time.Second,
		drainTimeout:      20 * time.Second,
		deliverGrace:      30 * time.Second,
		libraryGrace:      3 * time.Second,
		rekeyThreshold:    0, // 64 GiB for AES

		maxUnauthenticated:          512,
		maxUnauthenticatedPerSource: 128,
		maxConnections:              32,
		maxChannels:                 int(min(max(memory/channelMemory, 1024), 32768)),
		maxTargetChannels:           256,
		maxWaiting:                  min(max(memory/4, 32<<20), 1<<30),
	}
}

// shares divides places among hubs: half of them in equal parts that no other hub can take, the rest for whoever comes
// first.
type shares struct {
	own, free int

	mu    sync.Mutex
	used  map[string]int
	taken int // of the free places
}

func newShares(places, hubs int) *shares {
	own := max(places/2/hubs, 1)
	return &shares{own: own, free: max(places-own*hubs, 0), used: map[string]int{}}
}

// take gives a hub a place, and reports whether there was one.
func (s *shares) take(hub string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used[hub] >= s.own {
		if s.taken >= s.free {
			return false
		}
		s.taken++
	}
	s.used[hub]++
	return true
}

// give takes a place back.
func (s *shares) give(hub string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used[hub]--
	if s.used[hub] >= s.own {
		s.taken--
	}
}
