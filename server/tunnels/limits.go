package tunnels

import (
	"runtime/debug"
	"time"

	"github.com/outposts-dev/outposts/server/sshd/wire"
	"github.com/outposts-dev/outposts/server/tunnels/remote"
)

// limits are how much is served and for how long is waited. Only tests have others than defaultLimits.
type limits struct {
	dial         time.Duration // for an SSH connection to be made, from the look-up of its name to the login
	silence      time.Duration // after which a connection is dead
	pause        time.Duration // before the second attempt to renew a connection; it doubles with each
	longestPause time.Duration
	steady       time.Duration // a connection that lasted as long is renewed at once
	library      time.Duration // for the SSH library to let go of a connection that has ended
	wait         time.Duration // of a new stream for a connection
	open         time.Duration // for a system to answer a stream; it takes 10 s to find that a target is not there
	look         time.Duration // between two looks at the systems that move much

	// rest is how long a port that one Service has had is not given to another: until every node of the cluster has
	// learned that the first one is gone.
	rest time.Duration

	streams       int   // of all tunnels
	tunnelStreams int   // of one; an outpost takes as many
	backlog       int64 // bytes that wait for browsers, of all streams
}

// remote are those of a connection.
func (l limits) remote() remote.Limits { return remote.Limits{Dial: l.dial, Silence: l.silence} }

func defaultLimits() limits {
	return limits{
		dial: 10 * time.Second, silence: 15 * time.Second, pause: 500 * time.Millisecond,
		longestPause: 10 * time.Second,
		steady:       10 * time.Second, library: 3 * time.Second, wait: 10 * time.Second, open: 15 * time.Second,
		look: wire.MoverLook,
		rest: 30 * time.Second, streams: 16384, tunnelStreams: 256, backlog: maxBacklog(debug.SetMemoryLimit(-1)),
	}
}
