package sshd

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/sshd/wire"
	"github.com/outposts-dev/outposts/server/sshtest"
)

// neverReads makes every target take nothing at all.
func neverReads(w *world) {
	w.opts.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
		near, far := net.Pipe()
		w.t.Cleanup(func() { far.Close() })
		return near, nil
	}
}

// poured is what pours sends, for all connections: what the server holds is measured beside it.
var poured = make([]byte, 256<<10)

// pours is a service that sends without end.
func pours(c *net.TCPConn) {
	for {
		if _, err := c.Write(poured); err != nil {
			return
		}
	}
}

// upload pours into a new channel until it is closed.
func (w *world) upload(c *ssh.Client, uploads *sync.WaitGroup) {
	conn := w.openService(c)
	uploads.Go(func() {
		if _, err := io.Copy(conn, neverEnding{}); err == nil {
			w.t.Error("an upload ended well")
		}
	})
}

// However many uploads stall, what is held for them stays within the bound: the longest stalled are closed.
// See protocol 5.5.
func TestTargetsThatDoNotRead(t *testing.T) {
	const uploads, most, slack = 60, 8 * wire.WindowMemory, 8 << 20
	w := newWorld(t, func(w *world) {
		neverReads(w)
		w.limits.maxWaiting = most
	})
	c := w.mustClient()
	first := w.openService(c)
	if _, err := first.Write([]byte("stalls first")); err != nil {
		t.Fatal(err)
	}
	w.waits(1)
	before := heap()
	var group sync.WaitGroup
	for range uploads {
		w.upload(c, &group)
	}
	w.seen.wait("closed "+ClosedWaiting, uploads+1-most/wire.WindowMemory)
	w.seen.wait("channels", most/wire.WindowMemory)
	if grown := heap() - before; int64(grown) > most+slack {
		t.Errorf("%d uploads hold %d MiB, want at most %d", uploads, grown>>20, (most+slack)>>20)
	}
	if _, err := io.Copy(io.Discard, first); err != nil { // it was the longest
		t.Error(err)
	}
	w.openService(c)
	c.Close()
	group.Wait()
	w.nothingWaits()
}

// waits blocks until so many channels have a write that has not returned.
func (w *world) waits(want int) {
	w.t.Helper()
	w.eventually("stalled channels", want, func(ch *channel) bool {
		return ch.up.bytes > 0 || ch.down.bytes > 0
	})
}

// eventually blocks until what holds of so many channels, which nothing shows from outside.
func (w *world) eventually(what string, want int, holds func(*channel) bool) {
	w.t.Helper()
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		w.server.waiting.mu.Lock()
		got := 0
		for ch := range w.server.waiting.channels {
			if holds(ch) {
				got++
			}
		}
		w.server.waiting.mu.Unlock()
		if got == want {
			return
		}
		if time.Since(begin) > patience {
			w.t.Fatalf("%s: %d, want %d", what, got, want)
		}
	}
}

// nothingWaits checks the count when no channel is left.
func (w *world) nothingWaits() {
	w.t.Helper()
	w.seen.wait("channels", 0)
	w.waits(0)
	if n := w.server.waiting.total; n != 0 {
		w.t.Errorf("%d bytes are left", n)
	}
}

// A window of short packets takes much more memory than one of long ones; that counts, too.
func TestShortPacketsCount(t *testing.T) {
	const limit = 60 << 20 // of 96 MiB that a window takes byte by byte; packets are counted each second
	w := newWorld(t, func(w *world) {
		neverReads(w)
		w.limits.maxWaiting = wire.WindowMemory + 4<<20
	})
	before := heap()
	c := w.raw()
	c.openTo(0, 1<<20, serviceHost, servicePort)
	id := c.until(91)[5:9]
	data := slices.Concat([]byte{94}, id, field("x"))
	go func() {
		for range 2 << 20 { // the window
			if c.send(data) != nil {
				return
			}
		}
	}()
	w.seen.wait("closed "+ClosedWaiting, 1)
	if grown := heap() - before; grown > limit {
		t.Errorf("short packets hold %d MiB", grown>>20)
	}
}

// Clients that do not read hold small buffers for each channel, and few large ones.
func TestClientsThatDoNotRead(t *testing.T) {
	const channels, window, held, slack = 240, 64 << 10, 100 << 10, 8 << 20
	w := newWorld(t, func(w *world) {
		w.serve(hubName, "endless.svc", 80, serviceAddr.Next(), pours)
	})
	before := heap()
	c := w.raw()
	for id := range channels {
		c.openTo(uint32(id), window, "endless.svc", 80)
	}
	go func() {
		for {
			if _, err := c.receive(); err != nil {
				return
			}
		}
	}()
	w.eventually("downloads at a standstill", channels, func(ch *channel) bool {
		return ch.down.bytes > 0 && time.Since(ch.down.since) > 300*time.Millisecond
	})
	grown, want := int64(heap()-before), int64(channels*held+64*wire.BulkSize+slack)
	if grown > want {
		t.Errorf("%d downloads hold %d MiB, want at most %d", channels, grown>>20, want>>20)
	}
	c.conn.Close()
	w.nothingWaits()
}

