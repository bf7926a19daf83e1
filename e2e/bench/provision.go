package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// measureProvision takes what a developer waits for: the toolchain from a full cache, two clusters up from nothing, with data and when they run
// already, what they need while nobody uses them, their end; and what Pulumi needs to see that nothing has changed, where stacks are deployed.
func measureProvision(ctx context.Context, r *run) error {
	root, err := filepath.Abs(".")
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, "dev", "run")); err != nil {
		return errors.New("run it from the top of the checkout")
	}
	timed := func(name, aim string, command ...string) error {
		began := time.Now()
		if out, err := provisionCommand(ctx, root, command...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out)
		}
		r.add("provision/"+name, "outposts", "s", "less", aim, time.Since(began).Seconds())
		return nil
	}
	for range pick(r, 5, 2) {
		if err := timed("tools from a full cache", "2 s", "dev/build"); err != nil {
			return err
		}
	}
	if os.Getuid() == 0 {
		if err := measureClusters(ctx, r, root, timed); err != nil {
			return err
		}
	} else {
		r.Skipped = append(r.Skipped, "provision/clusters: needs root")
	}
	if _, err := os.Stat(filepath.Join(root, ".state", "pulumi")); err != nil {
		r.Skipped = append(r.Skipped, "provision/preview: no stacks are deployed (make up)")
		return nil
	}
	for range pick(r, 5, 2) {
		for _, stack := range []string{"local", "remote"} {
			if err := timed("preview without change, "+stack, "", "dev/run", "pulumi", "preview", "-s", stack, "--non-interactive"); err != nil {
				return err
			}
		}
	}
	return nil
}

// measureClusters uses clusters and a network of its own.
func measureClusters(ctx context.Context, r *run, root string, timed func(name, aim string, command ...string) error) (err error) {
	down := []string{"dev/run", "clusters", "down"}
	purge := append(down, "--purge")
	up := []string{"dev/run", "clusters", "up", "bench-a", "bench-b"}
	defer func() {
		out, downErr := provisionCommand(context.WithoutCancel(ctx), root, purge...).CombinedOutput()
		if downErr != nil {
			err = errors.Join(err, fmt.Errorf("down: %w: %s", downErr, out))
		}
	}()
	for round := range pick(r, 5, 2) {
		r.say("provision: clusters, round %d", round+1)
		if out, err := provisionCommand(ctx, root, purge...).CombinedOutput(); err != nil {
			return fmt.Errorf("down: %w: %s", err, out)
		}
		if err := timed("two clusters from nothing", "12 s", up...); err != nil {
			return err
		}
		if err := timed("two clusters that run already", "", up...); err != nil {
			return err
		}
		if round == 0 {
			if err := measureIdle(ctx, r, root); err != nil {
				return err
			}
		}
		if err := timed("two clusters down", "3 s", down...); err != nil {
			return err
		}
		if err := timed("two clusters with their data", "12 s", up...); err != nil {
			return err
		}
	}
	return nil
}

// measureIdle takes memory and processor time of two clusters half a minute after they have come up.
func measureIdle(ctx context.Context, r *run, root string) error {
	const settle, window = 30 * time.Second, 30 * time.Second
	look := func() (bytes int64, cpu float64, err error) {
		out, err := provisionCommand(ctx, root, "dev/run", "clusters", "status", "--json").Output()
		if err != nil {
			return 0, 0, err
		}
		var reports []struct {
			MemoryBytes int64
			CPUSeconds  float64
		}
		if err := json.Unmarshal(out, &reports); err != nil {
			return 0, 0, err
		}
		for _, report := range reports {
			bytes, cpu = bytes+report.MemoryBytes, cpu+report.CPUSeconds
		}
		return bytes, cpu, nil
	}
	wait := func(d time.Duration) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
			return nil
		}
	}
	if err := wait(settle); err != nil {
		return err
	}
	_, before, err := look()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := wait(window); err != nil {
		return err
	}
	bytes, after, err := look()
	if err != nil {
		return err
	}
	r.add("provision/two idle clusters, memory", "outposts", "MiB", "less", "1229 MiB", float64(bytes)/(1<<20))
	r.add("provision/two idle clusters, processor", "outposts", "% of a core", "less", "10 %", (after-before)/time.Since(began).Seconds()*100)
	return nil
}

// provisionCommand returns a command of the checkout with a state and network of the measurements, and with the stacks of the developer.
func provisionCommand(ctx context.Context, root string, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(root, argv[0]), argv[1:]...)
	cmd.Dir = root
	state := filepath.Join(root, ".state")
	cmd.Env = append(os.Environ(), "OUTPOSTS_STATE="+filepath.Join(state, "bench"), "OUTPOSTS_KUBECONFIG="+filepath.Join(state, "bench", "kubeconfig"), "OUTPOSTS_NETWORK=10.67.0.0/16",
		"PULUMI_BACKEND_URL=file://"+filepath.Join(state, "pulumi"), "PULUMI_CONFIG_PASSPHRASE=")
	return cmd
}
