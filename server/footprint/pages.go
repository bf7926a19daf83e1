// Package footprint fits what the process takes of its machine, memory and processors, to what it does. Settings of the
// Go runtime (GOGC, GOMAXPROCS) win.
package footprint

import (
	"bufio"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// DropStartupPages unmaps the pages of the program file that the start has touched: mostly the set-up of every
// Kubernetes API type, about 20 MB, which docs/performance.md counts as memory of the process. The few that are needed
// again are mapped again, from the page cache. Only pages that are never written to are dropped (madvise(2),
// MADV_DONTNEED), so the program behaves the same with and without.
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
			log.Debug("startup pages not dropped", "err", errno)
		}
	}
}

// readOnlyPages reads a line of /proc/self/maps (proc_pid_maps(5)); ok if it maps the program's file without writing.
func readOnlyPages(line, program string) (begin, end uintptr, ok bool) {
	fields := strings.Fields(line)
	if len(fields) != 6 || fields[5] != program || !strings.HasPrefix(fields[1], "r-") {
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
