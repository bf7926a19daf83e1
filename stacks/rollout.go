package main

import (
	"context"
	"fmt"
	"time"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/release"
)

// rolledOut waits in a cluster until the pods of Deployments are those that the run wants.
func rolledOut(api clusterAPI, p patience) release.Ready {
	return func(ctx context.Context, namespace string, deployments []string) error {
		l := look{api: api, patience: p, deadline: time.Now().Add(p.rollout)}
		for _, name := range deployments {
			if err := l.rolledOut(ctx, cluster.Object{Namespace: namespace, Name: name}); err != nil {
				return err
			}
		}
		return nil
	}
}

// rolledOut waits until the pods of a Deployment are those that the run wants.
func (l look) rolledOut(ctx context.Context, name cluster.Object) error {
	for {
		rollout, err := l.api.Rollout(ctx, name)
		switch {
		case err != nil:
			return fmt.Errorf("deployment %s: %w", name, err)
		case rollout.Done:
			return nil
		case rollout.Failed, !l.again(ctx, l.deadline):
			return fmt.Errorf("deployment %s is not ready: %s; see kubectl -n %s describe deployment %s, and its "+
				"log: kubectl -n %s logs deployment/%s", name, rollout.Text, name.Namespace, name.Name,
				name.Namespace, name.Name)
		}
	}
}
