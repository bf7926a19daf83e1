package node

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/dev/clusters/plan"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func remote(t *testing.T) plan.Cluster {
	t.Helper()
	network, err := plan.ParseNetwork(plan.DefaultNetwork)
	if err != nil {
		t.Fatal(err)
	}
	return plan.Cluster{Name: "remote", Index: 3, Network: network}
}

// TestConfig holds every file that a node writes for its programs.
func TestConfig(t *testing.T) {
	var all strings.Builder
	var names []string
	for name := range places {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		text, err := render(name, remote(t), "outposts-remote-00000000", "6.1.0-42-amd64")
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString("==> " + places[name] + "\n" + text)
	}
	golden(t, "config.golden", all.String())
}

// TestVolatile holds which kernels are asked for an option that older ones refuse.
func TestVolatile(t *testing.T) {
	for release, want := range map[string]bool{
		"5.9.16": false, "5.10.0-28-amd64\n": true, "4.19.0": false, "6.1": true,
		"10.0.1-rc2+": true, "odd": false, "": false,
	} {
		if got := volatile(release); got != want {
			t.Errorf("volatile(%q) is %v", release, got)
		}
	}
}

// TestPrograms holds every command line that a node runs.
func TestPrograms(t *testing.T) {
	var all strings.Builder
	for _, program := range append(controlPlane(remote(t)), workers(remote(t))...) {
		all.WriteString("==> " + program.name + "\n" + strings.Join(program.argv, "\n  ") + "\n")
	}
	golden(t, "programs.golden", all.String())
}

func TestPartsCheck(t *testing.T) {
	dir := t.TempDir()
	parts := Parts{Kube: dir + "/kube", Runtime: dir + "/runtime", Netpol: dir + "/netpol", DNS: dir + "/dns"}
	files := []string{
		"kube/bin/kube", "kube/bin/gateway", "runtime/bin/containerd", "runtime/bin/runc",
		"runtime/bin/containerd-shim-runc-v2",
		"runtime/cni/ptp", "runtime/cni/host-local",
		"runtime/cni/portmap", "runtime/cni/loopback", "netpol/kube-router", "dns/coredns",
	}
	for _, name := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("program"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := parts.Check(); err != nil {
		t.Fatal(err)
	}
	// All that is wrong is said at once.
	if err := os.Remove(filepath.Join(dir, "dns/coredns")); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "kube/bin/kube"), 0); err != nil {
		t.Fatal(err)
	}
	err := parts.Check()
	if err == nil || !strings.Contains(err.Error(), "dns/coredns") ||
		!strings.Contains(err.Error(), "kube/bin/kube: not a program") || !strings.Contains(err.Error(), "make tools") {
		t.Errorf("Check: %v", err)
	}
}

