//go:build e2e

package clusters

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// pidOf returns the daemon with a name for a folder, 0 when there is none.
func pidOf(name, folder string) int {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, line := range lines {
		if text, err := os.ReadFile(line); err == nil && string(text) == name+"\x00"+folder+"\x00" {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(line)))
			return pid
		}
	}
	return 0
}

// kill ends a daemon as the kernel's out-of-memory killer would, and waits until it is gone.
func kill(t *testing.T, name, folder string) {
	t.Helper()
	pid := pidOf(name, folder)
	if pid == 0 {
		t.Fatalf("no %s for %s", name, folder)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "end of "+name, func() error {
		if is := pidOf(name, folder); is != 0 {
			return fmt.Errorf("process %d is still there", is)
		}
		return nil
	})
}

// testOtherCheckout holds that a second checkout does not touch what runs from a first one, and says how to end that.
func (tb *testbed) testOtherCheckout(t *testing.T) {
	out, err := tb.run(t, "up", "t1", "--state", filepath.Join(t.TempDir(), "clusters"))
	if err == nil ||
		!strings.Contains(out,
			"is used by the running clusters of "+tb.state+"; end them with: clusters down --state "+tb.state) {
		t.Errorf("up from another checkout: %v %s", err, out)
	}
	if r := tb.status(t)["t1"]; r.State != "ready" {
		t.Errorf("t1: %+v", r)
	}
}

func (tb *testbed) testKilledNode(t *testing.T) {
	tb.t1.kubectl(t, "", "create", "configmap", "kept", "--from-literal=a=b")
	kill(t, "outposts-node", filepath.Join(tb.state, "t1"))
	if r := tb.status(t)["t1"]; r.State != "down" {
		t.Errorf("status after the kill: %+v", r)
	}
	other := tb.status(t)["t2"]
	tb.mustRun(t, "up", "t1", "t2")
	now := tb.status(t)
	if now["t1"].State != "ready" || now["t2"].PID != other.PID {
		t.Errorf("status after up: %+v", now)
	}
	if got := tb.t1.kubectl(t, "", "get", "configmap", "kept", "-o", "jsonpath={.data.a}"); got != "b" {
		t.Errorf("what was in the cluster: %q", got)
	}
	tb.t1.connect(t)
	tb.fromEverywhere(t, "nodeport", "http://"+tb.t1.node+":30080/", "hello from asker on t1")
}

// testKilledAll does what a reboot does: nothing runs any more, and the files still tell of what ran.
func (tb *testbed) testKilledAll(t *testing.T) {
	kill(t, "outposts-switch", tb.state)
	for _, name := range []string{"t1", "t2"} {
		kill(t, "outposts-node", filepath.Join(tb.state, name))
	}
	tb.mustRun(t, "up", "t1", "t2")
	tb.fromEverywhere(t, "nodeport", "http://"+tb.t1.node+":30080/", "hello from asker on t1")
}

func (tb *testbed) testDown(t *testing.T, before machine) {
	began := time.Now()
	out := tb.mustRun(t, "down")
	t.Logf("down took %.1f s", time.Since(began).Seconds())
	if !strings.Contains(out, "2 ended") {
		t.Errorf("output: %s", out)
	}
	before.same(t)
	for name, r := range tb.status(t) {
		if r.State != "down" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	tb.mustRun(t, "down") // twice is harmless
	if _, err := os.Stat(filepath.Join(tb.state, "t1")); err != nil {
		t.Errorf("down without --purge removed data: %v", err)
	}
	tb.mustRun(t, "down", "--purge")
	if entries, err := filepath.Glob(filepath.Join(tb.state, "*", "*")); err != nil || len(entries) > 0 {
		t.Errorf("down --purge left %v, %v", entries, err)
	}
	before.same(t)
}

// testKilledRun kills `up` at more and more advanced steps. What it leaves must be nothing that `down` cannot
// end, nor the next `up` finish.
func (tb *testbed) testKilledRun(t *testing.T, before machine) {
	started := func(after time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		defer cancel()
		cmd := tb.command(ctx, "up", "t1") // the context's end is a SIGKILL
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Fatalf("up was done within %s:\n%s", after, out)
		}
	}
	for _, after := range []time.Duration{30, 60, 100, 150, 220, 300, 450, 700, 1200, 2500} {
		started(after * time.Millisecond)
		tb.mustRun(t, "down", "--purge")
		before.same(t)
	}
	started(250 * time.Millisecond)
	started(800 * time.Millisecond)
	out := tb.mustRun(t, "up", "t1")
	if !strings.Contains(out, "t1: DNS answers") {
		t.Errorf("up after two killed ones:\n%s", out)
	}
	tb.mustRun(t, "down", "--purge")
	before.same(t)
}

// machine is what of this machine a cluster could change.
type machine struct {
	Mounts, Links, Routes, Cgroups, Namespaces, Processes []string
}

// ours are the places at which a mount of a node could appear on the machine.
var ours = regexp.MustCompile(`^/((proc|run|sys|var|etc|dev)(/.*)?)?$|e2e-clusters`)

// look takes stock of the machine, without what belongs to other running clusters.
func look(t *testing.T) machine {
	t.Helper()
	m := machine{
		Mounts: mounts(t), Cgroups: cgroups(t),
		Routes: strings.Split(ipOutput(t, "route", "show", "table", "all"), "\n"),
	}
	for _, line := range strings.Split(ipOutput(t, "-br", "link"), "\n") {
		m.Links = append(m.Links, strings.Join(strings.Fields(line), " "))
	}
	processes := running()
	spaces := map[string]bool{}
	for pid, p := range processes {
		if processes.foreign(pid) {
			continue
		}
		for _, kind := range []string{"net", "mnt", "pid"} {
			if space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind)); err == nil && !spaces[space] {
				spaces[space] = true
				m.Namespaces = append(m.Namespaces, space)
			}
		}
		if strings.HasPrefix(p.command, "outposts-") ||
			strings.Contains(p.command, "e2e-clusters") && !strings.Contains(p.command, "go test") {
			m.Processes = append(m.Processes, p.command)
		}
	}
	return m
}

