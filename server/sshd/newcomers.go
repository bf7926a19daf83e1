package sshd

import "github.com/outposts-dev/outposts/server/source"

// The stages of a handshake, after silence.
const (
	stageIdentified = 1 + iota // the client has sent its identification
	stageRecognized            // the client has offered an authorized key
)

// newNewcomers returns the queue of connections in handshake, in which no flood keeps a login out, not even one from
// the address that the login comes from. random returns a number from 0 to n-1.
func newNewcomers(l limits, random func(n int) int) *source.Queue {
	return source.NewQueue(l.maxUnauthenticated, l.maxUnauthenticatedPerSource,
		func(list []*source.Place) *source.Place { return leastProved(list, random) })
}

// leastProved returns which connection of a source goes for another one. It is one that has not offered an authorized
// key, chosen at random from the older half of those: a login needs a tenth of a second to get that far, in which not
// many others come, while the flood's own stay for ten. In that half the silent go first, since a client identifies
// itself at once (RFC 4253 section 4.2).
func leastProved(list []*source.Place, random func(n int) int) *source.Place {
	list = source.Below(stageRecognized, list)
	list = source.Below(stageIdentified, list[:(len(list)+1)/2])
	return list[random(len(list))]
}
