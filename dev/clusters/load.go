package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/outposts-dev/outposts/dev/clusters/image"
	"github.com/outposts-dev/outposts/dev/clusters/kubeconfig"
	"github.com/outposts-dev/outposts/dev/clusters/registry"
)

func runLoad(_ context.Context, a *app, flags *flag.FlagSet, args []string) error {
	a.stateFlags(flags)
	var references list
	flags.Var(&references, "ref", "`HOST/NAME:TAG` that pods use, of whatever registry; may be given several times (default: the name in the archive)")
	files, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(files) == 0 || len(files) > 1 && len(references) > 0 {
		return usageError{errors.New("name one OCI archive or folder, or several without --ref")}
	}
	if err := a.open(); err != nil {
		return err
	}
	for _, file := range files {
		if err := a.load(file, references); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) load(file string, references []string) (err error) {
	began := time.Now()
	layout, err := image.Open(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, layout.Close()) }()
	if len(references) == 0 {
		references = []string{""}
	}
	store := registry.Store{Dir: a.dir.Registry()}
	for _, wanted := range references {
		descriptor, name, err := layout.Image(wanted)
		if err != nil {
			return err
		}
		reference, err := registry.ParseReference(name)
		if err != nil {
			return err
		}
		if err := store.Add(reference, layout, descriptor); err != nil {
			return fmt.Errorf("load %s: %w", file, err)
		}
		fmt.Fprintf(a.stdout, "loaded %s %s (%.1f s)\n", reference, descriptor.Digest, time.Since(began).Seconds())
	}
	return nil
}

func runKubeconfig(_ context.Context, a *app, flags *flag.FlagSet, args []string) error {
	a.stateFlags(flags)
	a.kubeconfigFlag(flags)
	names, err := parse(flags, args)
	if err != nil {
		return err
	}
	if err := a.open(); err != nil {
		return err
	}
	clusters, err := a.known(names)
	if err != nil {
		return err
	}
	if len(clusters) == 0 {
		return errors.New("there are no clusters; `clusters up` makes some")
	}
	for _, cluster := range clusters {
		if err := kubeconfig.Merge(a.kubeconfig, a.adminKubeconfig(cluster)); err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "context %s is in %s\n", cluster.Name, a.kubeconfig)
	}
	return nil
}
