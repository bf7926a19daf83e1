package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
)

// hubAddress is where both hubs come from, as behind a NodePort, which hides who asks; the attacker comes from there
// too. strangers are the other addresses that the attacker has.
const hubAddress = "127.0.0.1"

var strangers = []string{
	"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.7", "127.0.0.8", "127.0.0.9",
}

// podNetwork has the addresses of servers (RFC 2544, benchmarks). An outpost never dials loopback or an address of its
// own interfaces; these are local without being of an interface.
const podNetwork = "198.18.0.0/15"

func podAddress(n int) string { return fmt.Sprintf("198.%d.%d.%d", 18+n>>16&1, n>>8&255, n&255) }

// prepareNetwork sets the new network namespace up: loopback, the servers' addresses, and ports for all connections.
func prepareNetwork(ctx context.Context) error {
	for _, argv := range [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"ip", "route", "add", "local", podNetwork, "dev", "lo"},
		{"sysctl", "-q", "-w", "net.ipv4.ip_local_port_range=10000 65535"},
	} {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", argv, err, out)
		}
	}
	return nil
}

// sourceOf returns the address that the i-th connection of an attacker comes from: every second one from the hubs', or
// all of them.
func sourceOf(i int, oneSource bool) string {
	if oneSource || i%2 == 0 {
		return hubAddress
	}
	return strangers[i/2%len(strangers)]
}

// dialFrom connects to an address from one of ours.
func dialFrom(ctx context.Context, source, address string) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	return dialer.DialContext(ctx, "tcp", address)
}
