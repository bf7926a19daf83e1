package main

import (
	"cmp"
	"context"
	"errors"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"k8s.io/klog/v2"

	"github.com/outposts-dev/outposts/server"
	"github.com/outposts-dev/outposts/server/footprint"
)

// tunnels leads a hub's cluster to servers on others until ctx ends.
func (p *process) tunnels(ctx context.Context) error {
	if _, err := memlimit.Set(); err != nil { // nine tenths of the container's limit; GOMEMLIMIT wins
		p.log.Debug("no memory limit is known", "err", err)
	}
	klog.SetSlogLogger(p.log.With("component", "client-go"))
	own, err := ownNamespace()
	if err != nil {
		return err
	}
	cfg := p.tunnelsCfg
	namespace := cmp.Or(cfg.Namespace, own)
	if namespace == "" {
		return errors.New("OUTPOST_TUNNELS_NAMESPACE: is empty, and this process does not run in a pod; " +
			"set the namespace of the Services")
	}
	client, err := p.connect("outpost-tunnels")
	if err != nil {
		return err
	}
	pace := footprint.NewPace(p.lookup)
	t, err := server.NewTunnels(ctx, cfg, client, server.Options{
		Logger: p.log, Version: version, Namespace: namespace,
		Settled: func() { footprint.DropStartupPages(p.log) }, Moving: pace.Moving,
	})
	if err != nil {
		return err
	}
	return keepPace(ctx, pace, t.Run)
}
