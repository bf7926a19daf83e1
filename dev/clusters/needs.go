package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/outposts-dev/outposts/dev/clusters/daemon"
	"github.com/outposts-dev/outposts/dev/clusters/image"
)

// leastFree is how much space `up` wants on the disk: two clusters write a few hundred MiB, the images of a hub come on
// top, and below the 256 MiB of kubelet.yaml a node takes no pod. dev/disk knows more of what follows.
const leastFree = 2 << 30

// watchers is how many instances of inotify `up` wants to see free for each cluster that it starts: its programs take
// 22. The kernel gives a user 128, and without one containerd serves nothing and kubelet does not start.
const watchers = 32

// programs are what the nodes use of the system.
var programs = []string{"ip", "nsenter", "nft", "iptables", "ipset", "mount"}

// needRoot refuses what this system or user cannot do.
func (a *app) needRoot(command string) error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("needs Linux: the nodes are namespaces of its kernel; this is %s", runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("needs root, for namespaces and mounts: sudo clusters %s", command)
	}
	return nil
}

// needMachine refuses an `up` that this system, user or set of programs cannot do.
func (a *app) needMachine() error {
	if err := a.needRoot("up"); err != nil {
		return err
	}
	if err := missing(programs); err != nil {
		return err
	}
	return a.parts.Check()
}

// missing returns an error that names all programs that are not installed.
func missing(programs []string) error {
	var absent []string
	for _, program := range programs {
		found := false
		// the node's own PATH, not that of the caller
		for _, dir := range strings.Split(strings.TrimPrefix(image.DefaultPath, "PATH="), ":") {
			if _, err := os.Stat(filepath.Join(dir, program)); err == nil {
				found = true
			}
		}
		if !found {
			absent = append(absent, program)
		}
	}
	if len(absent) > 0 {
		return fmt.Errorf("missing programs: %s; `make clusters` installs them on Debian and Ubuntu",
			strings.Join(absent, " "))
	}
	return nil
}

// needDisk refuses an `up` on a disk that is nearly full.
func (a *app) needDisk() error {
	free, err := a.dir.Free()
	if err != nil {
		return err
	}
	if free < leastFree {
		return fmt.Errorf("the disk of %s has %d MiB free, and clusters need %d: make room there, for example with "+
			"`go clean -cache`, or with `make down` in another checkout", a.dir.Path, free>>20, leastFree>>20)
	}
	return nil
}

// needWatchers refuses to start those of the named clusters that do not run yet without enough instances of inotify.
func (a *app) needWatchers(names []string) error {
	starting := 0
	for _, name := range names {
		if daemon.Find(daemon.Node, a.dir.Cluster(name)) == 0 {
			starting++
		}
	}
	return spareWatchers(starting * watchers)
}

// spareWatchers returns an error unless n more instances of inotify can be had.
func spareWatchers(n int) error {
	for range n {
		instance, err := syscall.InotifyInit1(syscall.IN_CLOEXEC)
		if err != nil {
			limit, _ := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
			return fmt.Errorf(
				"this machine has fewer than %d instances of inotify left of %s (%w): sysctl -w "+
					"fs.inotify.max_user_instances=1024", n, bytes.TrimSpace(limit), err)
		}
		defer syscall.Close(instance)
	}
	return nil
}
