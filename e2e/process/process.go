// Package process runs the programs of a measurement, each in a process of its own, and reads what the kernel knows of
// them: processor time and memory can be told apart only by process. It exists because e2e/bench and e2e/load both
// measure.
package process

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a running program that is measured or that serves a measurement. Its methods are not for concurrent use.
type Process struct {
	cmd *exec.Cmd
	err bytes.Buffer
}

// Start runs a program whose standard output is the reader. It dies with this one.
func Start(name string, args ...string) (*Process, io.ReadCloser, error) {
	cmd := exec.Command(name, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	p, err := Run(cmd)
	return p, out, err
}

// Run runs a command. It dies with this program; what it writes to standard error is kept unless cmd says where to.
func Run(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return p, nil
}

// StartSelf runs this program in a role, which is its first argument, and returns the first line that it prints: its
// address.
func StartSelf(role string, args ...string) (*Process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	p, out, err := Start(self, append([]string{role}, args...)...)
	if err != nil {
		return nil, "", err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.Stop()
		return nil, "", fmt.Errorf("%s did not start: %s", role, strings.TrimSpace(p.Stderr()))
	}
	return p, strings.TrimSpace(line), nil
}

// Pid returns the number of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Stderr returns what the process has written to standard error.
func (p *Process) Stderr() string { return p.err.String() }

// Stop ends the process: SIGTERM, and SIGKILL after 5 s. It may be nil.
func (p *Process) Stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	done := make(chan struct{})
	go func() {
		_ = p.cmd.Wait() // ended by our signal
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill() // as before
		<-done
	}
}

// Kill ends the process by SIGKILL, as a crash does.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	_ = p.cmd.Wait()         // ended by our signal
}

// FreeAddress returns an address of loopback that nobody listens at. Its port is none that the kernel gives away by
// itself, so that it is still free when somebody listens there.
func FreeAddress() (string, error) {
	var err error
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		var l net.Listener
		if l, err = net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", err
}

// family returns a process and all its descendants.
func family(pid int) []int {
	out := []int{pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is good
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // ended
		}
		for _, word := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				out = append(out, family(child)...)
			}
		}
	}
	return out
}

// CPU returns the processor time that a process and its descendants have used: those that live, and those that have
// ended and were waited for.
func CPU(pid int) time.Duration { return CPUOf(family(pid)) }

// UserHZ is how many ticks a second has in which the kernel tells processor time, the same on every Linux.
const UserHZ = 100

// CPUOf returns the processor time that processes have used, and their children that have ended and were waited for.
func CPUOf(pids []int) time.Duration {
	var ticks int64
	for _, p := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			continue // ended
		}
		_, rest, _ := bytes.Cut(text, []byte(") ")) // the name may hold anything
		fields := strings.Fields(string(rest))
		for _, i := range []int{11, 12, 13, 14} { // utime, stime, and the same of children that have ended
			n, _ := strconv.ParseInt(fields[i], 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / UserHZ
}

// Memory returns the memory that a process and its descendants hold, shared pages by their share, in MiB.
func Memory(pid int) (float64, error) { return sum(pid, "smaps_rollup", "Pss:") }

// OwnMemory is Memory without what is backed by files, such as the program itself, which the kernel can drop and read
// again.
func OwnMemory(pid int) (float64, error) { return sum(pid, "smaps_rollup", "Pss_Anon:") }

// PeakMemory returns the most that a process and its descendants have been resident with since each began, in MiB.
func PeakMemory(pid int) (float64, error) { return sum(pid, "status", "VmHWM:") }

// sum adds up one line in KiB of a file in /proc of a process and its descendants, in MiB.
func sum(pid int, file, line string) (float64, error) {
	total := 0.0
	for _, p := range family(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p, file))
		if err != nil {
			return 0, err
		}
		for l := range strings.Lines(string(text)) {
			if f := strings.Fields(l); len(f) > 1 && f[0] == line {
				kib, err := strconv.ParseFloat(f[1], 64)
				if err != nil {
					return 0, err
				}
				total += kib / 1024
			}
		}
	}
	return total, nil
}
