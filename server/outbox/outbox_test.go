package outbox_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/outbox"
)

func TestQueue(t *testing.T) {
	for _, tc := range []struct {
		name string
		slow time.Duration // of each delivery
		use  func(q *outbox.Queue[int])
		want []int
	}{
		{"in order", 0, func(q *outbox.Queue[int]) { q.Put(1); q.Put(2); q.Put(3); q.Close() }, []int{1, 2, 3}},
		{"the oldest are dropped", time.Second, func(q *outbox.Queue[int]) {
			for i := range 10 {
				q.Put(i)
			}
			q.Close()
		}, []int{7, 8, 9}},
		{"a closed queue takes nothing", 0, func(q *outbox.Queue[int]) { q.Close(); q.Put(1); q.CloseWith(2) }, nil},
		{"the last takes the place of all", time.Hour, func(q *outbox.Queue[int]) {
			q.Put(1)
			q.Put(2)
			q.CloseWith(9)
		}, []int{9}},
		{"grace is limited", 7 * time.Second, func(q *outbox.Queue[int]) {
			q.Put(1)
			q.Put(2)
			q.Put(3)
			q.Close()
		}, []int{1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []int
				q := outbox.New(3, 10*time.Second, func(ctx context.Context, n int) {
					select {
					case <-time.After(tc.slow):
						got = append(got, n)
					case <-ctx.Done():
					}
				})
				tc.use(q)
				q.Run(t.Context())
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("delivered (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := outbox.New(3, time.Second, func(context.Context, int) {})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { q.Run(ctx); close(ended) }()
		synctest.Wait()
		q.Put(1)
		synctest.Wait()
		cancel()
		<-ended
	})
}
