// Bench measures what this project promises, side by side with what a user would take instead, in one run on one
// machine. It prints a table, writes results.json and pictures, and compares with the results of the last commit.
//
//	go run ./e2e/bench [-quick] [-only ssh] [-out bench]
//
// A measurement that cannot run here says why and is left out; nothing here passes or fails by time.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// measurements is the table of what is measured; each entry has a file of its own.
var measurements = []measurement{
	{"ssh", "SSH forwarding against Debian's sshd", measureSSH},
	{"api", "the API against a plain handler", measureAPI},
	{"pods", "starts on a real cluster against bare pods", measurePods},
	{"provision", "what a developer waits for: tools, clusters, previews", measureProvision},
	{"scale", "thousands of services of 100 hubs on a simulated cluster", measureScale},
}

// measurement is one topic: it adds its results to the run, or returns why it cannot.
type measurement struct {
	name  string
	about string
	run   func(ctx context.Context, r *run) error
}

// roles are what this program is when it starts itself as a peer in a process of its own, so that CPU time and memory
// can be told apart.
var roles = map[string]func(args []string) error{
	"ssh-server":  serveSSH,
	"ssh-backend": serveBackend,
	"api-outpost": serveOutpost,
	"api-plain":   servePlain,

	"scale-cluster": serveSimulated,
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

func mainRun(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	quick := fs.Bool("quick", false, "fewer rounds and bytes: minutes instead of tens of minutes")
	only := fs.String("only", "", "comma-separated prefixes of result names, such as ssh or ssh/throughput")
	out := fs.String("out", "bench", "directory for results.json and pictures")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	r := &run{quick: *quick, progress: stderr}
	if *only != "" {
		r.only = strings.Split(*only, ",")
	}
	last, err := readResults(filepath.Join(*out, "results.json"))
	if err != nil {
		fmt.Fprintln(stderr, "no earlier results to compare with:", err)
	}
	for _, m := range measurements {
		if !r.wants(m.name) || ctx.Err() != nil {
			continue
		}
		if err := m.run(ctx, r); err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", m.about, err)
			r.Skipped = append(r.Skipped, fmt.Sprintf("%s: %v", m.name, err))
		}
	}
	r.describe()
	r.table(stdout, last)
	if err := r.write(*out); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintf(stdout, "%d results in %s\n", len(r.Results), filepath.Join(*out, "results.json"))
	if len(r.Skipped) > 0 {
		return 1
	}
	return 0
}
