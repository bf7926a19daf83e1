// Command test runs suites of tests and ends with a line that says what ran, how many tests passed, failed and were
// skipped, why those were skipped, what a failed one said, and which command runs it alone.
//
//	test -root DIR -logs DIR SUITE[,SUITE...]...
//
// Suites with a comma between them run one after the other, beside those of the other arguments: a suite that waits for
// Kubernetes leaves processors to others.
//
// A suite that runs no test to its end counts as failed: an empty suite proves nothing, nor does one that is skipped.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends this program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	flags.SetOutput(stderr)
	root := flags.String("root", ".", "top `folder` of the checkout")
	logs := flags.String("logs", ".state/test", "`folder` for the whole output of each suite")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: test [flags] SUITE[,SUITE...]...\n\nSuites:")
		for _, s := range suites {
			fmt.Fprintf(stderr, "  %-8s %s\n", s.name, s.about)
		}
		fmt.Fprintln(stderr, "\nFlags:")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	lanes, err := choose(flags.Args())
	if err != nil {
		fmt.Fprintln(stderr, "test:", err)
		flags.Usage()
		return 2
	}
	if err := os.MkdirAll(*logs, 0o755); err != nil {
		fmt.Fprintln(stderr, "test:", err)
		return 1
	}
	before := busy()
	results := runLanes(ctx, lanes, *root, *logs, stdout)
	return report(results, busy()-before, stdout)
}

// choose finds the suites by name, those of each argument in a lane of their own.
func choose(args []string) (lanes [][]suite, err error) {
	if len(args) == 0 {
		return nil, errors.New("name the suites to run")
	}
	chosen := map[string]bool{}
	for _, arg := range args {
		var lane []suite
		for name := range strings.SplitSeq(arg, ",") {
			i := slices.IndexFunc(suites, func(s suite) bool { return s.name == name })
			if i < 0 {
				return nil, fmt.Errorf("unknown suite %q", name)
			}
			if chosen[name] {
				return nil, fmt.Errorf("suite %s is named twice", name)
			}
			chosen[name] = true
			lane = append(lane, suites[i])
		}
		lanes = append(lanes, lane)
	}
	return lanes, nil
}

// runLanes runs the lanes beside one another, and the suites of each one after the other, until all or ctx have ended.
// The results are in the order of the lanes.
func runLanes(ctx context.Context, lanes [][]suite, root, logs string, stdout io.Writer) []result {
	var mu sync.Mutex // over stdout
	results := make([][]result, len(lanes))
	began := time.Now()
	var work sync.WaitGroup
	for i, lane := range lanes {
		work.Go(func() {
			for _, s := range lane {
				if ctx.Err() != nil {
					return
				}
				w := &lines{to: stdout, mu: &mu, name: s.name}
				fmt.Fprintf(w, "== %s\n", s.about)
				after := time.Since(began)
				r := s.run(ctx, root, logs, w)
				w.flush()
				r.name, r.began, r.took = s.name, after, time.Since(began)-after
				if r.passed+r.failed == 0 && r.broken == "" {
					r.broken = "no test ran to its end"
				}
				results[i] = append(results[i], r)
			}
		})
	}
	work.Wait()
	return slices.Concat(results...)
}

// report prints the table and the closing line and returns the exit code. worked is how long the machine's processors
// have worked meanwhile.
func report(results []result, worked time.Duration, w io.Writer) int {
	var total result
	fmt.Fprintf(w, "\n%-8s %7s %7s %8s %8s %8s %8s\n", "suite", "passed", "failed", "skipped", "began", "time", "cpu")
	for _, r := range results {
		fmt.Fprintf(w, "%-8s %7d %7d %8d %7.0fs %7.0fs %7.0fs\n",
			r.name, r.passed, r.failed, r.skipped, r.began.Seconds(), r.took.Seconds(), r.cpu.Seconds())
		total.cpu += r.cpu
		total.passed += r.passed
		total.failed += r.failed
		total.skipped += r.skipped
	}
	fmt.Fprintf(w, "cpu: %.0fs of the suites, %.0fs of the whole machine, clusters and all\n",
		total.cpu.Seconds(), worked.Seconds())
	for _, r := range results {
		for _, s := range r.skips {
			fmt.Fprintf(w, "skipped: %s: %s\n", r.name, s)
		}
	}
	for _, r := range results {
		for _, f := range r.failures {
			fmt.Fprintf(w, "failed: %s: %s\n", r.name, f)
			for _, line := range f.said {
				fmt.Fprintf(w, "    %s\n", line)
			}
			fmt.Fprintf(w, "  alone: %s\n", f.again)
		}
		if r.broken != "" {
			total.failed++
			fmt.Fprintf(w, "failed: suite %s: %s\n", r.name, r.broken)
		}
	}
	names := make([]string, len(results))
	for i, r := range results {
		names[i] = r.name
	}
	fmt.Fprintf(w, "suites run: %s\n", strings.Join(names, ", "))
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", total.passed, total.failed, total.skipped)
	if total.failed > 0 {
		return 1
	}
	return 0
}
