// Package server is the outpost process: it puts together what the packages below it do.
//
// A hub's request enters [httpapi], becomes a request in the words of [outpost] to the Manager of [lifecycle], which
// asks [flavor] whether the user may start it, stores a row ([store], sealed by [seal]) and lets a Spawner make a pod.
// Progress and flavors go back to the hub through [hubclient]. SSH of the hub enters [sshd], which asks the Manager
// what that hub may open. Settings come from [config]; metrics and readiness have a listener of their own.
//
// [New] wires everything in the order in which it depends on one another; [Server.Run] runs it and takes it down in
// reverse. Package cmd/outpost adds the Kubernetes client, signals, the exit code, and by footprint limits on the
// memory and processors that the process uses.
//
// [NewTunnels] makes another process of the same program: the end of that SSH in the hub's cluster, which [tunnels] is.
// Where only the outpost can connect, [dialout] is between the two.
//
// [httpapi]: https://pkg.go.dev/github.com/outposts-dev/outposts/server/httpapi
// [outpost]: https://pkg.go.dev/github.com/outposts-dev/outposts/server/outpost
// [lifecycle]: https://pkg.go.dev/github.com/outposts-dev/outposts/server/lifecycle
// [flavor]: https://pkg.go.dev/github.com/outposts-dev/outposts/server/flavor
// [store]: https://pkg.go.dev/github.com/outposts-dev/outposts/server/store
// [seal]: https://pkg.go.dev/github.com/outposts-dev/outposts/server/seal
// [hubclient]: https://pkg.go.dev/github.com/outposts-dev/outposts/server/hubclient
// [sshd]: https://pkg.go.dev/github.com/outposts-dev/outposts/server/sshd
// [config]: https://pkg.go.dev/github.com/outposts-dev/outposts/server/config
// [dialout]: https://pkg.go.dev/github.com/outposts-dev/outposts/server/dialout
// [tunnels]: https://pkg.go.dev/github.com/outposts-dev/outposts/server/tunnels
package server
