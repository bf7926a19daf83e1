package main

import (
	"context"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// election elects one of several processes by a Lease (coordination.k8s.io/v1).
type election struct {
	client           kubernetes.Interface
	namespace, lease string
	identity         string // of this process
	log              *slog.Logger
}

// run does the work whenever this process is elected, until ctx ends.
func (e election) run(ctx context.Context, work func(context.Context)) error {
	for ctx.Err() == nil {
		if err := e.term(ctx, work); err != nil {
			return err
		}
	}
	return nil
}

// term takes part once: it waits until this process is elected and works until the Lease is lost or ctx ends. The Lease
// is released only when the work has ended, so that no two processes work at a time.
func (e election) term(ctx context.Context, work func(context.Context)) error {
	elected := make(chan context.Context, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: e.namespace, Name: e.lease},
			Client:     e.client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: e.identity},
		},
		Name: e.lease, ReleaseOnCancel: true,
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) { elected <- leading },
			OnStoppedLeading: func() {},
			OnNewLeader: func(who string) {
				e.log.Info("leader elected", "leader", who, "this_process", who == e.identity)
			},
		},
	})
	if err != nil {
		return err
	}
	electing, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		elector.Run(electing)
	}()
	select {
	case leading := <-elected:
		working, stop := context.WithCancel(leading)
		unhook := context.AfterFunc(ctx, stop)
		work(working)
		unhook()
		stop()
	case <-ctx.Done():
	}
	release()
	<-ended
	return nil
}
