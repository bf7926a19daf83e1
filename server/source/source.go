// Package source says what counts as one source of network connections, and bounds what each may hold before a login.
package source

import "net/netip"

// Of returns the source that an address belongs to: an IPv4 address for itself (also one that is mapped into IPv6), or
// the /64 of an IPv6 address, which a single machine can fill as it likes. The zone is left out. For the zero address
// it returns the zero prefix, which equals no other source.
func Of(address netip.Addr) netip.Prefix {
	address = address.Unmap()
	bits := 32
	if address.Is6() {
		bits = 64
	}
	prefix, _ := address.Prefix(bits) // the length fits; without an address it is the zero prefix
	return prefix
}
