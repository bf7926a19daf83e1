package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/dev/clusters/daemon"
	"github.com/outposts-dev/outposts/dev/clusters/image"
	"github.com/outposts-dev/outposts/dev/clusters/kubeconfig"
	"github.com/outposts-dev/outposts/dev/clusters/node"
	"github.com/outposts-dev/outposts/dev/clusters/registry"
)

func runLoad(_ context.Context, a *app, flags *flag.FlagSet, args []string) error {
	a.stateFlags(flags)
	var references list
	flags.Var(&references, "ref",
		"`HOST/NAME:TAG` that pods use, of whatever registry; may be given several times (default: the name in the "+
			"archive)")
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
	for _, name := range a.running() {
		if err := a.forgetOld(name, daemon.Find(daemon.Node, a.dir.Cluster(name))); err != nil {
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

// loadSystemImages puts the images into the registry that a node needs by itself. A file remembers
// what they were made of.
func (a *app) loadSystemImages() error {
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	store := registry.Store{Dir: a.dir.Registry()}
	for _, one := range []struct{ reference, program, target string }{
		{node.PauseImage, filepath.Join(filepath.Dir(executable), "pause"), "/pause"},
		{node.DNSImage, filepath.Join(a.parts.DNS, "coredns"), "/coredns"},
	} {
		info, err := os.Stat(one.program)
		if err != nil {
			return err
		}
		note := filepath.Join(store.Dir, "made"+strings.ReplaceAll(one.target, "/", "-"))
		made := fmt.Sprintf("%s %s %d %d\n", one.reference, one.program, info.Size(), info.ModTime().UnixNano())
		reference, err := registry.ParseReference(one.reference)
		if err != nil {
			return err
		}
		if was, err := os.ReadFile(note); err == nil && string(was) == made {
			if _, err := store.Resolve(reference); err == nil {
				continue
			}
		}
		built, err := image.Build(image.Spec{
			Reference: one.reference,
			Layers:    []image.Layer{{Files: []image.File{{Source: one.program, Target: one.target, Mode: 0o755}}}},
			Execution: image.Execution{Entrypoint: []string{one.target}},
		}, store.Dir)
		if err != nil {
			return err
		}
		if err := errors.Join(store.Add(reference, built, built.Manifest), built.Close()); err != nil {
			return err
		}
		if err := os.WriteFile(note, []byte(made), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func runKubeconfig(_ context.Context, a *app, flags *flag.FlagSet, args []string) error {
	a.stateFlags(flags)
	a.kubeconfigFlag(flags)
	clusters, err := a.named(flags, args)
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
