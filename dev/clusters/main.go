// Command clusters runs real Kubernetes clusters on one Linux machine, without Docker, without a registry, and without
// leaving anything behind. See `clusters --help`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/outposts-dev/outposts/dev/clusters/bridge"
	"github.com/outposts-dev/outposts/dev/clusters/daemon"
	"github.com/outposts-dev/outposts/dev/clusters/node"
	"github.com/outposts-dev/outposts/dev/clusters/plan"
	"github.com/outposts-dev/outposts/dev/clusters/state"
)

const help = `clusters runs real Kubernetes clusters on this machine: one node each, in namespaces of this kernel.

  clusters up [NAME ...]           bring clusters up (default: local remote); what runs already stays as it is
  clusters down [NAME ...]         end clusters (default: all); their data stay for the next up, unless --purge
  clusters status                  what runs, where, with how much memory
  clusters load FILE [--ref NAME]  put an image (OCI archive or folder) where every cluster finds it
  clusters registry                serve the images to pushes from this machine alone, until it is interrupted
  clusters renew [NAME ...]        restart the Deployments that run an older image than the loaded one (default: all)
  clusters image -o FILE ...       write an OCI image from programs, folders and root filesystems
  clusters kubeconfig [NAME ...]   write the kubeconfig again
  clusters COMMAND --help          the flags of a command

Addresses (with the default network 10.77.0.0/16; I is 2 for local, 3 for remote, then the next free):
  10.77.0.I       the node: API server on 6443, NodePorts, Ingresses on 80 and 443
  10.77.I.0/24    its Services of type LoadBalancer, one address each
  10.77.0.254     this machine, as pods see it
  10.77.0.1:5000  the images: a node asks here for every image, whatever registry its name says

A cluster has DNS, the StorageClasses "standard" and "late" (the default of every other cluster, beginning with the
first; its claims are bound when a pod uses them), the IngressClass "standard", and enforces NetworkPolicies.
It cannot reach the internet.
Data and kubeconfig are below .state of the checkout. Clusters of several checkouts may run at once on different
networks (--network). Up and down need root. The next up repairs what a killed run, a killed node or a reboot has left.
`

// app is one run of the program.
type app struct {
	stdout, stderr io.Writer
	getenv         func(string) string

	dir        state.Dir
	stateDir   string
	network    string
	kubeconfig string
	parts      node.Parts
}

// command is one thing the program does.
type command struct {
	usage string
	run   func(ctx context.Context, a *app, flags *flag.FlagSet, args []string) error
}

func commands() map[string]command {
	return map[string]command{
		"up":         {"up [NAME ...]", runUp},
		"down":       {"down [NAME ...]", runDown},
		"status":     {"status", runStatus},
		"load":       {"load FILE", runLoad},
		"registry":   {"registry", runRegistry},
		"renew":      {"renew [NAME ...]", runRenew},
		"image":      {"image -o FILE", runImage},
		"kubeconfig": {"kubeconfig [NAME ...]", runKubeconfig},
	}
}

// usageError is an error in what was typed; it ends the program with 2.
type usageError struct{ error }

func main() {
	switch {
	case os.Args[0] == daemon.Node && len(os.Args) == 2:
		os.Exit(node.Main(os.Args[1]))
	case os.Args[0] == daemon.Switch && len(os.Args) == 2:
		os.Exit(bridge.Main(os.Args[1]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		fmt.Fprint(stdout, help)
		return 0
	}
	chosen, ok := commands()[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "clusters: unknown command %q\n\n%s", args[0], help)
		return 2
	}
	a := &app{stdout: stdout, stderr: stderr, getenv: getenv}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintf(stderr, "usage: clusters %s\n", chosen.usage)
		flags.PrintDefaults()
	}
	err := chosen.run(ctx, a, flags, args[1:])
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "clusters %s: %v\nSee clusters %s --help.\n", args[0], err, args[0])
		return 2
	}
	if ctx.Err() != nil {
		fmt.Fprintf(stderr, "clusters %s: interrupted; run it again to go on, or `clusters down`\n", args[0])
		return 130
	}
	fmt.Fprintf(stderr, "clusters %s: %v\n", args[0], err)
	return 1
}

