package sshd

import (
	"errors"
	"net"
	"net/netip"
	"slices"
)

// refusedPorts are ports that no single-user server has: kubelet (10250, 10255, 10256), etcd (2379, 2380), API server
// (6443). On a node's address they lead to the cluster itself.
var refusedPorts = []uint16{2379, 2380, 6443, 10250, 10255, 10256}

// refusedPrefixes are special addresses that netip.Addr's methods do not cover.
var refusedPrefixes = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),          // this network, RFC 6890
	netip.MustParsePrefix("192.0.0.0/24"),       // protocol assignments; metadata of some clouds
	netip.MustParsePrefix("240.0.0.0/4"),        // reserved and broadcast
	netip.MustParsePrefix("100.100.100.200/32"), // metadata (Alibaba)
	netip.MustParsePrefix("168.63.129.16/32"),   // metadata (Azure)
	netip.MustParsePrefix("fd00:ec2::254/128"),  // metadata (AWS)
	netip.MustParsePrefix("fd20:ce::254/128"),   // metadata (Google)
	netip.MustParsePrefix("100::/64"),           // discard-only
}

// Prefixes of IPv6 addresses that carry an IPv4 address, and the byte it begins at.
var embeddings = []struct {
	prefix netip.Prefix
	offset int
}{
	{netip.MustParsePrefix("::/96"), 12},           // IPv4-compatible (deprecated)
	{netip.MustParsePrefix("64:ff9b::/96"), 12},    // NAT64, RFC 6052
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12}, // IPv4-translated, RFC 2765
	{netip.MustParsePrefix("2002::/16"), 2},        // 6to4, RFC 3056
}

// refusedAddress reports whether a resolved target is never dialled, whoever asks. own are the addresses of this host
// and extra the prefixes that the operator refuses.
func refusedAddress(target netip.AddrPort, own []netip.Addr, extra []netip.Prefix) bool {
	if target.Port() == 0 || slices.Contains(refusedPorts, target.Port()) {
		return true
	}
	addr := target.Addr()
	if addr.Zone() != "" {
		return true
	}
	addr = addr.Unmap()
	if refusedIP(addr, own, extra) {
		return true
	}
	if addr.Is6() {
		for _, e := range embeddings {
			if e.prefix.Contains(addr) {
				b := addr.As16()
				if refusedIP(netip.AddrFrom4([4]byte(b[e.offset:e.offset+4])), own, extra) {
					return true
				}
			}
		}
	}
	return false
}

func refusedIP(addr netip.Addr, own []netip.Addr, extra []netip.Prefix) bool {
	contains := func(p netip.Prefix) bool { return p.Contains(addr) }
	return !addr.IsValid() || addr.IsLoopback() || addr.IsUnspecified() || addr.IsMulticast() ||
		addr.IsLinkLocalUnicast() || slices.Contains(own, addr) ||
		slices.ContainsFunc(refusedPrefixes, contains) || slices.ContainsFunc(extra, contains)
}

// ownAddresses returns the addresses of this host's interfaces.
func ownAddresses() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap())
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no interface has an address")
	}
	return out, nil
}

// sourceOf returns the address of a client, for from= patterns and limits; the zero Addr if it has none.
func sourceOf(conn net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
