package source

import (
	"net/netip"
	"slices"
	"testing"
)

// queueTest is a Queue that notes in which order connections are dropped.
type queueTest struct {
	*Queue
	dropped []string
}

func (q *queueTest) add(source, name string) *Place {
	return q.Add(Of(netip.MustParseAddr(source)), func() { q.dropped = append(q.dropped, name) })
}

func (q *queueTest) want(t *testing.T, dropped []string, remain int) {
	t.Helper()
	if !slices.Equal(q.dropped, dropped) || q.Len() != remain {
		t.Errorf("dropped %q and %d remain, want %q and %d", q.dropped, q.Len(), dropped, remain)
	}
}

func TestOldestOfTheOwnSourceGoes(t *testing.T) {
	q := &queueTest{Queue: NewQueue(10, 2, Oldest)}
	q.add("192.0.2.1", "other")
	for _, name := range []string{"first", "second", "third", "fourth"} {
		q.add("192.0.2.2", name)
	}
	q.want(t, []string{"first", "second"}, 3)
}

func TestOldestOfTheSourceWithTheMostGoes(t *testing.T) {
	q := &queueTest{Queue: NewQueue(3, 3, Oldest)}
	q.add("192.0.2.1", "quiet")
	q.add("192.0.2.2", "flood 1")
	q.add("2001:db8::1", "quiet too")
	q.want(t, nil, 3)
	q = &queueTest{Queue: NewQueue(3, 3, Oldest)}
	q.add("192.0.2.1", "quiet")
	q.add("192.0.2.2", "flood 1")
	q.add("192.0.2.2", "flood 2")
	q.add("192.0.2.3", "newcomer")
	q.want(t, []string{"flood 1"}, 3)
}

func TestPlaceIsGivenBackOnce(t *testing.T) {
	q := &queueTest{Queue: NewQueue(2, 2, Oldest)}
	one := q.add("192.0.2.1", "one")
	if !q.Remove(one) || q.Remove(one) {
		t.Error("a place must be given back exactly once")
	}
	two := q.add("192.0.2.1", "two")
	q.add("192.0.2.1", "three")
	q.add("192.0.2.1", "four")
	if q.Remove(two) {
		t.Error("a connection that was dropped still has its place")
	}
	q.want(t, []string{"two"}, 2)
	if len(q.bySource) != 1 {
		t.Errorf("%d sources are kept", len(q.bySource))
	}
}

func TestEmptyQueueKeepsNoSource(t *testing.T) {
	q := &queueTest{Queue: NewQueue(4, 2, Oldest)}
	for _, p := range []*Place{q.add("192.0.2.1", "one"), q.add("192.0.2.2", "two")} {
		q.Remove(p)
	}
	q.add("192.0.2.3", "three")
	q.DropAll()
	q.want(t, []string{"three"}, 0)
	if len(q.bySource) != 0 {
		t.Errorf("%d sources are kept", len(q.bySource))
	}
}

func TestBelow(t *testing.T) {
	list := []*Place{{}, {}, {}}
	list[1].Advance(1)
	if got := Below(1, list); !slices.Equal(got, []*Place{list[0], list[2]}) {
		t.Errorf("%d of the three are below stage 1", len(got))
	}
	if got := Below(0, list); !slices.Equal(got, list) {
		t.Errorf("%d of the three are left where none is below", len(got))
	}
}
