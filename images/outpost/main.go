// Command outpost makes the image of the outpost without a container runtime, and pushes it to a registry.
//
//	go run . build -out FILE [-ref REF] [-version VERSION] [-revision REVISION]   compile, list what is in it, pack
//	go run . push [-force] FILE REF...                                            copy the archive to registries
//
// The image depends on the sources, the Go release and the flags, on nothing else: built twice it has the same digest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "outpost image:", err)
		}
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return errors.New("say what to do: build or push")
	}
	switch args[0] {
	case "build":
		flags := flag.NewFlagSet("build", flag.ContinueOnError)
		var b build
		flags.StringVar(&b.out, "out", "outpost.tar", "archive to write; the SBOM is written beside it")
		flags.StringVar(&b.reference, "ref", "localhost/outposts/outpost:dev", "name of the image")
		flags.StringVar(&b.version, "version", "0.0.0", "version that the program and the labels tell")
		flags.StringVar(&b.revision, "revision", "", "commit that the labels tell; for images that are published")
		flags.StringVar(&b.root, "root", "../..", "folder of the module")
		flags.StringVar(&b.architecture, "arch", runtime.GOARCH, "architecture to build for")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return b.run(ctx, stdout)
	case "push":
		flags := flag.NewFlagSet("push", flag.ContinueOnError)
		force := flags.Bool("force", false, "take a tag from a release")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		if flags.NArg() < 2 {
			return errors.New("usage: push [-force] FILE REF [REF ...]")
		}
		return push(ctx, flags.Arg(0), flags.Args()[1:], *force, stdout)
	}
	return fmt.Errorf("%q is neither build nor push", args[0])
}
