// Load shows what an outpost promises under attack and over time, with the shipped program in a process of its own:
//
//	go run ./e2e/load flood [-for 5m] [-outpost PROGRAM]
//	go run ./e2e/load soak [-for 30m] [-outpost PROGRAM]
//
// Flood is what one machine without credentials can do, together with a hub that does not read, while two hubs work.
// Soak starts and stops servers and kills the outpost meanwhile. Both print what they measured beside what must hold,
// and fail if it does not. They need root, for a network namespace that ends with them: nothing leaves it. Kubernetes
// is simulated (package simulated). Answers are only as quick as the machine: run them on one that does nothing else.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// inside are the measurements, which run in the network namespace.
var inside = map[string]func(ctx context.Context, o options) (report, error){
	"inside-flood": flood,
	"inside-soak":  soak,
}

// roles are what this program can be when it starts itself, each in a process of its own, so that CPU time and memory
// can be told apart.
var roles = map[string]func(ctx context.Context, args []string) error{
	"cluster": serveCluster,
	"silent":  attackSilent,
	"half":    attackHalf,
	"unread":  attackUnread,
	"guess":   attackGuess,
}

// options are the flags.
type options struct {
	duration  time.Duration
	outpost   string // program
	rate      float64
	oneSource bool
	verbose   bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := mainRun(ctx, os.Args[1:], os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func mainRun(ctx context.Context, args []string, stderr io.Writer) error {
	if len(args) == 0 {
		return errors.New("usage: load flood|soak [flags]")
	}
	what, args := args[0], args[1:]
	if role := roles[what]; role != nil {
		return role(ctx, args)
	}
	usual, ok := map[string]time.Duration{"flood": 5 * time.Minute, "soak": 30 * time.Minute}[what]
	measure := inside[what]
	if !ok && measure == nil {
		return fmt.Errorf("%q is neither flood nor soak", what)
	}
	var o options
	fs := flag.NewFlagSet(what, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.DurationVar(&o.duration, "for", usual, "`duration` of the load")
	fs.StringVar(&o.outpost, "outpost", "", "`program` to measure; empty to build this checkout's")
	fs.Float64Var(&o.rate, "rate", 500, "connections of each kind that a flood opens `a second`")
	fs.BoolVar(&o.oneSource, "one-source", false, "the flood comes from the address of the hubs alone")
	fs.BoolVar(&o.verbose, "v", false, "print each failure when it happens")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see -help", fs.Arg(0))
	}
	if measure == nil {
		return isolate(ctx, what, o)
	}
	report, err := measure(ctx, o)
	if err != nil {
		return err
	}
	report.print(os.Stdout)
	return report.err()
}

// isolate runs a measurement in a network namespace, with the program that it measures.
func isolate(ctx context.Context, what string, o options) error {
	if os.Getuid() != 0 {
		return errors.New("a network namespace needs root")
	}
	if o.outpost == "" {
		dir, err := os.MkdirTemp("", "load-build-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.outpost = filepath.Join(dir, "outpost")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", o.outpost,
			"./server/cmd/outpost")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, "inside-"+what, "-for", o.duration.String(), "-outpost", o.outpost,
		"-rate", fmt.Sprint(o.rate), fmt.Sprintf("-one-source=%v", o.oneSource), fmt.Sprintf("-v=%v", o.verbose))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	return cmd.Run()
}
