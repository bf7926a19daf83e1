package wire

import (
	"encoding/binary"
	"testing"
)

// A packet longer than anybody must take is refused as soon as its length is known.
func TestLongPacketsRefused(t *testing.T) {
	clear := packets{framing: GCM}
	encrypted := packets{framing: GCM, encrypted: true}
	for _, tt := range []struct {
		name   string
		from   packets
		length uint32
		taken  bool
	}{
		{"longest in clear", clear, maxPacket, true},
		{"too long in clear", clear, 256 << 10, false},
		{"longest that is encrypted", encrypted, maxPacket - gcmTagSize, true},
		{"too long that is encrypted", encrypted, maxPacket, false},
		{"nothing in clear", clear, 2, false},
		{"of 4 GiB", encrypted, 1<<32 - 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.from.follow(append(binary.BigEndian.AppendUint32(nil, tt.length), 4, 20, 0))
			if (err == nil) != tt.taken {
				t.Errorf("got %v, taken is %v", err, tt.taken)
			}
		})
	}
}

// Opaque packets cannot be told apart; there are at most as many as have room.
func TestOpaquePacketsAreEstimated(t *testing.T) {
	s := packets{framing: Opaque, encrypted: true}
	for range 100 {
		if whole, err := s.follow(make([]byte, 10)); !whole || err != nil {
			t.Fatal(whole, err)
		}
	}
	if s.count != 1000/leastOpaque {
		t.Errorf("counted %d, want %d", s.count, 1000/leastOpaque)
	}
}
