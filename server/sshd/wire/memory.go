package wire

const (
	// WindowMemory is what the library holds of a channel whose data nobody takes, in bytes: its window of 2 MiB, which
	// cannot be made smaller, in packets of 32 KiB, each in 40 KiB of memory.
	WindowMemory = 64 * 40 << 10
	// PacketMemory is what the library takes for a packet beside its data, in bytes. A window of short packets is much
	// more memory than one of long ones.
	PacketMemory = 48
)
