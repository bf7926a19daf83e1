package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/dev/clusters/bridge"
	"github.com/outposts-dev/outposts/dev/clusters/kubeconfig"
	"github.com/outposts-dev/outposts/dev/clusters/node"
	"github.com/outposts-dev/outposts/dev/clusters/plan"
)

// progress prints steps, each with the time since the beginning.
type progress struct {
	app   *app
	began time.Time
	mu    sync.Mutex
}

func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.app.stdout, "%6.1fs %s\n", time.Since(p.began).Seconds(), fmt.Sprintf(format, args...))
}

// upRequest is what the command line of `up` asks for.
type upRequest struct {
	names   []string
	network plan.Network
	timeout time.Duration // for all of them, which start at the same time
}

func (a *app) parseUp(flags *flag.FlagSet, args []string) (upRequest, error) {
	a.stateFlags(flags)
	a.kubeconfigFlag(flags)
	a.upFlags(flags)
	var r upRequest
	flags.DurationVar(&r.timeout, "timeout", 2*time.Minute, "how long a cluster may take")
	var err error
	if r.names, err = parse(flags, args); err != nil {
		return r, err
	}
	if len(r.names) == 0 {
		r.names = []string{"local", "remote"}
	}
	for _, name := range r.names {
		if err := plan.CheckName(name); err != nil {
			return r, usageError{err}
		}
	}
	if r.network, err = plan.ParseNetwork(a.network); err != nil {
		return r, usageError{err}
	}
	return r, nil
}

func runUp(ctx context.Context, a *app, flags *flag.FlagSet, args []string) error {
	request, err := a.parseUp(flags, args)
	if err != nil {
		return err
	}
	if err := a.needMachine(); err != nil {
		return err
	}
	if err := a.open(); err != nil {
		return err
	}
	if err := a.needDisk(); err != nil {
		return err
	}
	unlock, err := a.lock()
	if err != nil {
		return err
	}
	defer unlock()

	ctx, cancel := context.WithTimeoutCause(ctx, request.timeout, fmt.Errorf("timed out after %s", request.timeout))
	defer cancel()
	p := &progress{app: a, began: time.Now()}
	clusters, err := a.planClusters(request)
	if err != nil {
		return err
	}
	switchPID, err := a.bringUpBridge(ctx, p, request.network)
	if err != nil {
		return err
	}
	if err := a.bringUpAll(ctx, p, switchPID, clusters); err != nil {
		return err
	}
	if err := a.mergeKubeconfigs(clusters); err != nil {
		return err
	}
	p.say("%s: Ready, DNS answers", strings.Join(request.names, ", "))
	a.printNext(clusters)
	return nil
}

// planClusters gives each cluster its place in the network. It refuses what the machine cannot carry
// before a cluster has a folder.
func (a *app) planClusters(request upRequest) ([]plan.Cluster, error) {
	if err := a.needWatchers(request.names); err != nil {
		return nil, err
	}
	if err := bridge.Conflict(request.network); err != nil {
		return nil, err
	}
	var clusters []plan.Cluster
	for _, name := range request.names {
		cluster, err := a.dir.Ensure(name, request.network)
		if err != nil {
			return nil, err
		}
		clusters = append(clusters, cluster)
	}
	return clusters, nil
}

// bringUpBridge brings up what all clusters share: the bridge and the registry with the system images. It returns
// the pid of the daemon that holds them.
func (a *app) bringUpBridge(ctx context.Context, p *progress, network plan.Network) (int, error) {
	// What a killed run or node has left, in this checkout or in another one.
	if err := node.RemoveCgroups(node.Cgroups); err != nil {
		return 0, err
	}
	pid, err := bridge.Ensure(ctx, a.dir, network)
	if err != nil {
		return 0, err
	}
	p.say("bridge %s and registry %s are up", network, network.Registry())
	return pid, a.loadSystemImages()
}

// bringUpAll brings the clusters up, all at the same time.
func (a *app) bringUpAll(ctx context.Context, p *progress, switchPID int, clusters []plan.Cluster) error {
	errs := make([]error, len(clusters))
	var group sync.WaitGroup
	for i, cluster := range clusters {
		group.Go(func() { errs[i] = a.bringUp(ctx, p, switchPID, cluster) })
	}
	group.Wait()
	return errors.Join(errs...)
}

func (a *app) mergeKubeconfigs(clusters []plan.Cluster) error {
	var files []string
	for _, cluster := range clusters {
		files = append(files, a.adminKubeconfig(cluster))
	}
	return kubeconfig.Merge(a.kubeconfig, files...)
}

func (a *app) adminKubeconfig(cluster plan.Cluster) string {
	return filepath.Join(a.dir.Cluster(cluster.Name), "pki", "admin.kubeconfig")
}

// printNext prints the commands to go on with.
func (a *app) printNext(clusters []plan.Cluster) {
	fmt.Fprintf(a.stdout, "\nNext:\n  export KUBECONFIG=%s PATH=%s:$PATH\n",
		a.kubeconfig, filepath.Join(a.parts.Kube, "bin"))
	for _, cluster := range clusters {
		fmt.Fprintf(a.stdout, "  kubectl --context %s get pods -A\n", cluster.Name)
	}
}
