package wire

import (
	"encoding/binary"
	"fmt"
)

// Framing is what the wire can see of an encrypted packet.
type Framing int

const (
	// Opaque packets hide their length.
	Opaque Framing = iota
	// GCM packets carry their length in clear, RFC 5647 section 7.3.
	GCM
)

const (
	// gcmTagSize is what AES-GCM adds to a packet, RFC 5647 section 7.
	gcmTagSize = 16
	// maxPacket is the longest packet that everybody must take, RFC 4253 section 6.1. The library takes eight times as
	// much, and makes room for a packet as soon as it knows the length, from clients that have not logged in too.
	maxPacket = 35000
	// leastOpaque is the shortest packet with the MACs that go with opaque packets.
	leastOpaque = 48
	// newKeys is the type of the last packet in clear, RFC 4253 section 7.3.
	newKeys = 21
)

// packets finds the packets in one direction of a connection.
type packets struct {
	framing   Framing // of those that are encrypted
	encrypted bool
	count     int64 // an upper bound where they are opaque

	head []byte // what has come of the next packet, up to its length or, in clear, its type
	left int    // bytes of the current packet that are still to come
	last bool   // the current packet is the last one in clear
}

// follow takes the next bytes, and reports whether a packet ends with them; always if packets are opaque. Nothing of a
// packet that is too long is taken.
func (s *packets) follow(p []byte) (whole bool, err error) {
	for len(p) > 0 {
		if s.encrypted && s.framing == Opaque {
			s.left += len(p)
			s.count += int64(s.left / leastOpaque)
			s.left %= leastOpaque
			return true, nil
		}
		if s.left == 0 {
			if p = s.begin(p); len(s.head) > 0 {
				return false, nil
			}
			if s.left < 1 || s.left > maxPacket {
				return false, fmt.Errorf("a packet of %d bytes", s.left)
			}
		}
		n := min(s.left, len(p))
		s.left -= n
		p = p[n:]
		if s.left == 0 && s.last {
			s.last, s.encrypted = false, true
		}
	}
	return s.left == 0 && len(s.head) == 0, nil
}

// begin takes bytes of a packet's head. When it is complete, left is what follows it and head is empty.
func (s *packets) begin(p []byte) (rest []byte) {
	size, tag := 4, gcmTagSize
	if !s.encrypted {
		size, tag = 6, 0
	}
	n := min(size-len(s.head), len(p))
	s.head = append(s.head, p[:n]...)
	if len(s.head) == size {
		s.left = int(binary.BigEndian.Uint32(s.head)) - (size - 4) + tag
		s.last = !s.encrypted && s.head[5] == newKeys
		s.count++
		s.head = s.head[:0]
	}
	return p[n:]
}
