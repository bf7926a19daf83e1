package outpost

import "testing"

// The address of a server that was started anew stays open when its predecessor is forgotten.
func TestForbidLeavesTheSuccessor(t *testing.T) {
	x := newIndex()
	p := permit{"hub-a", "jupyter-maria--lab.outpost.svc.cluster.local", "41234"}
	old, successor := newEntry(Service{Key: Key{"hub-a", "lab", "1"}}, callbacks{}), newEntry(Service{Key: Key{"hub-a", "lab", "2"}}, callbacks{})
	x.allow(old, p)
	x.allow(successor, p)
	x.forbid(old, p)
	if x.permitted(p) == nil {
		t.Error("closed")
	}
	x.forbid(successor, p)
	if x.permitted(p) != nil {
		t.Error("open")
	}
}
