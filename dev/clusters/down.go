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
	if err := a.endAll(names, *purge); err != nil {
		return err
	}
	left, err := a.removeShared()
	if err != nil {
		return err
	}
	data := "their data stay for the next up"
	if *purge {
		data = "their data are removed"
		if err := a.forget(names); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.stdout, "down in %.1f s: %d ended (%s), %d still run\n",
		time.Since(began).Seconds(), len(names), data, left)
	return nil
}

// endAll ends the clusters, all at the same time.
func (a *app) endAll(names []string, purge bool) error {
	errs := make([]error, len(names))
	var group sync.WaitGroup
	for i, name := range names {
		group.Go(func() {
			errs[i] = a.end(name)
			if errs[i] == nil && purge {
				errs[i] = os.RemoveAll(a.dir.Cluster(name))
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// removeShared removes the cgroups of ended nodes, and the bridge when no cluster runs any more. It returns how many
// still run.
func (a *app) removeShared() (int, error) {
	if err := node.RemoveCgroups(node.Cgroups); err != nil {
		return 0, err
	}
	left := len(a.running())
	if left > 0 {
		return left, nil
	}
	return 0, bridge.Remove(a.dir)
}

// forget removes the purged clusters from the kubeconfig, and the images with the last cluster.
func (a *app) forget(names []string) error {
	if err := kubeconfig.Remove(a.kubeconfig, names...); err != nil {
		return err
	}
	kept, err := filepath.Glob(filepath.Join(a.dir.Path, "*", "cluster.json"))
	if err != nil || len(kept) > 0 {
		return err
	}
	return os.RemoveAll(a.dir.Registry())
}

// namesToEnd returns the folders of the named clusters, or of all. It looks at folders, not at what is in them: what
// another version or a killed run has left must be removable.
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

// end ends one cluster, in whatever state it is. Its data stay.
func (a *app) end(name string) error {
	if pid := daemon.Find(daemon.Node, a.dir.Cluster(name)); pid != 0 {
		if err := daemon.Kill(pid); err != nil {
			return fmt.Errorf("end %s: %w", name, err)
		}
	}
	if pid := daemon.Find(daemon.Switch, a.dir.Path); pid != 0 {
		if err := bridge.Unplug(pid, plan.Cluster{Name: name}); err != nil {
			return fmt.Errorf("end %s: %w", name, err)
		}
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
