package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// hold keeps the outpost's place without doing its work: hubs cannot connect, so they keep what they know of their
// servers, while an operator restores a database. To Kubernetes it is alive and ready.
func (p *process) hold(ctx context.Context) error {
	if p.cfg.MetricsListen == "" {
		return errors.New("OUTPOST_METRICS_LISTEN: is empty; an outpost that is held answers probes there")
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.cfg.MetricsListen)
	if err != nil {
		return fmt.Errorf("OUTPOST_METRICS_LISTEN: %w", err)
	}
	held := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "held") }
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", held)
	mux.HandleFunc("GET /readyz", held)
	s := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = s.Close() // what it answers takes no time
	}()
	p.log.Info("outpost is held: it serves nothing", "probes", listener.Addr().String())
	if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
