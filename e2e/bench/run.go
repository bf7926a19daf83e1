package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// run is one run of this program: what it was asked for, and what it has measured.
type run struct {
	results

	quick    bool
	only     []string
	network  string
	progress io.Writer
	began    time.Time
	whole    []string // topics that were measured whole

	checkout *checkout // made when a measurement asks for clusters
}

// newRun notes when and where the figures are taken.
func newRun(ctx context.Context) *run {
	r := &run{began: time.Now()}
	c := conditions{
		ID: r.began.UTC().Format(time.RFC3339), Commit: "unknown", Machine: machine(),
		Versions: []string{runtime.Version()},
	}
	if text, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		c.Commit = strings.TrimSpace(string(text))
		// What this program writes itself does not count.
		changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--",
			".", ":!"+home, ":!docs").Output()
		if err != nil || len(changed) > 0 {
			c.Commit += " with changes"
		}
	}
	if text, err := exec.CommandContext(ctx, "ssh", "-V").CombinedOutput(); err == nil {
		c.Versions = append(c.Versions, strings.TrimSpace(string(text)))
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		_, _ = fmt.Sscan(string(text), &c.Load) // 0 where the kernel says nothing
	}
	r.Runs = []conditions{c}
	return r
}

// machine describes processor, memory and kernel.
func machine() string {
	cpu := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				cpu = strings.Trim(name, "\t :\n")
				break
			}
		}
	}
	memory := ""
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib float64
		if _, err := fmt.Sscanf(string(text), "MemTotal: %f kB", &kib); err == nil {
			memory = fmt.Sprintf(", %.0f GiB", kib/(1<<20))
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease") // empty where there is none
	return fmt.Sprintf("%d x %s%s, %s %s", runtime.NumCPU(), cpu, memory, runtime.GOOS,
		strings.TrimSpace(string(kernel)))
}

// wants reports whether a name, or anything below it, was asked for.
func (r *run) wants(name string) bool {
	return r.wantsAll(name) || slices.ContainsFunc(r.only, func(o string) bool { return strings.HasPrefix(o, name) })
}

// wantsAll reports whether a name and all below it were asked for.
func (r *run) wantsAll(name string) bool {
	return len(r.only) == 0 || slices.ContainsFunc(r.only, func(o string) bool { return strings.HasPrefix(name, o) })
}

// pick returns the size for a full or a quick run.
func pick[T any](r *run, full, quick T) T {
	if r.quick {
		return quick
	}
	return full
}

// add records a sample.
func (r *run) add(name, subject, unit, better string, sample float64) {
	for i := range r.Results {
		if r.Results[i].Name == name && r.Results[i].Subject == subject {
			r.Results[i].Samples = append(r.Results[i].Samples, sample)
			return
		}
	}
	r.Results = append(r.Results,
		result{Run: r.Runs[0].ID, Name: name, Subject: subject, Unit: unit, Better: better, Samples: []float64{sample}})
}

// skip notes what could not be measured, and why. The rest goes on.
func (r *run) skip(name string, why error) {
	r.say("%s is left out: %v", name, why)
	r.Skipped = append(r.Skipped, skip{Run: r.Runs[0].ID, Name: name, Why: firstLines(why.Error())})
}

// firstLines keeps what a reader of results.json needs of an error that may hold the output of a program.
func firstLines(text string) string {
	const limit = 400
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > limit {
		return strings.ToValidUTF8(text[:limit], "") + " ..."
	}
	return text
}

// say prints how far the run is.
func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.progress, "%6.0fs %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// measure takes one topic. Whatever ends it, what was taken until then stays.
func (r *run) measure(ctx context.Context, m measurement) {
	skipped := len(r.Skipped)
	err := m.run(ctx, r)
	if err != nil && ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	if err != nil {
		r.skip(m.topic, err)
	}
	if r.wantsAll(m.topic) && len(r.Skipped) == skipped {
		r.whole = append(r.whole, m.topic)
	}
	r.Runs[0].Seconds = time.Since(r.began).Round(time.Second).Seconds()
	r.Runs[0].Quick = r.quick
}
