// Package sshd is SSH in: local port forwarding to single-user servers, and nothing more.
//
// A hub authenticates with a public key that is bound to it, and may then open direct-tcpip channels (RFC 4254
// section 7.2) to the addresses that Options.PermitOpen allows it. Every other channel and request is refused. There
// are no accounts, no shell, no command and no remote forwarding, so a stolen hub key opens that hub's running
// servers and nothing else.
//
// The way of one connection: [Server.Serve] accepts and admits it (startups.go), conn.go does the handshake with the
// keys of authorizedkeys.go and keyset.go and then serves its channels, forward.go checks, dials and splices each of
// them, address.go refuses addresses that no single-user server has, movers.go tells how many connections move much
// data. wire.go and buffers.go are between the handshake's library and the socket: they read ahead and write in
// batches, and borrow memory only while data moves.
package sshd
