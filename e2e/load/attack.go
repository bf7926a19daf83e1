package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/e2e/process"
)

// attacker is one kind of attack, in a process of its own.
type attacker struct {
	role    string
	process *process.Process
	last    atomic.Pointer[attackCounts]
	peak    atomic.Int64 // of the standing
}

// attackCounts is what an attacker prints every second, of connections, of channels, or of guesses.
type attackCounts struct {
	Opened, Ended, Failed int64 // ended by the outpost; failed to open
	Standing              int64 // now
}

// startAttack starts an attacker of so many connections (or channels, or guesses), of which it opens so many a second.
// targets are addresses of servers of the first hub, whose key it has, separated by commas.
func startAttack(o *outpost, targets string, oneSource bool, size attackSize) (*attacker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// The attacker's machine is another one: here it gets the processor that the outpost and its hubs leave.
	p, out, err := process.Start("nice", "-n", "10", self, size.role,
		"-number", fmt.Sprint(size.number), "-rate", fmt.Sprint(size.perSecond), "-api", o.api, "-ssh", o.ssh,
		"-hub", o.hubs[0].name, "-key", o.path(o.hubs[0].name+".key"), "-targets", targets,
		fmt.Sprintf("-one-source=%v", oneSource))
	if err != nil {
		return nil, err
	}
	a := &attacker{role: size.role, process: p}
	a.last.Store(&attackCounts{})
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var counts attackCounts
			if json.Unmarshal(lines.Bytes(), &counts) == nil {
				a.last.Store(&counts)
				a.peak.Store(max(a.peak.Load(), counts.Standing))
			}
		}
	}()
	return a, nil
}

// attackSize is how much of an attack there is.
type attackSize struct {
	role      string
	number    int
	perSecond float64
}

// startAttacks starts attackers, and returns what ends them.
func startAttacks(
	o *outpost, targets string, oneSource bool, sizes []attackSize,
) (all []*attacker, stop func(), err error) {
	stop = func() {
		for _, a := range all {
			a.process.Stop()
		}
	}
	for _, size := range sizes {
		a, err := startAttack(o, targets, oneSource, size)
		if err != nil {
			stop()
			return nil, nil, err
		}
		all = append(all, a)
	}
	return all, stop, nil
}

// attack is the side of the attacker.
type attack struct {
	number                          int
	rate                            float64
	api, ssh, hub, targets          string
	oneSource                       bool
	signer                          ssh.Signer
	opened, ended, failed, standing atomic.Int64
}

func parseAttack(ctx context.Context, args []string) (*attack, error) {
	a := &attack{}
	fs := flag.NewFlagSet("attack", flag.ContinueOnError)
	fs.IntVar(&a.number, "number", 0, "connections")
	fs.Float64Var(&a.rate, "rate", 0, "of them in a second")
	fs.StringVar(&a.api, "api", "", "address")
	fs.StringVar(&a.ssh, "ssh", "", "address")
	fs.StringVar(&a.hub, "hub", "", "name")
	fs.StringVar(&a.targets, "targets", "", "addresses of servers")
	fs.BoolVar(&a.oneSource, "one-source", false, "all from the address of the hubs")
	key := fs.String("key", "", "file")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(*key)
	if err != nil {
		return nil, err
	}
	if a.signer, err = ssh.ParsePrivateKey(text); err != nil {
		return nil, err
	}
	go a.tell(ctx)
	return a, nil
}

// tell prints the counts every second.
func (a *attack) tell(ctx context.Context) {
	for next := time.Now(); sleepUntil(ctx, next); next = next.Add(time.Second) {
		_ = json.NewEncoder(os.Stdout).Encode(attackCounts{ // who reads has ended, and so do we
			a.opened.Load(), a.ended.Load(), a.failed.Load(), a.standing.Load(),
		})
	}
}

// keep keeps connections open until ctx ends. open opens the i-th, says so by opened, and returns when the outpost has
// closed it, which is then opened again, no faster than the rate. The first ones come four times as fast, so that they
// are all there before the outpost has lost its patience with one.
func (a *attack) keep(ctx context.Context, open func(ctx context.Context, i int, opened func()) error) error {
	places := make(chan struct{}, a.number)
	next := time.Now()
	for i := 0; ; i++ {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		if time.Since(next) > time.Second {
			next = time.Now() // it is late, and not faster afterwards
		}
		if !sleepUntil(ctx, next) {
			return nil
		}
		rate := a.rate
		if i < a.number {
			rate *= 4
		}
		next = next.Add(time.Duration(float64(time.Second) / rate))
		go func() {
			defer func() { <-places }()
			stood := false
			err := open(ctx, i, func() {
				stood = true
				a.opened.Add(1)
				a.standing.Add(1)
			})
			switch {
			case stood:
				a.standing.Add(-1)
				a.ended.Add(1)
			case err != nil:
				a.failed.Add(1)
			}
		}()
	}
}
