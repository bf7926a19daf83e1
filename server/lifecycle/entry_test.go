package lifecycle

import (
	"testing"

	"github.com/outposts-dev/outposts/server/outpost"
)

// The address of a server that was started anew stays open when its predecessor is forgotten.
func TestForbidLeavesTheSuccessor(t *testing.T) {
	x := newIndex(func(outpost.Key) {})
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

// A hub knows whether it is the only one: then what names no hub is its own.
func TestAHubKnowsOfOthers(t *testing.T) {
	m := &Manager{}
	for _, names := range [][]string{{"a"}, {"a", "b"}, {"b"}} {
		var hubs []outpost.Hub
		for _, name := range names {
			hubs = append(hubs, outpost.Hub{Name: name})
		}
		if err := m.SetHubs(hubs); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if h, err := m.hub(name); err != nil || h.Several != (len(names) > 1) {
				t.Errorf("hubs %v: %+v, %v", names, h, err)
			}
		}
	}
}
