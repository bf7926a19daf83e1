package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Images returns the digests of the images that the node with PID 1 pid has, by the names that pods give them: none
// while its containerd has not begun.
func Images(pid int, parts Parts) (map[string]string, error) {
	if _, err := os.Stat(socket(pid)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	text, err := ctr(pid, parts, "images", "list")
	return parseImages(text), err
}

// Forget takes names from the images of the node with PID 1 pid: the next pod that gives one has the image pulled. What
// runs goes on.
func Forget(pid int, parts Parts, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	_, err := ctr(pid, parts, append([]string{"images", "remove"}, names...)...)
	return err
}

// socket is where the machine sees the containerd of a node.
func socket(pid int) string { return fmt.Sprintf("/proc/%d/root/run/containerd/containerd.sock", pid) }

// ctr runs containerd's own client on the images of Kubernetes, and returns what it prints.
func ctr(pid int, parts Parts, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(parts.Runtime, "bin", "ctr"),
		append([]string{"--address", socket(pid), "--namespace", "k8s.io"}, args...)...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return "", fmt.Errorf("ctr %s: %w", strings.Join(args, " "), err)
	}
	return string(out), nil
}

// parseImages reads what `ctr images list` prints: REF TYPE DIGEST and more columns under a heading.
func parseImages(text string) map[string]string {
	digests := map[string]string{}
	for line := range strings.Lines(text) {
		if columns := strings.Fields(line); len(columns) > 2 && strings.HasPrefix(columns[2], "sha256:") {
			digests[columns[0]] = columns[2]
		}
	}
	return digests
}
