package main

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// busy returns how long the processors of this machine have worked since it began, for whatever process; zero where the
// kernel does not say it as Linux does (proc(5), /proc/stat).
func busy() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return busyOf(line)
}

// busyOf adds up the first line of /proc/stat, in hundredths of a second, but for idle, iowait and what other machines
// took; a guest's time is in that of user and nice.
func busyOf(line string) time.Duration {
	var sum int64
	for i, field := range strings.Fields(line) {
		switch i {
		case 1, 2, 3, 6, 7: // user, nice, system, irq, softirq
			ticks, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0
			}
			sum += ticks
		}
	}
	return time.Duration(sum) * 10 * time.Millisecond
}
