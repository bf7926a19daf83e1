package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/dev/clusters/bridge"
	"github.com/outposts-dev/outposts/dev/clusters/daemon"
	"github.com/outposts-dev/outposts/dev/clusters/kubeconfig"
	"github.com/outposts-dev/outposts/dev/clusters/node"
	"github.com/outposts-dev/outposts/dev/clusters/plan"
)

func runDown(_ context.Context, a *app, flags *flag.FlagSet, args []string) error {
	a.stateFlags(flags)
	a.kubeconfigFlag(flags)
	purge := flags.Bool("purge", false, "remove the clusters' data too; the images stay unless no cluster is left")
	names, err := parse(flags, args)
	if err != nil {
		return err
	}
	if err := a.needRoot("down"); err != nil {
		return err
	}
	if err := a.open(); err != nil {
		return err
	}
	unlock, err := a.lock()
	if err != nil {
		return err
	}
	defer unlock()

	began := time.Now()
	names, err = a.namesToEnd(names)
	if err != nil {
		return err
	}
	errs := make([]error, len(names))
	var group sync.WaitGroup
	for i, name := range names {
		group.Go(func() { errs[i] = a.end(name, *purge) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := node.RemoveCgroups(node.Cgroups); err != nil {
		return err
	}
	left := a.running()
	if len(left) == 0 {
		if err := bridge.Remove(a.dir); err != nil {
			return err
		}
	}
	if *purge {
		if err := kubeconfig.Remove(a.kubeconfig, names...); err != nil {
			return err
		}
		if there, err := filepath.Glob(filepath.Join(a.dir.Path, "*", "cluster.json")); err == nil && len(there) == 0 {
			if err := os.RemoveAll(a.dir.Registry()); err != nil {
				return err
			}
		}
	}
	what := "their data stay for the next up"
	if *purge {
		what = "their data are removed"
	}
	fmt.Fprintf(a.stdout, "down in %.1f s: %d ended (%s), %d still run\n", time.Since(began).Seconds(), len(names), what, len(left))
	return nil
}

// namesToEnd returns the folders of the named clusters, or of all. It looks at folders, not at what is in them: what another version or a
// killed run has left must be removable.
func (a *app) namesToEnd(names []string) ([]string, error) {
	there := map[string]bool{}
	folders, err := os.ReadDir(a.dir.Path)
	if err != nil {
		return nil, err
	}
	for _, folder := range folders {
		if folder.IsDir() && folder.Name() != "registry" && plan.CheckName(folder.Name()) == nil {
			there[folder.Name()] = true
		}
	}
	for _, name := range a.running() { // its folder may have been removed under it
		there[name] = true
	}
	all := slices.Sorted(maps.Keys(there))
	if len(names) == 0 {
		return all, nil
	}
	for _, name := range names {
		if !there[name] {
			_, err := a.known(names) // says which ones there are
			if err == nil {
				err = fmt.Errorf("no cluster %s", name)
			}
			return nil, err
		}
	}
	return names, nil
}

// end ends one cluster, in whatever state it is.
func (a *app) end(name string, purge bool) error {
	folder := a.dir.Cluster(name)
	cluster := plan.Cluster{Name: name}
	if pid := daemon.Find(daemon.Node, folder); pid != 0 {
		if err := daemon.Kill(pid); err != nil {
			return fmt.Errorf("end %s: %w", name, err)
		}
	}
	var errs []error
	if pid := daemon.Find(daemon.Switch, a.dir.Path); pid != 0 {
		errs = append(errs, bridge.Unplug(pid, cluster))
	}
	if purge {
		errs = append(errs, os.RemoveAll(folder))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("end %s: %w", name, err)
	}
	return nil
}

// running returns the names of the clusters of this state folder that run.
func (a *app) running() []string {
	var names []string
	for folder := range daemon.List(daemon.Node) {
		if filepath.Dir(folder) == a.dir.Path {
			names = append(names, filepath.Base(folder))
		}
	}
	slices.Sort(names)
	return names
}
