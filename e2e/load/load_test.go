package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// An attacker opens no faster than its rate (four times that at first), holds no more than its number, and opens again
// what was closed.
func TestAttackKeepsItsNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &attack{number: 50, rate: 10}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		closing := make(chan struct{})
		var done atomic.Bool
		go func() {
			if err := a.keep(ctx, func(_ context.Context, i int, opened func()) error {
				if i%2 == 1 {
					return errors.New("not opened")
				}
				opened()
				<-closing
				return nil
			}); err != nil {
				t.Error(err)
			}
			done.Store(true)
		}()
		time.Sleep(time.Second + 10*time.Millisecond)
		counts := func() attackCounts {
			synctest.Wait()
			return attackCounts{a.opened.Load(), a.ended.Load(), a.failed.Load(), a.standing.Load()}
		}
		if diff := cmp.Diff(attackCounts{Opened: 21, Failed: 20, Standing: 21}, counts()); diff != "" {
			t.Errorf("after 1 s (-want +got):\n%s", diff)
		}
		time.Sleep(10 * time.Second)
		if diff := cmp.Diff(attackCounts{Opened: 50, Failed: 49, Standing: 50}, counts()); diff != "" {
			t.Errorf("after 11 s (-want +got):\n%s", diff)
		}
		close(closing) // what comes now is closed at once
		time.Sleep(10 * time.Second)
		if got := counts(); got.Standing != 0 || got.Ended != got.Opened || got.Opened <= 50 || !done.Load() {
			t.Errorf("in the end: %+v, done %v", got, done.Load())
		}
	})
}

// What is held up counts from when it was due.
func TestTallyCountsAStallForAllThatItHoldsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 9500*time.Millisecond)
		defer cancel()
		var tally tally
		begin := time.Now()
		tally.every(ctx, 1, func(_ context.Context, i int) error {
			if i%5 == 4 {
				return fmt.Errorf("from 10.0.0.1:%d", i)
			}
			time.Sleep(time.Until(begin.Add(8 * time.Second))) // the first eight seconds are one stall
			return nil
		})
		if done, failed := tally.counts(); done != 8 || failed != 2 {
			t.Errorf("%d done, %d failed", done, failed)
		}
		if got := []time.Duration{tally.percentile(50), tally.percentile(100)}; !cmp.Equal(got,
			[]time.Duration{5 * time.Second, 8 * time.Second}) {
			t.Errorf("middle and longest: %v", got)
		}
		if diff := cmp.Diff(map[string]int{"from ADDRESS": 2}, tally.failures); diff != "" {
			t.Errorf("failures (-want +got):\n%s", diff)
		}
	})
}

// Each server has an address of its own in the network of servers.
func TestPodAddresses(t *testing.T) {
	network := netip.MustParsePrefix(podNetwork)
	seen := map[string]bool{}
	for n := 1; n < 1<<17; n++ {
		address := podAddress(n)
		if seen[address] {
			t.Fatalf("the address of server %d is that of another one: %s", n, address)
		}
		seen[address] = true
		if a, err := netip.ParseAddr(address); err != nil || !network.Contains(a) {
			t.Fatalf("the address of server %d: %s", n, address)
		}
	}
}

func TestReportSaysWhatDoesNotHold(t *testing.T) {
	var r report
	r.tell("time", "%d s", 5)
	r.hold(true, "below 256 MiB", "memory", "%d MiB", 200)
	if err := r.err(); err != nil {
		t.Error(err)
	}
	r.hold(false, "all answered", "logins", "%d of %d", 1, 2)
	var out bytes.Buffer
	r.print(&out)
	want := "time    5 s\n" +
		"memory  200 MiB  ok: below 256 MiB\n" +
		"logins  1 of 2   NOT all answered\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if err := r.err(); err == nil || err.Error() != "does not hold: logins" {
		t.Errorf("error: %v", err)
	}
}

func TestArguments(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "usage: load flood|soak [flags]"},
		{[]string{"rain"}, `"rain" is neither flood nor soak`},
		{[]string{"flood", "-for", "soon"}, `invalid value "soon" for flag -for: parse error`},
		{[]string{"soak", "now"}, `unexpected argument "now"; see -help`},
	} {
		if err := mainRun(t.Context(), tt.args, &bytes.Buffer{}); err == nil || err.Error() != tt.want {
			t.Errorf("%v: %v, want %q", tt.args, err, tt.want)
		}
	}
}