// A download whose client does not read is closed when too much waits, if there is no upload.
func TestDownloadsAreClosed(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.limits.maxWaiting = 4 * wire.BriefSize
		w.serve(hubName, "endless.svc", 80, serviceAddr.Next(), pours)
	})
	c := w.raw()
	for id := range uint32(8) {
		c.openTo(id, 0, "endless.svc", 80)
	}
	w.seen.wait("closed "+ClosedWaiting, 4)
	for range 4 {
		c.until(97)
	}
	w.openService(w.mustClient())
}

// openTo asks for a channel with the client's number id.
func (c *rawClient) openTo(id, window uint32, host string, port uint32) {
	c.t.Helper()
	packet := append([]byte{90}, field("direct-tcpip")...)
	for _, n := range []uint32{id, window, 32 << 10} {
		packet = binary.BigEndian.AppendUint32(packet, n)
	}
	c.check(c.send(append(packet, directTCPIP(host, port)...)))
}

// What nobody reads by the protocol ends the connection: the library would keep it.
func TestDataThatNobodyReads(t *testing.T) {
	start := func(t *testing.T) (w *world, c *rawClient, id []byte) {
		w = newWorld(t, func(w *world) {
			libraryHangs(w)
			w.serve(hubName, "silent.svc", 80, serviceAddr.Next(), func(c *net.TCPConn) {
				_, _ = io.Copy(io.Discard, c)
				<-t.Context().Done() // it keeps its direction open
			})
		})
		c = w.raw()
		c.openTo(0, 1<<20, "silent.svc", 80)
		return w, c, c.until(91)[5:9]
	}
	t.Run("extended data", func(t *testing.T) {
		w, c, id := start(t)
		c.check(c.send(slices.Concat([]byte{95}, id, []byte{0, 0, 0, 1}, field("x"))))
		w.seen.wait("connections", 0)
		w.stop()
		w.logged(endProtocol)
	})
	t.Run("data after the end", func(t *testing.T) {
		w, c, id := start(t)
		c.check(c.send(slices.Concat([]byte{96}, id)))
		w.eventually("channels whose client has ended", 1, func(ch *channel) bool { return ch.ended })
		c.check(c.send(slices.Concat([]byte{94}, id, field("x"))))
		w.seen.wait("connections", 0)
		w.stop()
		w.logged(endProtocol)
	})
}

// A client that asks and asks, and reads no answer, is held up and makes the server hold little.
func TestRequestFloodHoldsLittle(t *testing.T) {
	const slack = 8 << 20
	for name, packet := range map[string][]byte{
		"global requests": slices.Concat([]byte{80}, field("anything"), []byte{1}, make([]byte, 30<<10)),
		"channels of another type": slices.Concat([]byte{90}, field("session"),
			[]byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 128, 0}, make([]byte, 30<<10)),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			before := heap()
			c := w.raw()
			if err := c.conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
				t.Fatal(err)
			}
			for sent := 0; sent < 256<<20; sent += len(packet) {
				c.check(c.conn.SetWriteDeadline(time.Now().Add(2 * time.Second)))
				if err := c.send(packet); err != nil {
					break // held up
				}
			}
			if grown := heap() - before; int64(grown) > slack {
				t.Errorf("it holds %d MiB", grown>>20)
			}
			w.openService(w.mustClient())
		})
	}
}

// manyHubs makes hubs with a key and a service each.
func manyHubs(w *world, n int) (keys []ssh.Signer) {
	w.opts.Hubs = nil
	if err := os.Remove(filepath.Join(w.keys, hubName)); err != nil {
		w.t.Fatal(err)
	}
	for i := range n {
		hub, key := fmt.Sprintf("hub-%d", i), sshtest.NewKey(w.t)
		w.opts.Hubs = append(w.opts.Hubs, hub)
		w.writeKeys(hub, authorizedLine("", key))
		w.allow(hub, serviceHost, servicePort)
		w.allow(hub, "other.svc", servicePort)
		keys = append(keys, key)
	}
	w.names["other.svc"] = w.names[serviceHost]
	return keys
}

