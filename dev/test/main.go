// Command test runs suites of tests one after the other and ends with a line that says what ran, how many tests passed,
// failed and were skipped, why those were skipped, and which command runs a failed one alone.
//
//	test -root DIR -logs DIR SUITE...
//
// A suite that runs no test to its end counts as failed: an empty suite proves nothing, nor does one that is skipped.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	flags.SetOutput(stderr)
	root := flags.String("root", ".", "top `folder` of the checkout")
	logs := flags.String("logs", ".state/test", "`folder` for the whole output of each suite")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: test [flags] SUITE...\n\nSuites:")
		for _, s := range suites {
			fmt.Fprintf(stderr, "  %-8s %s\n", s.name, s.about)
		}
		fmt.Fprintln(stderr, "\nFlags:")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	chosen, err := choose(flags.Args())
	if err != nil {
		fmt.Fprintln(stderr, "test:", err)
		flags.Usage()
		return 2
	}
	if err := os.MkdirAll(*logs, 0o755); err != nil {
		fmt.Fprintln(stderr, "test:", err)
		return 1
	}
	var results []result
	for _, s := range chosen {
		fmt.Fprintf(stdout, "\n== %s: %s\n", s.name, s.about)
		began := time.Now()
		r := s.run(*root, *logs, stdout)
		r.name, r.took = s.name, time.Since(began)
		if r.passed+r.failed == 0 && r.broken == "" {
			r.broken = "no test ran to its end"
		}
		results = append(results, r)
	}
	return report(results, stdout)
}

func choose(names []string) ([]suite, error) {
	if len(names) == 0 {
		return nil, fmt.Errorf("name the suites to run")
	}
	var chosen []suite
	for _, name := range names {
		found := false
		for _, s := range suites {
			if s.name == name {
				chosen, found = append(chosen, s), true
			}
		}
		if !found {
			return nil, fmt.Errorf("unknown suite %q", name)
		}
	}
	return chosen, nil
}

// report prints the table and the closing line and returns the exit code.
func report(results []result, w io.Writer) int {
	var total result
	fmt.Fprintf(w, "\n%-8s %7s %7s %8s %8s\n", "suite", "passed", "failed", "skipped", "time")
	for _, r := range results {
		fmt.Fprintf(w, "%-8s %7d %7d %8d %7.0fs\n", r.name, r.passed, r.failed, r.skipped, r.took.Seconds())
		total.passed += r.passed
		total.failed += r.failed
		total.skipped += r.skipped
	}
	for _, r := range results {
		for _, s := range r.skips {
			fmt.Fprintf(w, "skipped: %s: %s\n", r.name, s)
		}
	}
	for _, r := range results {
		for _, f := range r.failures {
			fmt.Fprintf(w, "failed: %s: %s\n  alone: %s\n", r.name, f, f.again)
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
