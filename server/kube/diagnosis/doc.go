// Package diagnosis says from what Kubernetes reports about a server's pod how the server does, and whether its start
// can still succeed. It is pure: what must be asked of Kubernetes is asked by functions that its caller gives.
//
// Kubernetes says most of it in texts that are no interface. Those that are relied upon are in tables, with where they
// come from (passing.go, event.go, absent.go); any other text counts for as little as possible.
package diagnosis
