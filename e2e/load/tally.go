package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"sync"
	"time"
)

// addresses differ from one failure to the next of the same kind.
var addresses = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+:\d+`)

// tally is what came of many operations of one kind. It is safe for concurrent use.
type tally struct {
	what    string
	verbose bool

	mu       sync.Mutex
	times    []time.Duration // of those that succeeded
	failures map[string]int  // by what the error says
	failed   int
}

// note notes an operation that was due at some time, and its result.
func (t *tally) note(due time.Time, err error) {
	took := time.Since(due)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.times = append(t.times, took)
		return
	}
	if t.failures == nil {
		t.failures = map[string]int{}
	}
	t.failed++
	text := addresses.ReplaceAllString(err.Error(), "ADDRESS")
	if len(t.failures) >= 20 && t.failures[text] == 0 {
		text = "others"
	}
	t.failures[text]++
	if t.verbose {
		fmt.Fprintf(os.Stderr, "%s: %s: %v, after %v\n", time.Now().Format(time.TimeOnly), t.what, err, took)
	}
}

// counts returns how many have succeeded, and how many have failed.
func (t *tally) counts() (done, failed int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.times), t.failed
}

// percentile returns the time that so many percent of those that succeeded were at most late; 0 without any.
func (t *tally) percentile(percent float64) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.times) == 0 {
		return 0
	}
	slices.Sort(t.times)
	return t.times[min(int(float64(len(t.times))*percent/100), len(t.times)-1)]
}

// every does something so often in a second until ctx ends, and waits for all that it has begun. The time of each
// counts from when it was due, so that a stall counts for all that it holds up.
func (t *tally) every(ctx context.Context, perSecond float64, do func(ctx context.Context, i int) error) {
	interval := time.Duration(float64(time.Second) / perSecond)
	var group sync.WaitGroup
	defer group.Wait()
	begin := time.Now()
	for i := 0; ; i++ {
		due := begin.Add(time.Duration(i) * interval)
		if !sleepUntil(ctx, due) {
			return
		}
		group.Go(func() {
			each, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			defer cancel()
			t.note(due, do(each, i))
		})
	}
}

// sleepUntil reports whether the time has come before ctx has ended.
func sleepUntil(ctx context.Context, t time.Time) bool {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
