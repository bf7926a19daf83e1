// Package daemon starts, finds and ends the long-running processes behind the clusters. They are found by what the
// kernel says about processes, never by pid files: a pid file is wrong after a kill or a reboot, /proc is not.
package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Names of the daemons: the zeroth argument of the process. The program starts itself under these names.
const (
	Node   = "outposts-node"   // then: the folder of the cluster
	Switch = "outposts-switch" // then: the folder of all clusters
)

// Start runs this very program again as a daemon in new namespaces, with its output going to the file log.
func Start(name, folder, log string, namespaces uintptr) error {
	if err := os.Rename(log, log+".old"); err != nil && !os.IsNotExist(err) {
		return err
	}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Cmd{
		Path: "/proc/self/exe", Args: []string{name, folder}, Dir: "/", Stdout: out, Stderr: out,
		// A proxy in the environment would divert requests to the bridge.
		Env: []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"HOME=/root", "LANG=C.UTF-8",
		},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Cloneflags: namespaces},
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return cmd.Process.Release()
}

// Find returns the pid of the daemon with this name and folder, or 0 when none runs.
func Find(name, folder string) int { return List(name)[folder] }

// List returns the running daemons of a name, of whatever checkout: folder to pid.
func List(name string) map[string]int {
	daemons := map[string]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		line, err := os.ReadFile(dir + "/cmdline")
		if err != nil || !bytes.HasPrefix(line, []byte(name+"\x00")) {
			continue
		}
		words := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
		// A child that the daemon has just forked shows the same command line until it runs its own
		// program; PID 1 is the daemon.
		if ids := namespacePIDs(dir); len(words) == 2 && len(ids) > 1 && ids[len(ids)-1] == "1" {
			daemons[words[1]], _ = strconv.Atoi(filepath.Base(dir))
		}
	}
	return daemons
}

// namespacePIDs returns the pids of a process, from this namespace to the innermost one.
func namespacePIDs(dir string) []string {
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return nil
	}
	_, line, _ := strings.Cut(string(status), "\nNSpid:")
	line, _, _ = strings.Cut(line, "\n")
	return strings.Fields(line)
}

// Kill ends a process and waits until the kernel has removed it, and with it, for PID 1 of a
// namespace, everything in there.
func Kill(pid int) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	if err := process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if !alive(pid) {
			return nil
		}
	}
	return fmt.Errorf("process %d still exists 20 s after SIGKILL", pid)
}

// alive reports whether a process exists and is not a zombie. A zombie that nobody reaps holds nothing any more.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// Members returns the pids of process pid and of all its descendants: of everything in a node, since what loses its
// parent there gets the node's PID 1 as its new one.
func Members(pid int) []int {
	children := map[int][]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 {
			child, _ := strconv.Atoi(filepath.Base(dir))
			parent, _ := strconv.Atoi(fields[1])
			children[parent] = append(children[parent], child)
		}
	}
	members := []int{pid}
	for i := 0; i < len(members); i++ {
		members = append(members, children[members[i]]...)
	}
	return members
}

// Memory returns the proportional set size of processes in bytes: memory that several share is
// counted once over all of them.
func Memory(pids []int) (bytes int64) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // ended meanwhile
		}
		_, line, found := strings.Cut(string(text), "\nPss:")
		if fields := strings.Fields(line); found && len(fields) > 0 {
			kilobytes, _ := strconv.ParseInt(fields[0], 10, 64)
			bytes += kilobytes << 10
		}
	}
	return bytes
}

// CPU returns the processor time that processes, and the children they have waited for, have used.
func CPU(pids []int) (used time.Duration) {
	const tick = 10 * time.Millisecond // USER_HZ, which is 100 on every Linux
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // ended meanwhile
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 14 {
			for _, field := range fields[11:15] { // utime, stime, cutime, cstime: proc_pid_stat(5)
				ticks, _ := strconv.ParseInt(field, 10, 64)
				used += time.Duration(ticks) * tick
			}
		}
	}
	return used
}

// Run runs a program and returns an error that holds its output.
func Run(argv ...string) error {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// In returns argv as it is to be run in the network namespace of process pid.
func In(pid int, argv ...string) []string {
	return append([]string{"nsenter", "-t", strconv.Itoa(pid), "-n"}, argv...)
}
