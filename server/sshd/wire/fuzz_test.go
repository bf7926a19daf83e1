package wire

import (
	"encoding/binary"
	"testing"
)

// However a stream of packets is cut into pieces, its ends are found, before and after keys are exchanged.
func FuzzFollow(f *testing.F) {
	f.Add([]byte{1, 2, 3}, byte(1), []byte{4, 200, 7})
	f.Add([]byte{0}, byte(0), []byte{1, 1, 1})
	f.Add([]byte{9, 0, 255}, byte(9), []byte{})
	f.Fuzz(func(t *testing.T, sizes []byte, clear byte, cuts []byte) {
		var stream []byte
		ends := map[int]bool{}
		add := func(packet []byte) {
			stream = append(stream, packet...)
			ends[len(stream)] = true
		}
		for i, size := range sizes {
			switch {
			case i < int(clear): // length, padding, type, and at least one byte more
				packet := append(binary.BigEndian.AppendUint32(nil, uint32(size)+3), 4, 20)
				add(append(packet, make([]byte, int(size)+1)...))
				continue
			case i == int(clear):
				add([]byte{0, 0, 0, 3, 4, newKeys, 0})
			}
			packet := binary.BigEndian.AppendUint32(nil, uint32(size))
			add(append(packet, make([]byte, int(size)+gcmTagSize)...))
		}
		s := packets{framing: GCM}
		for at := 0; at < len(stream); {
			n := 1
			if len(cuts) > 0 {
				n = int(cuts[0]) + 1
				cuts = cuts[1:]
			}
			n = min(n, len(stream)-at)
			at += n
			got, err := s.follow(stream[at-n : at])
			if err != nil || got != ends[at] {
				t.Fatalf("at %d of %d: whole is %v, %v", at, len(stream), got, err)
			}
		}
		if s.count != int64(len(ends)) {
			t.Errorf("counted %d packets of %d", s.count, len(ends))
		}
	})
}
