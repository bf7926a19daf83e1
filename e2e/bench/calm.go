package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/e2e/process"
)

const (
	calmShare = 0.15             // of all processors: two clusters that nobody uses need half of it
	calmFor   = time.Second      // how long it must be as calm
	calmLimit = 10 * time.Second // on a machine that has other work, the spread of the figures tells
)

// calm waits until the machine has tidied up. Pods that are deleted without grace are gone for the API server long
// before their containers are, and what is measured next would pay for them.
func calm(ctx context.Context) error {
	limit := time.After(calmLimit)
	tick := time.NewTicker(calmFor)
	defer tick.Stop()
	for {
		busy, idle, err := processorTime()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit:
			return nil
		case <-tick.C:
		}
		laterBusy, laterIdle, err := processorTime()
		if err != nil {
			return err
		}
		if busy, idle = laterBusy-busy, laterIdle-idle; busy <= calmShare*(busy+idle) {
			return nil
		}
	}
}

// processorTime returns the time of all processors since the machine started, in ticks of the kernel.
func processorTime() (busy, idle float64, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	// cpu user nice system idle iowait irq softirq steal, and guests, which are counted in user
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	for i, field := range fields[1:9] {
		ticks, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/stat begins with %q", line)
		}
		if i == 3 || i == 4 {
			idle += ticks
		} else {
			busy += ticks
		}
	}
	return busy, idle, nil
}

// busyTime returns how long all processors together have worked since the machine started.
func busyTime() (time.Duration, error) {
	busy, _, err := processorTime()
	return time.Duration(busy) * (time.Second / process.UserHZ), err
}
