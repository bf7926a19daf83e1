package sshd

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Options is what a [Server] needs (the first block) and what it may be told (the rest; zero values are defaults).
// How much it serves, and for how long it waits, follows from the number of hubs and the memory that the process may
// use: see limits.go.
type Options struct {
	// Hubs are the names of the hubs that may have keys; at least one.
	Hubs []string
	// HostKeysDir holds private keys in files named ssh_host_*_key, as OpenSSH names them. Of several keys of one type
	// the first by file name is used; the others are announced to clients (hostkeys-00@openssh.com), so that a rotation
	// is: add the new key under a later name, wait until clients have met it, remove the old one.
	HostKeysDir string
	// AuthorizedKeysDir holds files of authorized_keys lines. A file named after a hub binds its keys to that hub; the
	// name authorized_keys stands for the only hub there is and is refused when there are several. Names that begin
	// with a dot are ignored. Both directories are read again when they change.
	AuthorizedKeysDir string
	// PermitOpen reports whether a hub may open host:port now, with host as the client wrote it. It is called once for
	// each channel, with the hub of the key that the handshake has proved, and from many goroutines.
	PermitOpen func(hub, host string, port uint16) (allowed bool)

	// RefusedAddresses are never dialled, whatever a name resolves to: those of API server and node. Our own addresses,
	// loopback, link-local, multicast, unspecified and cloud metadata addresses are always refused.
	RefusedAddresses []netip.Prefix
	// Logger gets one line at info level for each connection that sent something. Default: nothing is logged.
	Logger *slog.Logger
	// Observer counts what happens, for metrics. Default: nobody.
	Observer Observer
	// Moving is called with the number of connections that move much data, each time that it changes. Calls come one
	// after the other and hold up what is moved. Default: nobody.
	Moving func(connections int)

	// Named are targets beside those of PermitOpen, by host:port: connections to them are made by a function, for a
	// client at an address. Every hub may open them, with a key that permits them. The names are none that a server
	// could have.
	Named map[string]func(ctx context.Context, client netip.Addr) (net.Conn, error)

	// Resolve looks up a host name. Default: the system's resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial connects to a target that was resolved and checked. Default: TCP with keepalive probes.
	Dial func(ctx context.Context, target netip.AddrPort) (net.Conn, error)
}

// Observer counts what happens. Methods must be quick and safe for concurrent use. Labels come from fixed sets (the
// constants of this package) and from Options.Hubs, so that they are safe as metric labels.
type Observer interface {
	// Handshake is called once for each accepted connection with one of the Handshake* results.
	Handshake(result string, took time.Duration)
	// Connection is called with +1 when a connection has authenticated and with -1 when it has ended.
	Connection(hub string, delta int)
	// Channel is called with +1 when a channel was accepted and with -1 when it has ended.
	Channel(hub string, delta int)
	// Refused is called for each channel or request that was refused, with one of the Refused* reasons.
	Refused(hub, reason string)
	// Closed is called for each channel that the server closes by itself, with one of the Closed* reasons.
	Closed(hub, reason string)
	// Dialled is called after each attempt to reach a permitted target.
	Dialled(hub string, took time.Duration, err error)
	// Copied adds to the bytes that were forwarded: up is from the hub to its servers. Called every few seconds.
	Copied(hub string, up, down int64)
	// Reloaded is called after changed keys were read again; err says what was refused or failed.
	Reloaded(err error)
}

// Results of a handshake.
const (
	HandshakeOK      = "ok"
	HandshakeFailed  = "failed"  // wrong key, user or protocol
	HandshakeTimeout = "timeout" // not finished within HandshakeTimeout
	HandshakeDropped = "dropped" // too many at once
	HandshakeEmpty   = "empty"   // closed without a byte: a probe
)

// Reasons of a refusal.
const (
	RefusedType       = "type"       // a channel type other than direct-tcpip
	RefusedRequest    = "request"    // a global request that is neither a keepalive nor about host keys
	RefusedPayload    = "payload"    // a direct-tcpip request that is malformed
	RefusedTarget     = "target"     // not a live service of this hub, or not permitted to this key
	RefusedAddress    = "address"    // the name resolved to an address that is never dialled
	RefusedKey        = "key"        // the key was removed or has expired since the handshake
	RefusedLimit      = "limit"      // too many channels, of all hubs beyond the own share
	RefusedBusy       = "busy"       // too many channels to this target
	RefusedConnection = "connection" // a connection, not a channel: the hub has too many
	RefusedStopping   = "stopping"   // the server is shutting down
)

// ClosedWaiting is the reason of a channel closed because its target or its client did not read, and too much waited.
const ClosedWaiting = "waiting"

type nobody struct{}

func (nobody) Handshake(string, time.Duration)      {}
func (nobody) Connection(string, int)               {}
func (nobody) Channel(string, int)                  {}
func (nobody) Refused(string, string)               {}
func (nobody) Closed(string, string)                {}
func (nobody) Dialled(string, time.Duration, error) {}
func (nobody) Copied(string, int64, int64)          {}
func (nobody) Reloaded(error)                       {}

// withDefaults returns o with every zero value replaced, or all that is wrong with it.
func (o Options) withDefaults() (Options, error) {
	var errs []error
	if len(o.Hubs) == 0 {
		errs = append(errs, errors.New("Hubs is empty"))
	}
	if sorted := slices.Sorted(slices.Values(o.Hubs)); len(slices.Compact(sorted)) != len(o.Hubs) {
		errs = append(errs, errors.New("Hubs lists a hub twice"))
	}
	if o.HostKeysDir == "" {
		errs = append(errs, errors.New("HostKeysDir is empty"))
	}
	if o.AuthorizedKeysDir == "" {
		errs = append(errs, errors.New("AuthorizedKeysDir is empty"))
	}
	if o.PermitOpen == nil {
		errs = append(errs, errors.New("PermitOpen is nil"))
	}
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	if o.Observer == nil {
		o.Observer = nobody{}
	}
	if o.Resolve == nil {
		o.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if o.Dial == nil {
		dialer := &net.Dialer{}
		o.Dial = func(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", target.String())
		}
	}
	return o, errors.Join(errs...)
}
