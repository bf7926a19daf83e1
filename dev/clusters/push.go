package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/outposts-dev/outposts/dev/clusters/registry"
)

// runRegistry serves the clusters' images to pushes. What is pushed as ADDRESS/NAME:TAG is localhost/NAME:TAG for pods.
func runRegistry(ctx context.Context, a *app, flags *flag.FlagSet, args []string) error {
	a.stateFlags(flags)
	address := flags.String("listen", "127.0.0.1:5077", "loopback `address` and port")
	rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return usageError{fmt.Errorf("registry takes no argument, and got %q", rest[0])}
	}
	if err := loopback(*address); err != nil {
		return usageError{err}
	}
	if err := a.open(); err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(a.stderr, nil))
	handler, err := registry.PushHandler(registry.Store{Dir: a.dir.Registry()}, logger)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "push to %s/NAME:TAG; pods name it localhost/NAME:TAG\n", *address)
	return registry.Serve(ctx, *address, handler) // until it is interrupted, which is how it ends
}

// loopback refuses addresses that others than this machine reach: whoever pushes decides what pods run.
func loopback(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("--listen %s: want an address and a port, such as 127.0.0.1:5077", address)
	}
	if !at.Addr().IsLoopback() {
		return fmt.Errorf("--listen %s: the registry asks nobody who they are, so it is served on a loopback address "+
			"only", address)
	}
	return nil
}