func TestCgroupsOfVersion1(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"memory", "cpuset", "systemd"} {
		if err := os.Mkdir(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range map[string]string{"cpuset/cpuset.cpus": "0-1\n", "cpuset/cpuset.mems": "0\n"} {
		if err := os.WriteFile(filepath.Join(top, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("memory", filepath.Join(top, "alias")); err != nil {
		t.Fatal(err)
	}
	version, err := arrangeCgroups(top, "outposts-a")
	if err != nil || version != 1 {
		t.Fatalf("version %d, %v", version, err)
	}
	for file, want := range map[string]string{
		"cpuset/outposts-a/cpuset.cpus": "0-1", "cpuset/outposts-a/cpuset.mems": "0",
		"systemd/outposts-a/daemons/cgroup.procs": "0",
	} {
		if got, err := os.ReadFile(filepath.Join(top, file)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
	if _, err := os.Stat(filepath.Join(top, "memory/outposts-a")); err != nil {
		t.Error(err)
	}
}

func TestCgroupsOfVersion2(t *testing.T) {
	top := t.TempDir()
	if err := os.WriteFile(filepath.Join(top, "cgroup.controllers"), []byte("cpu memory pids\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(top, "outposts-a"), 0o755); err != nil {
		t.Fatal(err)
	}
	// In a real one the kernel puts this file into each new group.
	err := os.WriteFile(filepath.Join(top, "outposts-a", "cgroup.controllers"),
		[]byte("cpu memory pids\n"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	version, err := arrangeCgroups(top, "outposts-a")
	if err != nil || version != 2 {
		t.Fatalf("version %d, %v", version, err)
	}
	for file, want := range map[string]string{
		"cgroup.subtree_control":            "+pids",
		"outposts-a/cgroup.subtree_control": "+pids", "outposts-a/daemons/cgroup.procs": "0",
	} {
		if got, err := os.ReadFile(filepath.Join(top, file)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
}

// TestCgroupsOfVersion2InTheKernel does with the kernel's own version 2, which is there beside version 1 too,
// what a node and the end of a node do: each in a process of its own, since it enters the group, and in a
// mount namespace of its own.
func TestCgroupsOfVersion2InTheKernel(t *testing.T) {
	const name = "outposts-kernel-test"
	step := os.Getenv("CGROUP_STEP")
	if step == "" {
		if os.Getuid() != 0 {
			t.Skip("needs root: mounts a hierarchy of cgroups")
		}
		for _, step := range []string{"arrange", "remove"} {
			cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
			cmd.Env = append(os.Environ(), "CGROUP_STEP="+step)
			cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
			out, err := cmd.CombinedOutput()
			if strings.Contains(string(out), "--- SKIP") {
				t.Skipf("%s", out)
			}
			if err != nil {
				t.Fatalf("%s: %v\n%s", step, err, out)
			}
		}
		return
	}
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "cgroup2", 0, ""); err != nil {
		t.Skip("no version 2 in this kernel: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if step == "remove" {
		if err := RemoveCgroups(dir); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Error("the group of a node that has ended is still there")
		}
		return
	}
	version, err := arrangeCgroups(dir, name)
	if err != nil || version != 2 {
		t.Fatalf("version %d, %v", version, err)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil || !strings.Contains(string(own), "/"+name+"/daemons\n") {
		t.Errorf("the process is in %s %v", own, err)
	}
	// What the node's group has of controllers, the groups of its pods have too.
	if err := os.MkdirAll(filepath.Join(dir, name, "kubepods", "pod1"), 0o755); err != nil {
		t.Fatal(err)
	}
	has, err := os.ReadFile(filepath.Join(dir, name, "cgroup.controllers"))
	if err != nil {
		t.Fatal(err)
	}
	handed, err := os.ReadFile(filepath.Join(dir, name, "kubepods", "cgroup.controllers"))
	if err != nil || string(handed) != string(has) {
		t.Errorf("the node has the controllers %q, its pods %q, %v", has, handed, err)
	}
}

// TestRemoveCgroups holds that the groups of a dead node go, in every hierarchy, and those of a living one
// stay, empty as they may be.
func TestRemoveCgroups(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{
		"memory/outposts-dead/kubepods/burstable/pod1", "systemd/outposts-dead/daemons",
		"outposts-dead/daemons", "memory/outposts-live/kubepods", "memory/other",
	} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeCgroups(top, map[string]bool{"outposts-live": true}); err != nil {
		t.Fatal(err)
	}
	var left []string
	err := filepath.WalkDir(top, func(path string, entry os.DirEntry, err error) error {
		relative, _ := filepath.Rel(top, path)
		left = append(left, relative)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{
		".", "memory", "memory/other", "memory/outposts-live", "memory/outposts-live/kubepods",
		"systemd",
	}, left); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// One that is still in use is an error that names it.
	busy := filepath.Join(top, "memory/outposts-busy")
	if err := os.Mkdir(busy, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(busy, "cgroup.procs"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := removeCgroups(top, nil); err == nil || !strings.Contains(err.Error(), "outposts-busy") {
		t.Errorf("busy: %v", err)
	}
}

func TestRotate(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.log": "new", "a.log.old": "old", "b.log": "b", "b.command": "c"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := rotate(dir); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	files, _ := os.ReadDir(dir)
	for _, file := range files {
		text, _ := os.ReadFile(filepath.Join(dir, file.Name()))
		got[file.Name()] = string(text)
	}
	if diff := cmp.Diff(map[string]string{"a.log.old": "new", "b.log.old": "b", "b.command": "c"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestQuery(t *testing.T) {
	want := "\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x07default\x00\x00\x01\x00\x01"
	if got := string(query("web.default")); got != want {
		t.Errorf("query: %q, want %q", got, want)
	}
}
