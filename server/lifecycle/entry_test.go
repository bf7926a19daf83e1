package lifecycle

import (
	"testing"

	"github.com/outposts-dev/outposts/server/outpost"
)

// The address of a server that was started anew stays open when its predecessor is forgotten.
func TestForbidLeavesTheSuccessor(t *testing.T) {
	x := newIndex()
	p := permit{"hub-a", "jupyter-maria--lab.outpost.svc.cluster.local", "41234"}
	service := func(startID string) *entry {
		return newEntry(outpost.Service{
			Summary: outpost.Summary{
				Key: outpost.Key{Hub: "hub-a", Name: "lab", StartID: startID},
			}, Address: "http://" + p.host + ":" + p.port,
		}, outpost.Callbacks{})
	}
	old, successor := service("1"), service("2")
	x.allow(old)
	x.allow(successor)
	x.forbid(old)
	if x.permitted(p) == nil {
		t.Error("closed")
	}
	x.forbid(successor)
	if x.permitted(p) != nil {
		t.Error("open")
	}
}
