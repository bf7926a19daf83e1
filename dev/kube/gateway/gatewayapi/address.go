package gatewayapi

import (
	"fmt"
	"net/netip"

	gw "sigs.k8s.io/gateway-api/apis/v1"
)

// assign gives each Gateway its addresses: those that its spec asks for, or else the one that it has, or else the first
// free one. An older Gateway has what a younger one asks for too.
func assign(gateways []*gateway, pool netip.Prefix) {
	used := map[netip.Addr]string{}
	for _, g := range gateways {
		g.claim(pool, used)
	}
	for _, g := range gateways {
		if g.wantsAny && g.refused == (problem{}) {
			g.keep(pool, used)
		}
	}
	for _, g := range gateways {
		if g.wantsAny && g.refused == (problem{}) && len(g.addresses) == 0 {
			g.take(pool, used)
		}
	}
}

// claim takes the addresses that a Gateway asks for by value.
func (g *gateway) claim(pool netip.Prefix, used map[netip.Addr]string) {
	g.wantsAny = len(g.Spec.Addresses) == 0
	for _, asked := range g.Spec.Addresses {
		if asked.Type != nil && *asked.Type != gw.IPAddressType {
			g.refused = problem{
				string(gw.GatewayReasonUnsupportedAddress),
				fmt.Sprintf("addresses: type %s: only %s is supported", *asked.Type, gw.IPAddressType),
			}
			continue
		}
		if asked.Value == "" {
			g.wantsAny = true
			continue
		}
		address, err := netip.ParseAddr(asked.Value)
		switch {
		case err != nil || !usable(pool, address):
			g.unusable = problem{
				string(gw.GatewayReasonAddressNotUsable),
				fmt.Sprintf("address %s is not in the pool %s", asked.Value, pool),
			}
		case used[address] != "":
			g.unusable = problem{
				string(gw.GatewayReasonAddressNotUsable),
				fmt.Sprintf("address %s is used by Gateway %s", asked.Value, used[address]),
			}
		default:
			used[address] = nameOf(g).String()
			g.addresses = append(g.addresses, address)
		}
	}
}

// keep takes the address that a Gateway has been given before.
func (g *gateway) keep(pool netip.Prefix, used map[netip.Addr]string) {
	for _, had := range g.Status.Addresses {
		address, err := netip.ParseAddr(had.Value)
		if err == nil && usable(pool, address) && used[address] == "" {
			used[address] = nameOf(g).String()
			g.addresses = append(g.addresses, address)
			return
		}
	}
}

// take takes the first free address.
func (g *gateway) take(pool netip.Prefix, used map[netip.Addr]string) {
	for address := pool.Masked().Addr().Next(); usable(pool, address); address = address.Next() {
		if used[address] == "" {
			used[address] = nameOf(g).String()
			g.addresses = append(g.addresses, address)
			return
		}
	}
	g.unusable = problem{
		string(gw.GatewayReasonAddressNotAssigned), fmt.Sprintf("no free address in the pool %s", pool),
	}
}

// usable reports whether an address is one of the pool, but neither its first nor its last.
func usable(pool netip.Prefix, address netip.Addr) bool {
	return pool.Contains(address) && address != pool.Masked().Addr() && pool.Contains(address.Next())
}
