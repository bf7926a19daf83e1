package wire

import "io"

// The library keeps a buffer of the largest packet that a channel has ever sent, for as long as the channel lives. So
// packets are small, and fit a size of Go's allocator with their head of 9 bytes, until a channel has moved much.
const (
	earlyPacket = 8<<10 - 9
	earlyBytes  = 2 << 20
)

// Write writes data to an SSH channel, after moved bytes that it has sent before.
func Write(ch io.Writer, data []byte, moved int64) (n int, err error) {
	if moved >= earlyBytes {
		return ch.Write(data)
	}
	for len(data) > 0 && err == nil {
		var k int
		k, err = ch.Write(data[:min(len(data), earlyPacket)])
		n += k
		data = data[k:]
	}
	return n, err
}
