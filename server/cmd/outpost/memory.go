package main

import (
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// limitFiles say how much memory this process may use: cgroup v2 and v1.
var limitFiles = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// limitMemory makes the garbage collector work harder before the container's limit is reached. GOMEMLIMIT wins; the number
// of processors is seen by Go itself.
func limitMemory(lookup func(string) (string, bool), log *slog.Logger) {
	if set, _ := lookup("GOMEMLIMIT"); set != "" {
		return
	}
	for _, file := range limitFiles {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if limit, ok := memoryLimit(string(text)); ok {
			debug.SetMemoryLimit(limit)
			log.Debug("memory limit", "bytes", limit, "file", file)
		}
		return
	}
}

// memoryLimit is nine tenths of a cgroup's limit; "max" and the huge number of cgroup v1 are none.
func memoryLimit(text string) (int64, bool) {
	limit, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || limit <= 0 || limit > 1<<50 {
		return 0, false
	}
	return limit / 10 * 9, true
}
