package wire

import (
	"encoding/binary"
	"net"
	"testing"
)

// However a stream of packets is cut into pieces, its ends are found.
func FuzzFollow(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{4, 200, 7})
	f.Add([]byte{0}, []byte{1, 1, 1})
	f.Fuzz(func(t *testing.T, sizes, cuts []byte) {
		var stream []byte
		ends := map[int]bool{}
		for _, s := range sizes {
			stream = binary.BigEndian.AppendUint32(stream, uint32(s))
			stream = append(stream, make([]byte, int(s)+gcmTagSize)...)
			ends[len(stream)] = true
		}
		w := New(&net.TCPConn{})
		w.framing = GCM
		for at := 0; at < len(stream); {
			n := 1
			if len(cuts) > 0 {
				n = int(cuts[0]) + 1
				cuts = cuts[1:]
			}
			n = min(n, len(stream)-at)
			at += n
			if got := w.follow(stream[at-n : at]); got != ends[at] {
				t.Fatalf("at %d of %d: whole is %v", at, len(stream), got)
			}
		}
	})
}
