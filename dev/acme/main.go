// Command certmanager is cert-manager as far as an Ingress with a certificate by ACME's HTTP-01 needs it: its
// controller and its solver in one program. cert-manager's own commands are modules that the Go proxy does not serve;
// the packages are the unchanged ones.
//
//	certmanager controller    issues and renews certificates for the Ingresses of the cluster it runs in
//	certmanager solver        answers one challenge; the controller starts it in a pod of its own
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stderr))
}

func run(ctx context.Context, args []string, stderr io.Writer) int {
	programs := map[string]func(context.Context, []string) error{"controller": runController, "solver": runSolver}
	if len(args) == 0 || programs[args[0]] == nil {
		fmt.Fprintln(stderr, "usage: certmanager controller|solver [flags]")
		return 2
	}
	if err := programs[args[0]](ctx, args[1:]); err != nil {
		fmt.Fprintf(stderr, "certmanager %s: %v\n", args[0], err)
		return 1
	}
	return 0
}
