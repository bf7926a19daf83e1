package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/dev/clusters/bridge"
	"github.com/outposts-dev/outposts/dev/clusters/daemon"
	"github.com/outposts-dev/outposts/dev/clusters/kubeapi"
	"github.com/outposts-dev/outposts/dev/clusters/manifest"
	"github.com/outposts-dev/outposts/dev/clusters/node"
	"github.com/outposts-dev/outposts/dev/clusters/pki"
	"github.com/outposts-dev/outposts/dev/clusters/plan"
)

// bringUp starts one cluster, or repairs one that runs, and waits until DNS answers in it.
func (a *app) bringUp(ctx context.Context, p *progress, switchPID int, cluster plan.Cluster) error {
	pid, since, err := a.startNode(ctx, p, cluster)
	if err != nil {
		return err
	}
	if err := bridge.Plug(switchPID, pid, cluster); err != nil {
		return err
	}
	client, err := kubeapi.New(cluster.Server(), filepath.Join(a.dir.Cluster(cluster.Name), "pki"))
	if err != nil {
		return err
	}
	for _, step := range steps(client, cluster, a.parts, pid, since) {
		if err := a.await(ctx, cluster, pid, step); err != nil {
			return err
		}
		p.say("%s: %s", cluster.Name, step.name)
	}
	return a.forgetOld(cluster.Name, pid) // of what was loaded while it was down
}

// startNode starts a cluster's node unless it runs. It returns the node's pid, and the time before which a heartbeat
// of its kubelet says nothing about this run: none for a node that ran already.
func (a *app) startNode(ctx context.Context, p *progress, cluster plan.Cluster) (int, time.Time, error) {
	folder := a.dir.Cluster(cluster.Name)
	if pid := daemon.Find(daemon.Node, folder); pid != 0 {
		if runs, err := node.Running(folder); err == nil && runs != a.parts {
			p.say("%s: runs already, with another version of the tools; `clusters down %s` and up again changes that",
				cluster.Name, cluster.Name)
		} else {
			p.say("%s: runs already", cluster.Name)
		}
		return pid, time.Time{}, nil
	}
	began := time.Now()
	if err := pki.Ensure(filepath.Join(folder, "pki"), cluster); err != nil {
		return 0, began, err
	}
	pid, err := node.Start(ctx, folder, cluster, a.parts)
	if err != nil {
		return 0, began, err
	}
	p.say("%s: node started, %s", cluster.Name, cluster.Node())
	return pid, began, nil
}

// step is one stage of a cluster on its way up.
type step struct {
	name string
	logs []string                    // of the programs to blame, the first one first
	try  func(context.Context) error // nil when the stage is reached, else what is still missing
}

// steps are the stages of a cluster on its way up, each of which needs the one before it.
func steps(client *kubeapi.Client, cluster plan.Cluster, parts node.Parts, pid int, since time.Time) []step {
	gateways := gatewayAPI{client: client, folder: filepath.Join(parts.Kube, "gateway-api")}
	return []step{
		{"API server answers", []string{"kube-apiserver", "etcd"}, func(ctx context.Context) error {
			return client.Get(ctx, "/readyz", nil)
		}},
		{"system objects exist", []string{"kube-apiserver"}, func(ctx context.Context) error {
			return apply(ctx, client, cluster)
		}},
		{"Gateway API is served", []string{"kube-apiserver"}, gateways.apply},
		{"node is Ready", []string{"kubelet", "containerd"}, func(ctx context.Context) error {
			return nodeReady(ctx, client, cluster, since)
		}},
		{"node takes pods", []string{"kube-apiserver"}, func(ctx context.Context) error {
			return client.Uncordon(ctx, cluster.Name)
		}},
		{"DNS answers", []string{"kubelet", "containerd", "kube-proxy"}, func(context.Context) error {
			return node.AskDNS(pid, cluster)
		}},
	}
}

func apply(ctx context.Context, client *kubeapi.Client, cluster plan.Cluster) error {
	objects, err := manifest.Objects(manifest.Values{
		DNS: cluster.DNS().String(), DNSImage: node.DNSImage,
		// Every other cluster, beginning with the first, so that both ways are met.
		BindsLate: (cluster.Index-plan.FirstIndex)%2 == 0,
	})
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

// gatewayAPI is the step that brings the Gateway API: its definitions once, and its GatewayClass when they are served.
type gatewayAPI struct {
	client  *kubeapi.Client
	folder  string // of the definitions
	defined bool
}

func (g *gatewayAPI) apply(ctx context.Context) error {
	if !g.defined {
		definitions, err := manifest.Definitions(os.DirFS(g.folder))
		if err != nil {
			return err
		}
		for _, object := range definitions {
			if err := g.client.Apply(ctx, object.Path, object.YAML); err != nil {
				return err
			}
		}
		g.defined = true
	}
	class, err := manifest.GatewayClass()
	if err != nil {
		return err
	}
	return g.client.Apply(ctx, class.Path, class.YAML)
}

func nodeReady(ctx context.Context, client *kubeapi.Client, cluster plan.Cluster, since time.Time) error {
	is, err := client.Node(ctx, cluster.Name)
	if err != nil {
		return err
	}
	if ready, why := is.Ready(since); !ready {
		return errors.New(why)
	}
	return nil
}

// await tries a step again and again until it is reached, ctx ends, or the node ends.
func (a *app) await(ctx context.Context, cluster plan.Cluster, pid int, s step) error {
	folder := a.dir.Cluster(cluster.Name)
	for {
		err := s.try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return a.explain(ctx, cluster, s, err)
		case <-time.After(50 * time.Millisecond):
		}
		if daemon.Find(daemon.Node, folder) != pid {
			return fmt.Errorf("%s: the node ended while waiting for: %s; read %s:\n%s",
				cluster.Name, s.name, node.Log(folder), tail(node.Log(folder)))
		}
	}
}

// explain makes an error that says what did not happen, the last reason, and which logs to read.
func (a *app) explain(ctx context.Context, cluster plan.Cluster, s step, reason error) error {
	var logs []string
	for _, log := range s.logs {
		logs = append(logs, filepath.Join(node.Logs(a.dir.Cluster(cluster.Name)), log+".log"))
	}
	return fmt.Errorf("%s: %w: %s (%w); read %s; the end of the first:\n%s",
		cluster.Name, context.Cause(ctx), s.name, reason, strings.Join(logs, ", "), tail(logs[0]))
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
