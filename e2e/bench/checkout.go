package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// checkout is a copy of this checkout, with clusters, stacks and a network of its own. What a developer does is
// measured there by the very commands, whatever runs in the checkout itself, and nothing of it is left in the end.
type checkout struct {
	dir     string
	network string
	lock    *os.File // held for as long as the copy exists
}

// copied makes the copy, once in a run.
func (r *run) copied(ctx context.Context) (*checkout, error) {
	if r.checkout != nil {
		return r.checkout, nil
	}
	if os.Getuid() != 0 {
		return nil, errors.New("clusters need root")
	}
	if _, err := os.Stat("dev/run"); err != nil {
		return nil, errors.New("not at the top of the checkout")
	}
	dir, err := filepath.Abs(".state/bench")
	if err != nil {
		return nil, err
	}
	c := &checkout{dir: dir, network: r.network}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	if c.lock, err = os.Create(dir + ".lock"); err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(c.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(errors.New("another run of this program is at work in this checkout"), c.lock.Close())
	}
	if err := c.remove(ctx); err != nil { // what a killed run has left
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	r.checkout = c // from here on there is something to remove
	copying := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c",
		`git ls-files -z --cached --others --exclude-standard |
			tar -c --null --verbatim-files-from --ignore-failed-read -T - | tar -x -C "$1"`, "copy", dir)
	if out, err := copying.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copy the checkout: %w: %s", err, out)
	}
	return c, c.readdress()
}

// clusters brings both clusters of the copy up.
func (r *run) clusters(ctx context.Context) (*checkout, error) {
	c, err := r.copied(ctx)
	if err != nil {
		return nil, err
	}
	r.say("bring up two clusters on %s", c.network)
	_, err = c.output(ctx, "make", "clusters")
	return c, err
}

// readdress puts the copy's network into the config of its stacks.
func (c *checkout) readdress() error {
	const published = "10.77."
	ours, ok := strings.CutSuffix(c.network, "0.0/16")
	if !ok {
		return fmt.Errorf("-network %s: it is a /16 such as 10.67.0.0/16", c.network)
	}
	return c.replace(published, ours)
}

// replace replaces a text in the config of the copy's stacks, wherever it is.
func (c *checkout) replace(old, text string) error {
	files, err := filepath.Glob(c.path("Pulumi.*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		config, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(config), old, text)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (c *checkout) path(parts ...string) string {
	return filepath.Join(append([]string{c.dir}, parts...)...)
}

// clusterConfig returns how to reach the cluster of this name.
func (c *checkout) clusterConfig(name string) (*rest.Config, error) {
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: c.path(".state", "kubeconfig")},
		&clientcmd.ConfigOverrides{CurrentContext: name}).ClientConfig()
}

// command returns a command that runs in the copy, and ends with all that it has started when ctx ends.
func (c *checkout) command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = c.dir
	// Not the variables by which make or a developer leads to the checkout itself.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return slices.ContainsFunc([]string{
			"OUTPOSTS_", "PULUMI_", "MAKE", "MFLAGS=", "VERIFY", "STACK=", "PAIR=",
			"CLUSTERS_UP=",
		}, func(p string) bool { return strings.HasPrefix(v, p) })
	})
	cmd.Env = append(cmd.Env, "OUTPOSTS_NETWORK="+c.network, "OUTPOSTS_KUBECONFIG="+c.path(".state", "kubeconfig"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	return cmd
}

// output runs a command and returns what it prints; what it complains of is in the error.
func (c *checkout) output(ctx context.Context, argv ...string) (string, error) {
	var complaint strings.Builder
	cmd := c.command(ctx, argv...)
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		said := complaint.String() + string(out)
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, said[max(0, len(said)-1500):])
	}
	return string(out), nil
}

// remove ends the clusters and removes the copy. Without one it does nothing.
func (c *checkout) remove(ctx context.Context) error {
	if c == nil {
		return nil
	}
	if _, err := os.Stat(c.path("dev", "down")); err == nil {
		if _, err := c.output(ctx, "dev/down"); err != nil {
			return fmt.Errorf("%s is left as it is: %w", c.dir, err)
		}
	}
	return os.RemoveAll(c.dir)
}