// One hub that takes all the channels it can get leaves every other hub its own; what is free goes to whoever comes
// first.
// See protocol 5.5.
func TestEachHubHasItsChannels(t *testing.T) {
	var keys []ssh.Signer
	w := newWorld(t, func(w *world) {
		keys = manyHubs(w, 3)
		w.limits.maxChannels, w.limits.maxTargetChannels = 12, 100
	})
	var clients []*ssh.Client
	for _, key := range keys {
		c, err := w.client(key)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
	}
	full := ssh.OpenChannelError{Reason: ssh.ResourceShortage, Message: "too many channels"}
	take := func(hub, want int) {
		t.Helper()
		for range want {
			w.openService(clients[hub])
		}
		if got := refusal(clients[hub], "direct-tcpip", directTCPIP(serviceHost, servicePort)); got != full {
			t.Errorf("hub %d after %d channels: got %v, want %v", hub, want, got, full)
		}
	}
	take(0, 8) // its own 2 and the free 6
	take(1, 2)
	take(2, 2)
	if n := w.seen.get("refused " + RefusedLimit); n != 3 {
		t.Errorf("%d refusals are counted, want 3", n)
	}
}

// See protocol 5.5.
func TestChannelsToOneTarget(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.limits.maxTargetChannels = 3
		w.serve(hubName, "other.svc", 80, serviceAddr.Next(), echo)
	})
	c := w.mustClient()
	var last net.Conn
	for range 3 {
		last = w.openService(c)
	}
	busy := ssh.OpenChannelError{Reason: ssh.ResourceShortage, Message: "too many channels to this target"}
	if got := refusal(w.mustClient(), "direct-tcpip", directTCPIP(serviceHost, servicePort)); got != busy {
		t.Errorf("got %v, want %v", got, busy)
	}
	if _, err := c.Dial("tcp", "other.svc:80"); err != nil {
		t.Errorf("another target: %v", err)
	}
	last.Close()
	w.seen.wait("channels", 3)
	for refusal(c, "direct-tcpip", directTCPIP(serviceHost, servicePort)) == busy { // the place is freed right after
		time.Sleep(time.Millisecond)
	}
}

// Who loses a channel: the hub that holds most, uploads first, the target that holds most, the longest stalled.
func TestVictims(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	hubs := map[string]*hubCounts{"a": {}, "b": {}}
	w := newWaiting(0, nobody{})
	names := map[*channel]string{}
	add := func(name, hub, host string, second int, up, down int64) {
		ch := &channel{conn: &conn{hub: hub, counts: hubs[hub]}, target: target{host, 80}}
		since := begin.Add(time.Duration(second) * time.Second)
		ch.up, ch.down = stall{since: since}, stall{since: since}
		w.add(ch)
		w.hold(ch, &ch.up, up)
		w.hold(ch, &ch.down, down)
		names[ch] = name
	}
	add("the small hub's, stalled longest", "b", "one", 0, wire.WindowMemory, 0)
	add("a download", "a", "one", 1, 0, wire.BriefSize)
	add("of a small target", "a", "one", 2, wire.WindowMemory, 0)
	add("of a large target, later", "a", "two", 5, wire.WindowMemory, 0)
	add("of a large target", "a", "two", 4, wire.WindowMemory, wire.BulkSize)
	add("silent", "a", "two", 3, 0, 0)
	var got []string
	for _, ch := range w.shed() {
		got = append(got, names[ch])
	}
	want := []string{
		"of a large target",
		"of a small target", // which holds more now, with its download
		"of a large target, later",
		"the small hub's, stalled longest",
		"a download",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("victims (-want +got):\n%s", diff)
	}
	if w.total != 0 || hubs["a"].waiting != 0 || hubs["b"].waiting != 0 {
		t.Errorf("left: %d, %d, %d", w.total, hubs["a"].waiting, hubs["b"].waiting)
	}
}

// A hub that fills the bound loses its own channels, not those of a hub that holds little.
func TestAnotherHubsUploadsCloseNothing(t *testing.T) {
	const uploads, most = 20, 4 * wire.WindowMemory
	var keys []ssh.Signer
	w := newWorld(t, func(w *world) {
		neverReads(w)
		keys = manyHubs(w, 2)
		w.limits.maxWaiting = most
	})
	small, err := w.client(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	oldest := w.openService(small)
	if _, err := oldest.Write([]byte("stalls first")); err != nil {
		t.Fatal(err)
	}
	w.waits(1)
	greedy, err := w.client(keys[1])
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range uploads {
		w.upload(greedy, &group)
	}
	w.seen.wait("closed "+ClosedWaiting, uploads+1-most/wire.WindowMemory)
	w.eventually("channels of the small hub", 1, func(ch *channel) bool { return ch.conn.hub == "hub-0" && !ch.closed })
	greedy.Close()
	group.Wait()
}