// mounts returns what is mounted where nodes mount, or their data are; others build images meanwhile, and mount in
// folders of their own.
func mounts(t *testing.T) (lines []string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 && ours.MatchString(fields[4]) {
			lines = append(lines, line)
		}
	}
	return lines
}

func cgroups(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && strings.HasPrefix(entry.Name(), "outposts-t") {
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// processes are those of the machine, by pid.
type processes map[int]struct {
	parent  int
	command string
}

// running returns all processes but zombies.
func running() processes {
	all := processes{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, file := range files {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[0] != "Z" {
			p := all[pid]
			p.parent, _ = strconv.Atoi(fields[1])
			command, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
			p.command = strings.ReplaceAll(strings.TrimRight(string(command), "\x00"), "\x00", " ")
			all[pid] = p
		}
	}
	return all
}

// foreign reports whether a process is a daemon of other clusters, or below one.
func (p processes) foreign(pid int) bool {
	for steps := 0; pid > 1 && steps < 64; pid, steps = p[pid].parent, steps+1 {
		command := p[pid].command
		if strings.HasPrefix(command, "outposts-") && !strings.Contains(command, "e2e-clusters") {
			return true
		}
	}
	return false
}

// added returns what of now was not there before.
func added(before, now []string) []string {
	was := map[string]bool{}
	for _, line := range before {
		was[line] = true
	}
	var more []string
	for _, line := range now {
		if !was[line] {
			more = append(more, line)
		}
	}
	return more
}

// same holds that the machine has nothing that it did not have before. Others may have ended something meanwhile.
func (before machine) same(t *testing.T) {
	t.Helper()
	eventually(t, "the machine as it was before", func() error {
		now := look(t)
		more := machine{
			added(before.Mounts, now.Mounts), added(before.Links, now.Links), added(before.Routes, now.Routes),
			added(before.Cgroups, now.Cgroups), added(before.Namespaces, now.Namespaces),
			added(before.Processes, now.Processes),
		}
		if diff := cmp.Diff(machine{}, more); diff != "" {
			return fmt.Errorf("(-before +now):\n%s", diff)
		}
		return nil
	})
}

func TestE2ERefusals(t *testing.T) {
	tb := newTestbed(t)
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"unknown cluster", []string{"down", "nothere"}, "no cluster nothere; there are none"},
		{"name that fits no interface", []string{"up", "a-name-too-long"}, "1 to 11 characters"},
		{"network outside 10/8", []string{"up", "t1", "--network", "192.168.0.0/16"}, "must be a /16 of 10.0.0.0/8"},
		{"network of Services", []string{"up", "t1", "--network", "10.96.0.0/16"}, "choose another"},
		{"tools not there", []string{"up", "t1", "--kube", "/nowhere"}, "run `make tools`"},
		{"no such image", []string{"load", "/nowhere.tar"}, "no such file"},
		{"no archive", []string{"load", "cluster_test.go", "--ref", "a:b"}, "is not an OCI archive"},
		{
			"bad reference",
			[]string{
				"image", "-o", filepath.Join(t.TempDir(), "x.tar"), "--ref", "UPPER/case", "--add",
				"cluster_test.go:/x",
			},
			"not of the form HOST/NAME:TAG",
		},
		{"unknown command", []string{"explode"}, "unknown command"},
		{"unknown flag", []string{"up", "--fast"}, "not defined: -fast"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := tb.run(t, test.args...)
			if err == nil || !strings.Contains(out, test.want) {
				t.Errorf("clusters %s: %v, want %q in:\n%s", strings.Join(test.args, " "), err, test.want, out)
			}
		})
	}
	t.Run("not root", tb.refusesNobody)
	t.Run("disk nearly full", tb.refusesFullDisk)
	t.Run("data of another version", tb.refusesOtherVersion)
	t.Run("broken part in the cache", func(t *testing.T) {
		out, err := tb.run(t, "up", "t1", "--netpol", t.TempDir())
		if err == nil || !strings.Contains(out, "kube-router") || !strings.Contains(out, "make tools") {
			t.Errorf("up: %v %s", err, out)
		}
	})
}

func output(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(argv, " "), err)
	}
	return string(out)
}

func (tb *testbed) refusesNobody(t *testing.T) {
	program, err := os.ReadFile(filepath.Join(strings.TrimSpace(output(t,
		filepath.Join(tb.root, "dev", "cache"), "clusters")), "clusters"))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "clusters")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "clusters")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, program, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(file, "up", "t1")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "needs root") {
		t.Errorf("up as nobody: %v %s", err, out)
	}
}

func (tb *testbed) refusesFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	out, err := tb.run(t, "up", "t1", "--state", filepath.Join(dir, "clusters"))
	if err == nil || !strings.Contains(out, "64 MiB free, and clusters need 2048") {
		t.Errorf("up: %v %s", err, out)
	}
}

func (tb *testbed) refusesOtherVersion(t *testing.T) {
	file := filepath.Join(tb.state, "t1", "cluster.json")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(`{"format": 99, "name": "t1"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := tb.run(t, "up", "t1")
	if err == nil || !strings.Contains(out, "written by another version (format 99") ||
		!strings.Contains(out, "down --purge t1") {
		t.Errorf("up: %v %s", err, out)
	}
	tb.mustRun(t, "down", "--purge", "t1") // and that helps
	if _, err := os.Stat(file); err == nil {
		t.Error("down --purge left it")
	}
}
