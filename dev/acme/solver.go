package main

import (
	"context"
	"flag"
	"log/slog"
	"os"

	"github.com/cert-manager/cert-manager/pkg/issuer/acme/http/solver"
	"github.com/go-logr/logr"
)

// runSolver serves the key of one challenge until the controller deletes the pod; then it ends without an error, which
// would leave a failed pod behind. The flags are those that cert-manager writes into the pod
// (pkg/issuer/acme/http/pod.go).
func runSolver(ctx context.Context, args []string) error {
	var s solver.HTTP01Solver
	flags := flag.NewFlagSet("solver", flag.ContinueOnError)
	flags.IntVar(&s.ListenPort, "listen-port", 8089, "`port` to answer on")
	flags.StringVar(&s.Domain, "domain", "", "`name` that is to be proved")
	flags.StringVar(&s.Token, "token", "", "`token` of the challenge")
	flags.StringVar(&s.Key, "key", "", "`key` that answers it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Listen(logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, nil))) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}
