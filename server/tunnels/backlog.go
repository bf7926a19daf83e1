package tunnels

import (
	"cmp"
	"context"
	"math"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/server/sshd/wire"
	"github.com/outposts-dev/outposts/server/tunnels/remote"
)

const (
	// weighInterval is how often packets are counted for streams that have stalled.
	weighInterval = time.Second
	// usualMemory is what limits are made for where none is set, by GOMEMLIMIT or for the container.
	usualMemory = 460 << 20
)

// maxBacklog returns the bound of a backlog in a process that may use so many bytes.
func maxBacklog(memory int64) int64 {
	if memory == math.MaxInt64 {
		memory = usualMemory
	}
	return min(max(memory/3, 32<<20), 1<<30)
}

// backlog is what all streams hold because a browser does not read. When its bound is exceeded, streams are broken: of
// the tunnel that holds most the one that has stalled longest. So who reads slowly loses nothing to who opens many
// streams and does not read at all. It is safe for concurrent use.
type backlog struct {
	max int64 // bytes

	mu      sync.Mutex
	total   int64
	streams map[*stream]struct{}
}

// stall is a write to a browser that has not returned yet; the zero value is none.
type stall struct {
	since   time.Time
	bytes   int64 // what it holds
	packets int64 // of the connection, when they were counted last
}

func newBacklog(max int64) *backlog { return &backlog{max: max, streams: map[*stream]struct{}{}} }

func (b *backlog) add(s *stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams[s] = struct{}{}
}

func (b *backlog) remove(s *stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.streams, s)
}

// begin notes a write that may stall.
func (b *backlog) begin(s *stream) {
	b.mu.Lock()
	s.stall = stall{since: time.Now(), packets: s.ch.Conn.Packets()}
	b.hold(s, wire.WindowMemory)
	victims := b.shed()
	b.mu.Unlock()
	abort(victims)
}

// end notes that the write has returned.
func (b *backlog) end(s *stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hold(s, -s.stall.bytes)
}

// hold counts bytes of a stream.
func (b *backlog) hold(s *stream, bytes int64) {
	s.stall.bytes += bytes
	b.total += bytes
}

// shed chooses which streams are broken so that the bound holds.
func (b *backlog) shed() (victims []*stream) {
	for b.total > b.max {
		held := map[*listener]int64{}
		for s := range b.streams {
			held[s.listener] += s.stall.bytes
		}
		var victim *stream
		for s := range b.streams {
			if s.stall.bytes > 0 && (victim == nil || cmp.Or(
				cmp.Compare(held[victim.listener], held[s.listener]), s.stall.since.Compare(victim.stall.since)) < 0) {
				victim = s
			}
		}
		b.hold(victim, -victim.stall.bytes)
		victims = append(victims, victim)
	}
	return victims
}

// abort breaks streams. It waits for no system.
func abort(victims []*stream) {
	for _, s := range victims {
		s.listener.count(streamStalled)
		go s.abort()
	}
}

// run weighs until ctx ends.
func (b *backlog) run(ctx context.Context) {
	tick := time.NewTicker(weighInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			b.weigh()
		}
	}
}

// weigh adds the memory of packets that have come for streams while they stalled. Which stream a packet is for does not
// show: all of a connection's count for the one that has stalled longest.
func (b *backlog) weigh() {
	b.mu.Lock()
	longest := map[*remote.Conn]*stream{}
	for s := range b.streams {
		if old := longest[s.ch.Conn]; s.stall.bytes > 0 && (old == nil || s.stall.since.Before(old.stall.since)) {
			longest[s.ch.Conn] = s
		}
	}
	for c, s := range longest {
		now := c.Packets()
		b.hold(s, wire.PacketMemory*(now-s.stall.packets))
		s.stall.packets = now
	}
	victims := b.shed()
	b.mu.Unlock()
	abort(victims)
}
