// Package dialout lets an outpost that nobody can connect to be reached all the same: it opens WebSockets (RFC 6455)
// to the tunnels of its hub, through the hub's public URL, and is then the SSH server on each of them as it is on its
// port. Who trusts whom, and by what, stays as it is: the tunnels know the outpost's host key, the outpost the hub's
// key. What is below SSH, the URL, its TLS and the proxies on the way, can hold a connection up and no more.
//
// On the outpost's side a [Dialer] keeps one connection to each replica of the tunnels and hands it to the SSH server
// by a [Listener]. On the other side a [Gate] takes them, bounds those that have not yet proved a host key, and hands
// them to the tunnels; and [NewAPI] leads the hub's requests to the outpost's API through the same connections.
package dialout

// What the two sides tell each other beside SSH, in headers of the request and of its answer.
const (
	// processHeader distinguishes the processes of one outpost.
	processHeader = "Outpost-Process"
	// replicasHeader has the replicas of the tunnels that the process is connected to. One of them answers 409
	// Conflict, so that another attempt is made until each replica has its connection.
	replicasHeader = "Outpost-Replicas"
	// replicaHeader names the replica that answers.
	replicaHeader = "Outpost-Replica"
)

const (
	// maxReplicas is how many replicas a process connects to.
	maxReplicas = 32
	// maxMessage is what one message may have. We send half of it.
	maxMessage = 64 << 10
	// maxHeader is what an answer, of a proxy or of the tunnels, may have before its body.
	maxHeader = 16 << 10
)

// APIHost and APIPort are what a hub's key may open by SSH beside servers: the API of the outpost that dials out. No
// host has such a name (RFC 6761 section 6.4), so that it is nobody's server.
const (
	APIHost = "api.outpost.invalid"
	APIPort = 80
)
