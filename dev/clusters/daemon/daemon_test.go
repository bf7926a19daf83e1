package daemon

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test program stand in for a daemon: PID 1 of a namespace with a daemon's name, or a
// process of that name without one.
func TestMain(m *testing.M) {
	if os.Args[0] == Switch {
		time.Sleep(time.Hour) // until its test kills it
		return
	}
	os.Exit(m.Run())
}

// fake starts a process with a daemon's name and folder, and waits until it shows them.
func fake(t *testing.T, folder string, namespaces uintptr) *exec.Cmd {
	t.Helper()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{Switch, folder},
		SysProcAttr: &syscall.SysProcAttr{Cloneflags: namespaces},
	}
	if err := cmd.Start(); err != nil {
		t.Skip("cannot make a namespace here:", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid))
		if strings.HasPrefix(string(line), Switch+"\x00") {
			return cmd
		}
	}
	t.Fatal("it does not show its name")
	return nil
}

func TestFindAndKill(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make a pid namespace")
	}
	folder := t.TempDir()
	if pid := Find(Switch, folder); pid != 0 {
		t.Fatalf("found %d before there is one", pid)
	}
	outside := fake(t, folder, 0) // the right words, and no namespace: a child of the daemon, or somebody's editor
	if pid := Find(Switch, folder); pid != 0 {
		t.Errorf("found %d, which is not a PID 1", pid)
	}
	daemon := fake(t, folder, syscall.CLONE_NEWPID)
	if pid := Find(Switch, folder); pid != daemon.Process.Pid {
		t.Errorf("found %d, want %d (not %d)", pid, daemon.Process.Pid, outside.Process.Pid)
	}
	if pid := Find(Switch, folder+"2"); pid != 0 {
		t.Errorf("found %d for another folder", pid)
	}
	if got := List(Switch)[folder]; got != daemon.Process.Pid {
		t.Errorf("List: %d", got)
	}
	if err := Kill(daemon.Process.Pid); err != nil {
		t.Error(err)
	}
	if pid := Find(Switch, folder); pid != 0 {
		t.Errorf("found %d after its end", pid)
	}
}

func TestMembersAndMemory(t *testing.T) {
	child := exec.Command("sleep", "3600")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	members := Members(os.Getpid())
	if members[0] != os.Getpid() || !slices.Contains(members, child.Process.Pid) ||
		slices.Contains(members, os.Getppid()) {
		t.Errorf("members of %d: %v, the child is %d", os.Getpid(), members, child.Process.Pid)
	}
	if bytes := Memory([]int{os.Getpid()}); bytes < 1<<20 || bytes > 1<<32 {
		t.Errorf("memory of this test: %d", bytes)
	}
	if used := CPU([]int{os.Getpid()}); used < 0 || used > time.Hour {
		t.Errorf("processor time of this test: %s", used)
	}
	if bytes := Memory([]int{-1}); bytes != 0 {
		t.Errorf("memory of nothing: %d", bytes)
	}
}

func TestRunSaysWhatWasSaid(t *testing.T) {
	err := Run("sh", "-c", "echo some reason >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "exit status 3: some reason") {
		t.Errorf("Run: %v", err)
	}
	if err := Run("true"); err != nil {
		t.Error(err)
	}
}
