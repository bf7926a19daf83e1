package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// provisionBench takes what a developer or operator waits for, by the commands that they type.
type provisionBench struct {
	*checkout
	run *run
}

// measureProvision takes the toolchain, the local clusters, and both stacks on them: from nothing,
// without change, to their end.
func measureProvision(ctx context.Context, r *run) error {
	c, err := r.copied(ctx)
	if err != nil {
		return err
	}
	b := &provisionBench{checkout: c, run: r}
	for _, step := range []struct {
		names []string
		run   func(context.Context) error
	}{
		{[]string{"provision/tools"}, b.tools},
		{[]string{"provision/clusters", "provision/idle"}, b.clusters},
		{[]string{"provision/make up", "provision/stacks", "provision/verify"}, b.everything},
	} {
		for _, name := range step.names {
			if !r.wants(name) {
				continue
			}
			if err := step.run(ctx); err != nil {
				r.skip(name, err)
			}
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// timed runs a command of the copy and takes how long it takes.
func (b *provisionBench) timed(ctx context.Context, name string, argv ...string) (string, error) {
	b.run.say("provision: %s: %s", name, strings.Join(argv, " "))
	began := time.Now()
	out, err := b.output(ctx, argv...)
	if err == nil {
		b.add(name, "s", time.Since(began).Seconds())
	}
	return out, err
}

func (b *provisionBench) add(name, unit string, sample float64) {
	b.run.add("provision/"+name, projectSubject, unit, "less", sample)
}

// tools takes the toolchain from a full cache. How long its parts took to build, and all of it from an empty cache, is
// what dev/build has noted in the cache.
func (b *provisionBench) tools(ctx context.Context) error {
	for range pick(b.run, 5, 3) {
		if _, err := b.timed(ctx, "tools/from a full cache", "dev/build"); err != nil {
			return err
		}
	}
	listed, err := b.output(ctx, "dev/cache")
	if err != nil {
		return err
	}
	cache, longest := "", 0.0
	for line := range strings.Lines(listed) {
		part, place := "", ""
		if f := strings.Fields(line); len(f) == 3 {
			part, place = f[0], f[2]
		}
		if took, err := readSeconds(place + ".seconds"); err == nil {
			b.add("tools/building "+strings.ReplaceAll(part, "/", " "), "s", took)
			longest = max(longest, took)
		}
		cache = filepath.Dir(place)
	}
	took, err := readSeconds(filepath.Join(cache, "tools.seconds"))
	if err != nil || took < longest { // a note that is of fewer parts
		b.run.skip("provision/tools/from nothing",
			errors.New("the cache was not filled from nothing by one `make tools`"))
		return nil
	}
	b.add("tools/from nothing", "s", took)
	return nil
}

func readSeconds(file string) (float64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
}

// clusters takes two clusters up from nothing, when they run already, idle, down, and up with their data.
func (b *provisionBench) clusters(ctx context.Context) error {
	for round := range pick(b.run, 3, 1) {
		if _, err := b.output(ctx, "make", "clusters-down", "PURGE=yes"); err != nil {
			return err
		}
		for _, step := range []struct{ name, target string }{
			{"from nothing", "clusters"},
			{"running already", "clusters"},
			{"down", "clusters-down"},
			{"with their data", "clusters"},
		} {
			if _, err := b.timed(ctx, "clusters/"+step.name, "make", step.target); err != nil {
				return err
			}
			if round == 0 && step.name == "running already" {
				if err := b.idle(ctx); err != nil {
					return err
				}
			}
		}
	}
	_, err := b.output(ctx, "make", "clusters-down", "PURGE=yes")
	return err
}

// idle takes memory and processor time of two clusters that nobody uses.
func (b *provisionBench) idle(ctx context.Context) error {
	b.run.say("provision: idle clusters")
	look := func() (bytes int64, cpu float64, err error) {
		out, err := b.output(ctx, "dev/run", "clusters", "status", "--json")
		if err != nil {
			return 0, 0, err
		}
		var reports []struct {
			MemoryBytes int64
			CPUSeconds  float64
		}
		if err := json.Unmarshal([]byte(out), &reports); err != nil {
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
	if err := wait(pick(b.run, 30*time.Second, 5*time.Second)); err != nil { // for what follows a start
		return err
	}
	_, before, err := look()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := wait(pick(b.run, 45*time.Second, 5*time.Second)); err != nil {
		return err
	}
	bytes, after, err := look()
	if err != nil {
		return err
	}
	b.add("idle/memory", "MiB", float64(bytes)/(1<<20))
	b.add("idle/processor", "% of a core", (after-before)/time.Since(began).Seconds()*100)
	return nil
}

// What dev/up and e2e/verify print.
var (
	stackLine  = regexp.MustCompile(`(?m)^stack (\S+) +(\d+) s$`)
	verifyLine = regexp.MustCompile(`(?m)^(\S+) +([0-9.]+) s +(?:direct|tunnel) +(\d+) ms +(\d+) ms `)
)

// everything takes `make up` from nothing, what both stacks cost afterwards, and their end.
func (b *provisionBench) everything(ctx context.Context) error {
	if _, err := b.output(ctx, "make", "clusters-down", "PURGE=yes"); err != nil {
		return err
	}
	// So that what is compiled and built once is in the caches.
	b.run.say("provision: images and programs into the caches")
	for _, argv := range [][]string{
		{"make", "image", "hub-images", "stacks"},
		{"go", "build", "-o", os.DevNull, "./e2e/verify"},
	} {
		if _, err := b.output(ctx, argv...); err != nil {
			return err
		}
	}
	out, err := b.timed(ctx, "make up/everything cached", "make", "up")
	if err != nil {
		return err
	}
	for _, line := range stackLine.FindAllStringSubmatch(out, -1) {
		took, _ := strconv.ParseFloat(line[2], 64) // the expression has digits only
		b.add("make up/first up of "+line[1], "s", took)
	}
	if err := b.unchanged(ctx); err != nil {
		b.run.skip("provision/stacks", err)
	}
	if err := b.verify(ctx); err != nil {
		b.run.skip("provision/verify", err)
	}
	for _, stack := range []string{"remote", "local"} {
		_, err := b.timed(ctx, "stacks/destroy, "+stack, "dev/run", "pulumi", "destroy", "-s", stack, "--yes",
			"--skip-preview", "--exclude-protected", "--non-interactive")
		if err != nil {
			return err
		}
	}
	_, err = b.timed(ctx, "make up/make down", "make", "down")
	return err
}

// unchanged takes what Pulumi needs to see that nothing has changed, and how many resources there are.
func (b *provisionBench) unchanged(ctx context.Context) error {
	stacks := []string{"local", "remote"}
	for range pick(b.run, 5, 1) {
		for _, stack := range stacks {
			_, err := b.timed(ctx, "stacks/preview without change, "+stack, "dev/run", "pulumi", "preview", "-s",
				stack, "--expect-no-changes", "--non-interactive")
			if err != nil {
				return err
			}
			_, err = b.timed(ctx, "stacks/up without change, "+stack, "dev/run", "pulumi", "up", "-s", stack,
				"--yes", "--skip-preview", "--expect-no-changes", "--non-interactive")
			if err != nil {
				return err
			}
		}
	}
	for _, stack := range stacks {
		out, err := b.output(ctx, "dev/run", "pulumi", "stack", "export", "-s", stack)
		if err != nil {
			return err
		}
		var state struct {
			Deployment struct{ Resources []json.RawMessage }
		}
		if err := json.Unmarshal([]byte(out), &state); err != nil {
			return err
		}
		b.add("resources/"+stack, "resources", float64(len(state.Deployment.Resources)))
	}
	return nil
}

// verify takes the check of both systems: in all, and until a server was ready, answered and had run a cell.
func (b *provisionBench) verify(ctx context.Context) error {
	for range pick(b.run, 2, 1) {
		out, err := b.timed(ctx, "verify/both systems", "make", "verify")
		if err != nil {
			return err
		}
		lines := verifyLine.FindAllStringSubmatch(out, -1)
		if len(lines) == 0 {
			return fmt.Errorf("its table is not understood: %s", out)
		}
		for _, line := range lines {
			for i, what := range []struct{ name, unit string }{
				{"start on ", "s"},
				{"request to ", "ms"},
				{"cell on ", "ms"},
			} {
				sample, _ := strconv.ParseFloat(line[2+i], 64) // as above
				b.add("verify/"+what.name+line[1], what.unit, sample)
			}
		}
	}
	return nil
}