// parse reads flags that may stand before and after the other arguments, and returns those.
func parse(flags *flag.FlagSet, args []string) ([]string, error) {
	var rest []string
	for {
		if err := flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usageError{err}
		}
		args = flags.Args()
		if len(args) == 0 {
			return rest, nil
		}
		rest, args = append(rest, args[0]), args[1:]
	}
}

// stateFlags are those of every command that touches the clusters of this machine.
func (a *app) stateFlags(flags *flag.FlagSet) {
	folder := a.getenv("OUTPOSTS_STATE")
	if folder == "" {
		folder = ".state"
	}
	flags.StringVar(&a.stateDir, "state", filepath.Join(folder, "clusters"), "`folder` with the clusters' data")
}

func (a *app) kubeconfigFlag(flags *flag.FlagSet) {
	flags.StringVar(&a.kubeconfig, "kubeconfig", a.getenv("OUTPOSTS_KUBECONFIG"),
		"kubeconfig `file` that gets one context for each cluster (default: kubeconfig beside the state folder)")
}

func (a *app) upFlags(flags *flag.FlagSet) {
	network := a.getenv("OUTPOSTS_NETWORK")
	if network == "" {
		network = plan.DefaultNetwork
	}
	flags.StringVar(&a.network, "network", network, "`CIDR` for nodes and LoadBalancers, a /16 of 10.0.0.0/8")
	flags.StringVar(&a.parts.Kube, "kube", a.getenv("OUTPOSTS_KUBE"), "`folder` of the part kube (dev/cache kube)")
	flags.StringVar(&a.parts.Runtime, "runtime", a.getenv("OUTPOSTS_RUNTIME"), "`folder` of the part runtime")
	flags.StringVar(&a.parts.Netpol, "netpol", a.getenv("OUTPOSTS_NETPOL"), "`folder` of the part netpol")
	flags.StringVar(&a.parts.DNS, "dns", a.getenv("OUTPOSTS_DNS"), "`folder` of the part dns")
}

// open opens the state folder.
func (a *app) open() error {
	dir, err := state.Open(a.stateDir)
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	a.dir = dir
	if a.kubeconfig == "" {
		a.kubeconfig = filepath.Join(filepath.Dir(dir.Path), "kubeconfig")
	}
	a.kubeconfig, err = filepath.Abs(a.kubeconfig)
	return err
}

// lock takes the lock of the state folder, and says so when it has to wait.
func (a *app) lock() (func(), error) {
	return a.dir.Lock(func() { fmt.Fprintln(a.stderr, "clusters: another run is at work; waiting for it") })
}

// named opens the state folder that flags name, and returns the clusters that the other arguments name.
func (a *app) named(flags *flag.FlagSet, args []string) ([]plan.Cluster, error) {
	names, err := parse(flags, args)
	if err != nil {
		return nil, err
	}
	if err := a.open(); err != nil {
		return nil, err
	}
	return a.known(names)
}

// known returns the clusters with the given names, all of them when there are none.
func (a *app) known(names []string) ([]plan.Cluster, error) {
	all, err := a.dir.Clusters()
	if err != nil || len(names) == 0 {
		return all, err
	}
	byName := map[string]plan.Cluster{}
	var there []string
	for _, cluster := range all {
		byName[cluster.Name] = cluster
		there = append(there, cluster.Name)
	}
	var some []plan.Cluster
	for _, name := range names {
		cluster, ok := byName[name]
		if !ok {
			list := "there are none"
			if len(there) > 0 {
				list = "there are: " + strings.Join(there, " ")
			}
			return nil, fmt.Errorf("no cluster %s; %s", name, list)
		}
		some = append(some, cluster)
	}
	return some, nil
}
