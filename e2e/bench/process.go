package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a running program that is measured or that serves a measurement.
type process struct {
	cmd *exec.Cmd
	err bytes.Buffer
}

// start runs a program. It dies with this one.
func start(name string, args ...string) (*process, io.ReadCloser, error) {
	p := &process{cmd: exec.Command(name, args...)}
	p.cmd.Stderr = &p.err
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, nil, err
	}
	return p, out, nil
}

// startSelf runs this program in a role and returns the first line that it prints: its address.
func startSelf(role string, args ...string) (*process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	p, out, err := start(self, append([]string{role}, args...)...)
	if err != nil {
		return nil, "", err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.stop()
		return nil, "", fmt.Errorf("%s did not start: %s", role, strings.TrimSpace(p.err.String()))
	}
	return p, strings.TrimSpace(line), nil
}

// stop ends the process.
func (p *process) stop() {
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

// cpu returns the processor time that a process and its living descendants have used.
func cpu(pid int) time.Duration {
	const hertz = 100 // USER_HZ, the same on every Linux
	var ticks int64
	for _, p := range family(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			continue // ended
		}
		_, rest, _ := bytes.Cut(text, []byte(") ")) // the name may hold anything
		fields := strings.Fields(string(rest))
		for _, i := range []int{11, 12} { // utime, stime
			n, _ := strconv.ParseInt(fields[i], 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / hertz
}

// memory returns the memory that a process and its descendants hold, shared pages by their share, in MiB.
func memory(pid int) (float64, error) { return rollup(pid, "Pss:") }

// ownMemory is memory without what is backed by files, such as the program itself, which the kernel
// can drop and read again.
func ownMemory(pid int) (float64, error) { return rollup(pid, "Pss_Anon:") }

// rollup adds up one line of the memory maps of a process and its descendants, in MiB.
func rollup(pid int, line string) (float64, error) {
	total := 0.0
	for _, p := range family(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
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
