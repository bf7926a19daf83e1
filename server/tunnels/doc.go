// Package tunnels leads connections of a hub's cluster to servers on other clusters, through one SSH connection to each
// system.
//
// What a Service says is all there is. For each remote server the hub keeps a Service: its label names the system, its
// annotation the target there, and its target port the port that this process listens on (service.go). The package
// watches those Services (watch.go), decides which of several claims to a port holds (claims.go), and opens and closes
// listeners until they are as the claims say (table.go). A connection to a port (listener.go, stream.go) becomes a
// direct-tcpip channel (RFC 4254 section 7.2) on the SSH connection of its system, which is renewed when it is lost
// (line.go), or which the outpost makes itself (joined.go). Systems, their host keys and one connection are package
// remote. Nothing else is remembered, so a process that has just started serves what one that has run for weeks does.
//
// A port never leads to two servers: a listener belongs to one Service and one target, is closed with all its streams
// when either changes, and its port then rests before another Service gets it. So who still knows the old way, such as
// a node's rules for Services, meets a closed port.
package tunnels
