// Package sshd is the SSH server of an outpost: local port forwarding to single-user servers, and nothing more.
//
// A hub authenticates with a public key that is bound to it, and may then open direct-tcpip channels (RFC 4254
// section 7.2) to the addresses that Options.PermitOpen allows it. Every other channel and request is refused. There
// are no accounts, no shell, no command and no remote forwarding, so a stolen hub key opens that hub's running
// servers and nothing else.
//
// A connection comes this way: [Server.Serve] accepts it and admits it among those in handshake (startups.go),
// handshake.go checks its key against those of keyring.go, conn.go serves its channels, and forward.go checks, dials
// and splices each of them; address.go refuses addresses that no single-user server has. limits.go holds every limit.
// Package wire is between the SSH library and the sockets.
package sshd
