package sshd

import (
	"cmp"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/server/sshd/wire"
)

// weighInterval is how often packets are counted for channels that have stalled.
const weighInterval = time.Second

// waiting is what all channels hold because a target or a client does not read. Its bound holds for all hubs together;
// when it is exceeded channels are closed: of the hub that holds most, uploads before downloads (an upload gives its
// memory back at once), of the target that holds most, the one that has stalled longest. So a hub that holds less than
// its part of the bound loses no channel to another one.
type waiting struct {
	max      int64 // bytes
	observer Observer

	mu       sync.Mutex
	total    int64
	channels map[*channel]struct{}
}

// stall is a write that has not returned yet.
type stall struct {
	since   time.Time // zero without one
	bytes   int64     // what it holds
	packets int64     // of the connection, when they were counted last
}

func newWaiting(max int64, observer Observer) *waiting {
	return &waiting{max: max, observer: observer, channels: map[*channel]struct{}{}}
}

func (w *waiting) add(ch *channel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.channels[ch] = struct{}{}
}

func (w *waiting) remove(ch *channel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.channels, ch)
}

// begin notes a write that may stall and holds so many bytes until it has returned.
func (w *waiting) begin(ch *channel, s *stall, bytes int64) {
	w.mu.Lock()
	*s = stall{since: time.Now(), packets: ch.conn.wire.Packets()}
	w.hold(ch, s, bytes)
	victims := w.shed()
	w.mu.Unlock()
	w.close(victims)
}

// end notes that the write has returned, and how long it took.
func (w *waiting) end(ch *channel, s *stall) (took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	took = time.Since(s.since)
	w.hold(ch, s, -s.bytes)
	*s = stall{}
	return took
}

// ended notes that a client has sent its last byte: nobody reads what would come after it.
func (w *waiting) ended(ch *channel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ch.ended = true
}

// hold counts bytes of a stall.
func (w *waiting) hold(ch *channel, s *stall, bytes int64) {
	s.bytes += bytes
	w.total += bytes
	ch.conn.counts.waiting += bytes
}

// shed chooses what is closed so that the bound holds.
func (w *waiting) shed() (victims []*channel) {
	for w.total > w.max {
		ch := w.victim()
		if ch == nil {
			break
		}
		ch.closed = true
		w.hold(ch, &ch.up, -ch.up.bytes)
		w.hold(ch, &ch.down, -ch.down.bytes)
		victims = append(victims, ch)
	}
	return victims
}

// victim returns the channel to be closed; nil if there is none.
func (w *waiting) victim() (victim *channel) {
	type server struct {
		counts *hubCounts
		target target
	}
	servers := map[server]int64{}
	for ch := range w.channels {
		servers[server{ch.conn.counts, ch.target}] += ch.up.bytes + ch.down.bytes
	}
	first := func(a, b *channel) int {
		return cmp.Or(
			cmp.Compare(b.conn.counts.waiting, a.conn.counts.waiting),
			cmp.Compare(min(b.up.bytes, 1), min(a.up.bytes, 1)),
			cmp.Compare(servers[server{b.conn.counts, b.target}], servers[server{a.conn.counts, a.target}]),
			a.stalledSince().Compare(b.stalledSince()),
		)
	}
	for ch := range w.channels {
		if !ch.closed && ch.up.bytes+ch.down.bytes > 0 && (victim == nil || first(ch, victim) < 0) {
			victim = ch
		}
	}
	return victim
}

// stalledSince is when the upload has stalled, or else the download.
func (ch *channel) stalledSince() time.Time {
	if ch.up.bytes > 0 {
		return ch.up.since
	}
	return ch.down.since
}

// close ends channels; a client that does not read holds up nobody else.
func (w *waiting) close(victims []*channel) {
	for _, ch := range victims {
		w.observer.Closed(ch.conn.hub, ClosedWaiting)
		ch.conn.log.Debug("channel closed", "target", ch.target.host, "port", ch.target.port, "reason", ClosedWaiting)
		go ch.close()
	}
}

// weigh adds the memory of packets that have come for uploads while they stalled. Which channel a packet is for does
// not show: all of a connection's count for the upload that has stalled longest. Data that came after a client's last
// byte ends its connection.
func (w *waiting) weigh() {
	w.mu.Lock()
	longest := map[*conn]*channel{}
	var over []*channel
	for ch := range w.channels {
		if ch.ended {
			over = append(over, ch)
		}
		old := longest[ch.conn]
		if ch.up.bytes > 0 && (old == nil || ch.up.since.Before(old.up.since)) {
			longest[ch.conn] = ch
		}
	}
	for c, ch := range longest {
		now := c.wire.Packets()
		w.hold(ch, &ch.up, wire.PacketMemory*(now-ch.up.packets))
		ch.up.packets = now
	}
	victims := w.shed()
	w.mu.Unlock()
	w.close(victims)
	for _, ch := range over {
		if n, _ := ch.ssh.Read(make([]byte, 1)); n > 0 { // it does not wait after the end
			ch.conn.end(endProtocol)
		}
	}
}
