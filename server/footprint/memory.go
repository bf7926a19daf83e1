// Package footprint fits what the process takes of its machine, memory and processors, to what it does. Settings of the
// Go runtime (GOGC, GOMEMLIMIT, GOMAXPROCS) win.
package footprint

import (
	"bufio"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
)

// limitFiles say how much memory this process may use: cgroup v2 and v1.
var limitFiles = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// LimitMemory makes the garbage collector work harder before the container's limit is reached.
func LimitMemory(lookup func(string) (string, bool), log *slog.Logger) {
	if given(lookup, "GOMEMLIMIT") {
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

// DropStartupPages unmaps the pages of the program file that the start has touched: mostly the set-up of every
// Kubernetes API type, about 20 MB. The few that are needed again are mapped again, from the page cache. Only pages that are
// never written to are dropped (madvise(2), MADV_DONTNEED).
func DropStartupPages(log *slog.Logger) {
	program, err := os.Executable()
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		begin, end, ok := readOnlyPages(lines.Text(), program)
		if !ok {
			continue
		}
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, begin, end-begin, syscall.MADV_DONTNEED); errno != 0 {
			log.Debug("pages of the start stay", "err", errno)
		}
	}
}

// readOnlyPages reads a line of /proc/self/maps (proc_pid_maps(5)): where the program's file is mapped and not writable.
func readOnlyPages(line, program string) (begin, end uintptr, ok bool) {
	fields := strings.Fields(line)
	if len(fields) != 6 || fields[5] != program || len(fields[1]) != 4 || fields[1][0] != 'r' || fields[1][1] == 'w' {
		return 0, 0, false
	}
	from, to, found := strings.Cut(fields[0], "-")
	first, err := strconv.ParseUint(from, 16, 64)
	if err != nil || !found {
		return 0, 0, false
	}
	last, err := strconv.ParseUint(to, 16, 64)
	if err != nil || last <= first {
		return 0, 0, false
	}
	return uintptr(first), uintptr(last), true
}
