// Bench measures what this project promises against the usual alternative, side by side in one run on one
// machine. It prints a table, writes results.json, pictures and the tables of docs/performance.md, and compares with
// the results of the last commit.
//
//	go run ./e2e/bench [-quick] [-only ssh,api/polls] [-out bench] [-page docs/performance.md]
//	go run ./e2e/bench -draw        pictures and page again, from the existing results
//
// A measurement that cannot run here says why and is left out; nothing here passes or fails by time. A run of a part
// (-only) replaces the figures of that part in results.json, and every figure says which run it is of.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// measurement is one topic: it adds its results to the run, or returns why it cannot.
type measurement struct {
	topic string // the first part of the names of its results
	run   func(ctx context.Context, r *run) error
}

// measurements are what is measured; each entry has files of its own.
var measurements = []measurement{
	{"ssh", measureSSH},
	{"tunnels", measureTunnels},
	{"api", measureAPI},
	{"hub", measureHub},
	{"pods", measurePods},
	{"labs", measureLabs},
	{"provision", measureProvision},
}

// roles are the servers that this program can be when it starts itself, each in a process of its own, so that CPU time
// and memory can be told apart.
var roles = map[string]func(args []string) error{
	"ssh-server":  serveSSH,
	"ssh-backend": serveBackend,
	"api-plain":   servePlain,
	"api-cluster": serveSimulated,
	"hub-cluster": serveHubCluster,
}

func main() {
	if len(os.Args) > 1 && roles[os.Args[1]] != nil {
		if err := roles[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := mainRun(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// home is the folder of the results that are committed.
const home = "bench"

// options are the flags.
type options struct {
	quick, draw              bool
	only, out, page, network string
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.BoolVar(&o.quick, "quick", false, "fewer rounds and bytes: minutes instead of tens of minutes")
	fs.BoolVar(&o.draw, "draw", false, "measure nothing; draw pictures and page from the existing results")
	fs.StringVar(&o.only, "only", "", "comma-separated beginnings of `names` of results, such as ssh or api/polls")
	fs.StringVar(&o.out, "out", home, "`folder` for results.json and pictures, below the current one")
	fs.StringVar(&o.page, "page", "docs/performance.md", "`file` whose tables are written anew; empty for none")
	fs.StringVar(&o.network, "network", "10.67.0.0/16",
		"`CIDR` for the clusters of the measurements, a /16 of 10.0.0.0/8")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q; see -help", fs.Arg(0))
		fmt.Fprintln(stderr, "bench:", err)
	}
	return o, err
}

func mainRun(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := bench(ctx, o, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// bench measures, prints and writes. What had to be left out is reported and is not an error.
func bench(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	earlier, err := readResults(filepath.Join(o.out, resultsFile))
	if err != nil && !(errors.Is(err, fs.ErrNotExist) && !o.draw) {
		return err
	}
	if o.draw {
		return publish(earlier, o)
	}
	r := newRun(ctx)
	r.quick, r.network, r.progress = o.quick, o.network, stderr
	if o.only != "" {
		r.only = strings.Split(o.only, ",")
	}
	committed, err := committedResults(ctx)
	if err != nil {
		r.say("%v", err)
	}
	defer func() {
		// Also after an interruption, and before the exit code is known.
		err = errors.Join(err, r.checkout.remove(context.WithoutCancel(ctx)))
	}()
	for _, m := range measurements {
		if !r.wants(m.topic) || ctx.Err() != nil {
			continue
		}
		r.measure(ctx, m)
		// After each, so that a run that is killed has not been for nothing.
		if err := publish(earlier.merge(r.results, r.whole), o); err != nil {
			return err
		}
	}
	r.table(stdout, committed)
	fmt.Fprintf(stdout, "%d results of this run in %s\n", len(r.Results), filepath.Join(o.out, resultsFile))
	return ctx.Err()
}

// publish writes results, pictures and page.
func publish(s results, o options) error {
	if err := errors.Join(s.write(o.out), s.draw(o.out)); err != nil || o.page == "" {
		return err
	}
	text, err := os.ReadFile(o.page)
	if err != nil {
		return err
	}
	filled, err := fillPage(string(text), s)
	if err != nil {
		return fmt.Errorf("%s: %w", o.page, err)
	}
	return os.WriteFile(o.page, []byte(filled), 0o644)
}
