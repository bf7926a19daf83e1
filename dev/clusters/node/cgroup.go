package node

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/dev/clusters/daemon"
)

// Cgroups is where cgroups are mounted.
const Cgroups = "/sys/fs/cgroup"

// cgroupPrefix begins the names of the nodes' cgroups.
const cgroupPrefix = "outposts-"

// Cgroup returns the name of the cgroup of the cluster in folder, different for each checkout.
func Cgroup(folder string) string {
	sum := sha256.Sum256([]byte(folder))
	return cgroupPrefix + filepath.Base(folder) + "-" + hex.EncodeToString(sum[:4])
}

// arrangeCgroups makes the cgroup that kubelet puts the cluster's pods into, in every hierarchy, and returns the cgroup
// version. PID 1 leaves the cgroup of the shell it was started from, whose end would take the node along.
func arrangeCgroups(mountpoint, name string) (version int, err error) {
	if _, err := os.Stat(filepath.Join(mountpoint, "cgroup.controllers")); err == nil {
		return 2, arrangeUnified(mountpoint, name)
	}
	hierarchies, err := os.ReadDir(mountpoint)
	if err != nil {
		return 1, err
	}
	for _, hierarchy := range hierarchies {
		dir := filepath.Join(mountpoint, hierarchy.Name(), name)
		if hierarchy.Type()&fs.ModeSymlink != 0 { // cpu -> cpu,cpuacct
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return 1, err
		}
		switch hierarchy.Name() {
		case "cpuset": // a new group has neither processors nor memory, and nothing may enter it
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
				value, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, file), bytes.TrimSpace(value), 0o644)
				}
				if err != nil {
					return 1, err
				}
			}
		case "systemd":
			if err := enter(filepath.Join(dir, "daemons")); err != nil {
				return 1, err
			}
		}
	}
	return 1, nil
}

func arrangeUnified(mountpoint, name string) error {
	dir := filepath.Join(mountpoint, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, parent := range []string{mountpoint, dir} {
		controllers, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
		if err != nil {
			return err
		}
		for _, controller := range strings.Fields(string(controllers)) {
			// Some controllers cannot be handed on, and kubelet says so itself when it misses one.
			_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
		}
	}
	return enter(filepath.Join(dir, "daemons"))
}

func enter(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0o644)
}

// RemoveCgroups removes the empty cgroups that ended nodes have left behind, of every checkout. The kernel needs a
// moment to let go of the last process.
func RemoveCgroups(mountpoint string) error {
	living := map[string]bool{}
	for folder := range daemon.List(daemon.Node) {
		living[Cgroup(folder)] = true
	}
	var left error
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if left = removeCgroups(mountpoint, living); left == nil {
			return nil
		}
	}
	return left
}

func removeCgroups(mountpoint string, living map[string]bool) error {
	deep, err := filepath.Glob(filepath.Join(mountpoint, "*", cgroupPrefix+"*"))
	if err != nil {
		return err
	}
	flat, err := filepath.Glob(filepath.Join(mountpoint, cgroupPrefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, top := range append(deep, flat...) {
		if living[filepath.Base(top)] {
			continue
		}
		var dirs []string
		err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		errs = append(errs, err)
		for i := len(dirs) - 1; i >= 0; i-- { // children first
			if err := os.Remove(dirs[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, fmt.Errorf("cgroup %w", err))
			}
		}
	}
	return errors.Join(errs...)
}
