package sshd

import "time"

// user is the only user name that may log in.
const user = "jhuboutpost"

// limits are how much a server serves and for how long it waits. Only tests have others than [defaultLimits].
type limits struct {
	// handshakeTimeout bounds the time from accept to a finished authentication.
	handshakeTimeout time.Duration
	// dialTimeout bounds resolving and dialling a target together.
	dialTimeout time.Duration
	// keepAliveInterval is the silence after which a client is asked for a sign of life.
	keepAliveInterval time.Duration
	// deadAfter is the silence after which a client is given up, found within this time. It is also how long a single
	// write or a key exchange may make no progress. It is longer than keepAliveInterval.
	deadAfter time.Duration
	// reloadInterval is how often the directories of keys are looked at when nobody connects.
	reloadInterval time.Duration
	// drainTimeout bounds how long Serve waits for open channels after its context has ended.
	drainTimeout time.Duration
	// rekeyThreshold is the number of bytes after which keys are exchanged anew; 0 for the cipher's own.
	rekeyThreshold uint64

	// maxUnauthenticated bounds connections in handshake. A new one over the bound takes the place of one of the
	// source that has most of them: see startups.go.
	maxUnauthenticated int
	// maxUnauthenticatedPerSource bounds them for one source: an IPv4 address or an IPv6 /64. Behind a NodePort all
	// hubs may share one source. A new one over the bound takes the place of one of the same source.
	maxUnauthenticatedPerSource int
	// maxConnections bounds authenticated connections.
	maxConnections int
	// maxChannelsPerConnection bounds channels of one connection, those being opened included. A hub uses one
	// connection for all its users, and each browser connection is a channel.
	maxChannelsPerConnection int
	// maxChannels bounds the channels of all connections.
	maxChannels int
}

var defaultLimits = limits{
	handshakeTimeout:  10 * time.Second,
	dialTimeout:       10 * time.Second,
	keepAliveInterval: 15 * time.Second,
	deadAfter:         45 * time.Second,
	reloadInterval:    2 * time.Second,
	drainTimeout:      20 * time.Second,
	rekeyThreshold:    0, // 64 GiB for AES

	maxUnauthenticated:          512,
	maxUnauthenticatedPerSource: 128,
	maxConnections:              4096,
	maxChannelsPerConnection:    8192,
	maxChannels:                 32768,
}
