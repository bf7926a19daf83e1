package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/dev/clusters/daemon"
	"github.com/outposts-dev/outposts/dev/clusters/kubeapi"
	"github.com/outposts-dev/outposts/dev/clusters/node"
	"github.com/outposts-dev/outposts/dev/clusters/plan"
	"github.com/outposts-dev/outposts/dev/clusters/registry"
)

func runRenew(ctx context.Context, a *app, flags *flag.FlagSet, args []string) error {
	a.stateFlags(flags)
	timeout := flags.Duration("timeout", 5*time.Minute, "how long the new pods may take")
	clusters, err := a.named(flags, args)
	if err != nil {
		return err
	}
	clusters = slices.DeleteFunc(clusters, func(c plan.Cluster) bool {
		return daemon.Find(daemon.Node, a.dir.Cluster(c.Name)) == 0
	})
	if len(clusters) == 0 {
		return errors.New("no cluster runs; `clusters up` brings some up")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, *timeout, fmt.Errorf("timed out after %s", *timeout))
	defer cancel()
	p := &progress{app: a, began: time.Now()}
	errs := make([]error, len(clusters))
	var group sync.WaitGroup
	for i, cluster := range clusters {
		group.Go(func() { errs[i] = a.renew(ctx, p, cluster) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// renew restarts the Deployments of a cluster that run an older image than the one that was loaded under its name, and
// waits for their new pods.
func (a *app) renew(ctx context.Context, p *progress, cluster plan.Cluster) error {
	client, err := kubeapi.New(cluster.Server(), filepath.Join(a.dir.Cluster(cluster.Name), "pki"))
	if err != nil {
		return err
	}
	pods, err := client.Pods(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", cluster.Name, err)
	}
	old, err := a.oldDeployments(pods)
	if err != nil {
		return err
	}
	for _, d := range old {
		if err := client.Restart(ctx, d.namespace, d.name, time.Now()); err != nil {
			return fmt.Errorf("%s: restart %s: %w", cluster.Name, d, err)
		}
	}
	for _, d := range old {
		if err := rolledOut(ctx, client, d); err != nil {
			return fmt.Errorf("%s: %s after its restart: %w", cluster.Name, d, err)
		}
		p.say("%s: %s runs the image that was loaded", cluster.Name, d)
	}
	if len(old) == 0 {
		p.say("%s: nothing runs an older image than the loaded one", cluster.Name)
	}
	return nil
}

// deployment names one.
type deployment struct{ namespace, name string }

func (d deployment) String() string { return "Deployment " + d.namespace + "/" + d.name }

// oldDeployments are those of whose pods one runs another image than was loaded last under its name. Other pods are
// their users': they stay.
func (a *app) oldDeployments(pods []kubeapi.Pod) ([]deployment, error) {
	var old []deployment
	for _, pod := range pods {
		d := deployment{pod.Metadata.Namespace, pod.Deployment()}
		if d.name == "" || slices.Contains(old, d) {
			continue
		}
		names, err := a.oldNames(pod.Images())
		if err != nil {
			return nil, err
		}
		if len(names) > 0 {
			old = append(old, d)
		}
	}
	slices.SortFunc(old, func(a, b deployment) int { return strings.Compare(a.String(), b.String()) })
	return old, nil
}

// rolledOut waits until the pods are those that a Deployment wants.
func rolledOut(ctx context.Context, client *kubeapi.Client, d deployment) error {
	for {
		is, err := client.Deployment(ctx, d.namespace, d.name)
		if err == nil {
			ready, why := is.RolledOut()
			if ready {
				return nil
			}
			err = errors.New(why)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// oldNames are the names, of images with these digests, under which another image was loaded since. A name that nobody
// loaded, or that has a digest, means what it meant.
func (a *app) oldNames(digests map[string]string) ([]string, error) {
	store := registry.Store{Dir: a.dir.Registry()}
	var old []string
	for name, digest := range digests {
		reference, err := registry.ParseReference(name)
		if err != nil {
			continue
		}
		loaded, err := store.Resolve(reference)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if loaded.Digest != digest {
			old = append(old, name)
		}
	}
	return old, nil
}

// forgetOld takes from a node the names of images under which others were loaded since it pulled them: a kubelet asks
// for an image that its node has no second time.
func (a *app) forgetOld(name string, pid int) error {
	parts, err := node.Running(a.dir.Cluster(name))
	if err != nil {
		return err
	}
	images, err := node.Images(pid, parts)
	if err != nil {
		return fmt.Errorf("images of %s: %w", name, err)
	}
	old, err := a.oldNames(images)
	if err != nil {
		return err
	}
	if err := node.Forget(pid, parts, old...); err != nil {
		return fmt.Errorf("images of %s: %w", name, err)
	}
	return nil
}
