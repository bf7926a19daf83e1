package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/outposts-dev/outposts/dev/clusters/plan"
)

// root is the folder of everything that is the node's own: state/, the parts, and config. The paths are the same in
// every node.
const root = "/run/outposts"

func at(relative string) string { return filepath.Join(root, relative) }

// kept are the folders that outlive the node, below the cluster's folder, and where the node sees them.
var kept = map[string]string{
	"kubelet":    "/var/lib/kubelet",
	"containerd": "/var/lib/containerd",
	"volumes":    "/var/lib/outposts/volumes",
	"podlogs":    "/var/log/pods",
}

// sysctls are those of the whole machine that kubelet would set. It sees the values it wants, and sets nothing.
var sysctls = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// arrangeMounts gives the node its own /proc, /sys, /run, /var/lib and /var/log, so that no file of the machine
// changes.
func arrangeMounts(folder string, cluster plan.Cluster, parts Parts) error {
	binds, err := makeFolders(folder, parts)
	if err != nil {
		return err
	}
	// The mounts below may hide the sources; what is open stays reachable.
	for i := range binds {
		file, err := os.Open(binds[i].source)
		if err != nil {
			return err
		}
		defer file.Close()
		binds[i].open = file
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	if err := mountOwn(); err != nil {
		return err
	}
	for _, bind := range binds {
		source := fmt.Sprintf("/proc/self/fd/%d", bind.open.Fd())
		if err := mount(source, bind.target, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w", bind.source, err)
		}
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make / shared: %w", err) // kubelet's mounts must reach its pods
	}
	return overlayFiles(cluster)
}

// bind is a folder of the machine that the node sees in another place.
type bind struct {
	source, target string
	open           *os.File
}

// makeFolders makes the folders below a cluster's folder that the node writes to, and returns what it sees of the
// machine.
func makeFolders(folder string, parts Parts) ([]bind, error) {
	for _, name := range []string{"etcd", "logs"} {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o700); err != nil {
			return nil, err
		}
	}
	if err := rotate(filepath.Join(folder, "logs")); err != nil {
		return nil, err
	}
	binds := []bind{
		{source: folder, target: at("state")},
		{source: parts.Kube, target: at("kube")},
		{source: parts.Runtime, target: at("runtime")},
		{source: parts.Netpol, target: at("netpol")},
	}
	for name, target := range kept {
		source := filepath.Join(folder, name)
		if err := os.MkdirAll(source, 0o755); err != nil {
			return nil, err
		}
		binds = append(binds, bind{source: source, target: target})
	}
	return binds, nil
}

// mountOwn mounts the filesystems that are the node's own. The order matters: /sys hides the cgroups until they are
// moved back.
func mountOwn() error {
	const strict = syscall.MS_NOSUID | syscall.MS_NODEV
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}{
		{"proc", "/proc", "proc", strict | syscall.MS_NOEXEC, ""},
		{"tmpfs", "/run", "tmpfs", strict, "mode=755"},
		{"/sys/fs/cgroup", "/run/cgroup", "", syscall.MS_BIND | syscall.MS_REC, ""},
		{"sysfs", "/sys", "sysfs", strict | syscall.MS_NOEXEC, ""}, // shows the interfaces of this network namespace
		{"/run/cgroup", "/sys/fs/cgroup", "", syscall.MS_MOVE, ""},
		{"tmpfs", "/var/lib", "tmpfs", strict, "mode=755"},
		{"tmpfs", "/var/log", "tmpfs", strict, "mode=755"},
	} {
		if err := mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return err
		}
	}
	return nil
}

// overlayFiles gives the node its name, and shows it files of its own in place of the machine's.
func overlayFiles(cluster plan.Cluster) error {
	for name, value := range sysctls {
		if err := overlayFile("/proc/sys/"+name, value+"\n"); err != nil {
			return err
		}
	}
	if err := syscall.Sethostname([]byte(cluster.Name)); err != nil {
		return err
	}
	return errors.Join(
		overlayFile("/etc/hosts", fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", cluster.Node(), cluster.Name)),
		overlayFile("/etc/hostname", cluster.Name+"\n"),
	)
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	return nil
}

// overlayFile shows other content in place of a file, if there is one, inside the node only.
func overlayFile(target, content string) error {
	if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	source := at("files/" + strings.ReplaceAll(strings.TrimPrefix(target, "/"), "/", "_"))
	if err := write(source, content); err != nil {
		return err
	}
	if err := syscall.Mount(source, target, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	return nil
}

func write(file, content string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(content), 0o644)
}

// rotate keeps the logs of the run before as NAME.log.old.
func rotate(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, file := range files {
		err = errors.Join(err, os.Rename(file, file+".old"))
	}
	return err
}
