package outpost

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff waits longer from try to try: 0.2 s, doubling to 30 s, each drawn from the upper half.
type backoff struct{ next time.Duration }

const (
	firstWait = 200 * time.Millisecond
	lastWait  = 30 * time.Second
)

func newBackoff() *backoff { return &backoff{next: firstWait} }

// wait waits for the next try; false if ctx ended.
func (b *backoff) wait(ctx context.Context) bool {
	d := b.next/2 + rand.N(b.next/2)
	b.next = min(2*b.next, lastWait)
	return sleep(ctx, d)
}

// sleep waits; false if ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
