package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
)

// together calls f n times at once and returns how many calls succeeded; other errors than of the kind allowed fail.
func together(t *testing.T, n int, allowed outpost.Kind, f func(i int) error) int {
	t.Helper()
	var group sync.WaitGroup
	var succeeded atomic.Int64
	start := make(chan struct{})
	for i := range n {
		group.Go(func() {
			<-start
			if err := f(i); err == nil {
				succeeded.Add(1)
			} else if outpost.KindOf(err) != allowed {
				t.Errorf("call %d: %v", i, err)
			}
		})
	}
	close(start)
	group.Wait()
	return int(succeeded.Load())
}

func parallelQuota(t *testing.T, s outpost.Store) {
	const limit = 10
	n := together(t, 64, outpost.KindQuota, func(i int) error {
		return s.Insert(t.Context(), Service("hub-a", fmt.Sprintf("lab-%d", i), "1"), func(u flavor.Usage) error {
			if u.ByFlavor["tiny"] >= limit {
				return outpost.Errorf(outpost.KindQuota, "full")
			}
			return nil
		})
	})
	rows, err := s.List(t.Context(), "hub-a")
	if err != nil {
		t.Fatal(err)
	}
	if n != limit || len(rows) != limit {
		t.Errorf("%d inserts and %d rows, want %d", n, len(rows), limit)
	}
}

func parallelKey(t *testing.T, s outpost.Store) {
	n := together(t, 64, outpost.KindConflict, func(int) error {
		return s.Insert(t.Context(), Service("hub-a", "lab", "1"), Allow)
	})
	rows, err := s.List(t.Context(), "hub-a")
	if err != nil {
		t.Fatal(err)
	}
	if n != 1 || len(rows) != 1 {
		t.Errorf("%d inserts and %d rows, want 1", n, len(rows))
	}
}

func parallelStops(t *testing.T, s outpost.Store) {
	service := Service("hub-a", "lab", "1")
	insert(t, s, service)
	var firsts atomic.Int64
	together(t, 16, outpost.KindInternal, func(int) error {
		first, err := s.MarkStopping(t.Context(), service.Key)
		if first {
			firsts.Add(1)
		}
		if err != nil {
			t.Error(err)
		}
		return err
	})
	if firsts.Load() != 1 {
		t.Errorf("%d stops were the first", firsts.Load())
	}
}
