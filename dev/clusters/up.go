package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/outposts-dev/outposts/dev/clusters/bridge"
	"github.com/outposts-dev/outposts/dev/clusters/daemon"
	"github.com/outposts-dev/outposts/dev/clusters/image"
	"github.com/outposts-dev/outposts/dev/clusters/kubeapi"
	"github.com/outposts-dev/outposts/dev/clusters/kubeconfig"
	"github.com/outposts-dev/outposts/dev/clusters/manifest"
	"github.com/outposts-dev/outposts/dev/clusters/node"
	"github.com/outposts-dev/outposts/dev/clusters/pki"
	"github.com/outposts-dev/outposts/dev/clusters/plan"
	"github.com/outposts-dev/outposts/dev/clusters/registry"
)

// leastFree is how much space `up` wants on the disk: below 1 % kubelet evicts pods, and images come on top.
const leastFree = 2 << 30

// watchers is how many instances of inotify `up` wants to see free for each cluster that it starts: its programs take 22. The kernel
// gives a user 128, and without one containerd serves nothing and kubelet does not start.
const watchers = 32

// programs are what the nodes use of the system.
var programs = []string{"ip", "nsenter", "nft", "iptables", "ipset", "mount"}

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

func runUp(ctx context.Context, a *app, flags *flag.FlagSet, args []string) error {
	a.stateFlags(flags)
	a.kubeconfigFlag(flags)
	a.upFlags(flags)
	timeout := flags.Duration("timeout", 2*time.Minute, "how long a cluster may take")
	names, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		names = []string{"local", "remote"}
	}
	for _, name := range names {
		if err := plan.CheckName(name); err != nil {
			return usageError{err}
		}
	}
	network, err := plan.ParseNetwork(a.network)
	if err != nil {
		return usageError{err}
	}
	if err := a.needRoot("up"); err != nil {
		return err
	}
	if err := missing(programs); err != nil {
		return err
	}
	if err := a.parts.Check(); err != nil {
		return err
	}
	if err := a.open(); err != nil {
		return err
	}
	free, err := a.dir.Free()
	if err != nil {
		return err
	}
	if free < leastFree {
		return fmt.Errorf("the disk of %s is nearly full: %d MiB left, clusters want %d", a.dir.Path, free>>20, leastFree>>20)
	}
	unlock, err := a.lock()
	if err != nil {
		return err
	}
	defer unlock()

	ctx, cancel := context.WithTimeoutCause(ctx, *timeout, fmt.Errorf("not there after %s", *timeout))
	defer cancel()
	p := &progress{app: a, began: time.Now()}
	starting := 0
	for _, name := range names {
		if daemon.Find(daemon.Node, a.dir.Cluster(name)) == 0 {
			starting++
		}
	}
	if err := spareWatchers(starting * watchers); err != nil {
		return err
	}
	if err := bridge.Conflict(network); err != nil { // before a cluster has a folder
		return err
	}
	var clusters []plan.Cluster
	for _, name := range names {
		cluster, err := a.dir.Ensure(name, network)
		if err != nil {
			return err
		}
		clusters = append(clusters, cluster)
	}
	// What a killed run or node has left, in this checkout or in another one.
	if err := node.RemoveCgroups(node.Cgroups); err != nil {
		return err
	}
	pid, err := bridge.Ensure(ctx, a.dir, network)
	if err != nil {
		return err
	}
	p.say("bridge %s and registry %s are up", network, network.Registry())
	if err := a.loadSystemImages(); err != nil {
		return err
	}
	errs := make([]error, len(clusters))
	var group sync.WaitGroup
	for i, cluster := range clusters {
		group.Go(func() { errs[i] = a.bringUp(ctx, p, pid, cluster) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	var files []string
	for _, cluster := range clusters {
		files = append(files, a.adminKubeconfig(cluster))
	}
	if err := kubeconfig.Merge(a.kubeconfig, files...); err != nil {
		return err
	}
	p.say("%s: Ready, DNS answers", strings.Join(names, ", "))
	fmt.Fprintf(a.stdout, "\nNext:\n  export KUBECONFIG=%s PATH=%s:$PATH\n", a.kubeconfig, filepath.Join(a.parts.Kube, "bin"))
	for _, cluster := range clusters {
		fmt.Fprintf(a.stdout, "  kubectl --context %s get pods -A\n", cluster.Name)
	}
	return nil
}

// missing says which programs are not there: all of them at once.
func missing(programs []string) error {
	var absent []string
	for _, program := range programs {
		found := false
		// the node's own PATH, not that of the caller
		for _, dir := range strings.Split(strings.TrimPrefix(image.DefaultPath, "PATH="), ":") {
			if _, err := os.Stat(filepath.Join(dir, program)); err == nil {
				found = true
			}
		}
		if !found {
			absent = append(absent, program)
		}
	}
	if len(absent) > 0 {
		return fmt.Errorf("missing programs: %s; `make clusters` installs them on Debian and Ubuntu", strings.Join(absent, " "))
	}
	return nil
}

// spareWatchers returns an error unless n more instances of inotify can be had.
func spareWatchers(n int) error {
	for range n {
		instance, err := syscall.InotifyInit1(syscall.IN_CLOEXEC)
		if err != nil {
			limit, _ := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
			return fmt.Errorf("this machine has fewer than %d instances of inotify left of %s (%w): sysctl -w fs.inotify.max_user_instances=1024", n, bytes.TrimSpace(limit), err)
		}
		defer syscall.Close(instance)
	}
	return nil
}

func (a *app) adminKubeconfig(cluster plan.Cluster) string {
	return filepath.Join(a.dir.Cluster(cluster.Name), "pki", "admin.kubeconfig")
}

// loadSystemImages puts the images into the registry that a node needs by itself. A file remembers what they were made of.
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

// bringUp starts one cluster, or mends one that runs, and waits until DNS answers in it.
func (a *app) bringUp(ctx context.Context, p *progress, bridgePID int, cluster plan.Cluster) error {
	folder := a.dir.Cluster(cluster.Name)
	began := time.Now()
	pid := daemon.Find(daemon.Node, folder)
	if pid == 0 {
		if err := pki.Ensure(filepath.Join(folder, "pki"), cluster); err != nil {
			return err
		}
		var err error
		if pid, err = node.Start(ctx, folder, cluster, a.parts); err != nil {
			return err
		}
		p.say("%s: node started, %s", cluster.Name, cluster.Node())
	} else {
		began = time.Time{}
		if runs, err := node.Running(folder); err == nil && runs != a.parts {
			p.say("%s: runs already, with another version of the tools; `clusters down %s` and up again changes that", cluster.Name, cluster.Name)
		} else {
			p.say("%s: runs already", cluster.Name)
		}
	}
	if err := bridge.Plug(bridgePID, pid, cluster); err != nil {
		return err
	}
	client, err := kubeapi.New(cluster.Server(), filepath.Join(folder, "pki"))
	if err != nil {
		return err
	}
	steps := []struct {
		name string
		logs []string
		done func(context.Context) (string, bool)
	}{
		{"API server answers", []string{"kube-apiserver", "etcd"}, func(ctx context.Context) (string, bool) { return reached(client.Get(ctx, "/readyz", nil)) }},
		{"system objects are there", []string{"kube-apiserver"}, func(ctx context.Context) (string, bool) { return reached(apply(ctx, client, cluster)) }},
		{"node is Ready", []string{"kubelet", "containerd"}, func(ctx context.Context) (string, bool) {
			is, err := client.Node(ctx, cluster.Name)
			if err != nil {
				return err.Error(), false
			}
			ready, why := is.Ready(began)
			return why, ready
		}},
		{"DNS answers", []string{"kubelet", "containerd", "kube-proxy"}, func(ctx context.Context) (string, bool) {
			return reached(node.AskDNS(pid, cluster))
		}},
	}
	for _, step := range steps {
		for {
			why, done := step.done(ctx)
			if done {
				break
			}
			select {
			case <-ctx.Done():
				return a.explain(ctx, cluster, step.name, why, step.logs)
			case <-time.After(50 * time.Millisecond):
			}
			if daemon.Find(daemon.Node, folder) != pid {
				return fmt.Errorf("%s: the node ended while waiting for: %s; read %s:\n%s", cluster.Name, step.name, node.Log(folder), tail(node.Log(folder)))
			}
		}
		p.say("%s: %s", cluster.Name, step.name)
	}
	return nil
}

func reached(err error) (string, bool) {
	if err != nil {
		return err.Error(), false
	}
	return "", true
}

func apply(ctx context.Context, client *kubeapi.Client, cluster plan.Cluster) error {
	objects, err := manifest.Objects(manifest.Values{DNS: cluster.DNS().String(), DNSImage: node.DNSImage})
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := client.Apply(ctx, object.Path, object.YAML); err != nil {
			return err
		}
	}
	return nil
}

// explain makes an error that says what did not happen, the last reason, and which logs to read.
func (a *app) explain(ctx context.Context, cluster plan.Cluster, step, why string, logs []string) error {
	dir := node.Logs(a.dir.Cluster(cluster.Name))
	for i, log := range logs {
		logs[i] = filepath.Join(dir, log+".log")
	}
	return fmt.Errorf("%s: %w: %s (%s); read %s; the end of the first:\n%s",
		cluster.Name, context.Cause(ctx), step, why, strings.Join(logs, ", "), tail(logs[0]))
}

// tail returns the last lines of a log, indented.
func tail(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "  " + err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if len(lines) > 8 {
		lines = lines[len(lines)-8:]
	}
	return "  " + strings.Join(lines, "\n  ")
}
