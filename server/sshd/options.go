package sshd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Options is what a [Server] needs (the first block) and what it may be told (the rest; zero values are defaults).
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
	// PermitOpen tells whether a hub may open host:port now, with host as the client wrote it. It is called once for
	// each channel, with the hub of the key that the handshake has proved, and from many goroutines.
	PermitOpen func(hub, host string, port uint16) (allowed bool)

	// User is the only user name that may log in. Default "jhuboutpost".
	User string
	// RefusedAddresses are never dialled, whatever a name resolves to: the API server's and the node's addresses. Our own
	// addresses, loopback, link-local, multicast, unspecified and cloud metadata addresses are always refused.
	RefusedAddresses []netip.Prefix
	// Logger gets one line at info level for each connection that sent something. Default: nothing is logged.
	Logger *slog.Logger
	// Observer is told what happens, for metrics. Default: nobody.
	Observer Observer

	// Moving is told how many connections move much data, each time that the number changes. Calls come one after the
	// other and hold up what is moved. Default: nobody.
	Moving func(connections int)

	// HandshakeTimeout bounds the time from accept to a finished authentication. Default 10 s.
	HandshakeTimeout time.Duration
	// MaxUnauthenticated bounds connections in handshake. A new one over the bound takes the place of the oldest of
	// the source that has most of them. Default 512.
	MaxUnauthenticated int
	// MaxUnauthenticatedPerSource bounds them for one source: an IPv4 address or an IPv6 /64. Behind a NodePort all
	// hubs may share one source. Default 128.
	MaxUnauthenticatedPerSource int
	// MaxConnections bounds authenticated connections. Default 4096.
	MaxConnections int
	// MaxChannelsPerConnection bounds channels of one connection, those being opened included. A hub uses one
	// connection for all its users, and each browser connection is a channel. Default 8192.
	MaxChannelsPerConnection int
	// MaxChannels bounds the channels of all connections. Default 32768.
	MaxChannels int
	// DialTimeout bounds resolving and dialling a target together. Default 10 s.
	DialTimeout time.Duration
	// KeepAliveInterval is the silence after which a connection's peer is asked for a sign of life. Default 15 s.
	KeepAliveInterval time.Duration
	// DeadAfter is the silence after which a peer is given up, found within this time. It is also how long a single
	// write or a key exchange may make no progress. Default 45 s.
	DeadAfter time.Duration
	// ReloadInterval is how often the directories are looked at when nobody connects. Default 2 s.
	ReloadInterval time.Duration
	// DrainTimeout bounds how long Serve waits for open channels after its context has ended. Default 20 s.
	DrainTimeout time.Duration
	// RekeyThreshold is the number of bytes after which keys are exchanged anew. Default: the cipher's, 64 GiB.
	RekeyThreshold uint64

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
	// Dialled is called after each attempt to reach a permitted target.
	Dialled(hub string, took time.Duration, err error)
	// Copied adds to the bytes that were forwarded: up is from the hub to its servers. Called every few seconds.
	Copied(hub string, up, down int64)
	// Reloaded is called after keys were read again because something changed; err says what was refused or failed.
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
	RefusedType     = "type"     // a channel type other than direct-tcpip
	RefusedRequest  = "request"  // a global request that is neither a keepalive nor about host keys
	RefusedPayload  = "payload"  // a direct-tcpip request that is malformed
	RefusedTarget   = "target"   // not a live service of this hub, or not permitted to this key
	RefusedAddress  = "address"  // the name resolved to an address that is never dialled
	RefusedKey      = "key"      // the key was removed or has expired since the handshake
	RefusedLimit    = "limit"    // too many channels
	RefusedStopping = "stopping" // the server is shutting down
)

type nobody struct{}

func (nobody) Handshake(string, time.Duration)      {}
func (nobody) Connection(string, int)               {}
func (nobody) Channel(string, int)                  {}
func (nobody) Refused(string, string)               {}
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
		errs = append(errs, errors.New("Hubs names a hub twice"))
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
	setDefault(&o.User, "jhuboutpost")
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"HandshakeTimeout", &o.HandshakeTimeout, 10 * time.Second},
		{"DialTimeout", &o.DialTimeout, 10 * time.Second},
		{"KeepAliveInterval", &o.KeepAliveInterval, 15 * time.Second},
		{"DeadAfter", &o.DeadAfter, 45 * time.Second},
		{"ReloadInterval", &o.ReloadInterval, 2 * time.Second},
		{"DrainTimeout", &o.DrainTimeout, 20 * time.Second},
	} {
		setDefault(d.value, d.def)
		if *d.value < 0 {
			errs = append(errs, fmt.Errorf("%s is negative", d.name))
		}
	}
	if o.DeadAfter <= o.KeepAliveInterval {
		errs = append(errs, errors.New("DeadAfter is not longer than KeepAliveInterval"))
	}
	for _, l := range []struct {
		name  string
		value *int
		def   int
	}{
		{"MaxUnauthenticated", &o.MaxUnauthenticated, 512},
		{"MaxUnauthenticatedPerSource", &o.MaxUnauthenticatedPerSource, 128},
		{"MaxConnections", &o.MaxConnections, 4096},
		{"MaxChannelsPerConnection", &o.MaxChannelsPerConnection, 8192},
		{"MaxChannels", &o.MaxChannels, 32768},
	} {
		setDefault(l.value, l.def)
		if *l.value < 0 {
			errs = append(errs, fmt.Errorf("%s is negative", l.name))
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
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

// setDefault replaces a zero value.
func setDefault[T comparable](value *T, def T) {
	var zero T
	if *value == zero {
		*value = def
	}
}
