package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/outposts-dev/outposts/dev/clusters/bridge"
	"github.com/outposts-dev/outposts/dev/clusters/daemon"
	"github.com/outposts-dev/outposts/dev/clusters/kubeapi"
	"github.com/outposts-dev/outposts/dev/clusters/plan"
)

// report is what `status` knows about a cluster; its JSON form is for scripts.
type report struct {
	Name          string  `json:"name"`
	State         string  `json:"state"` // ready, starting (node runs, not Ready), down
	Reason        string  `json:"reason,omitempty"`
	Server        string  `json:"server"`
	Node          string  `json:"node"`
	LoadBalancers string  `json:"loadBalancers"`
	PID           int     `json:"pid,omitempty"`
	PodsReady     int     `json:"podsReady"`
	Pods          int     `json:"pods"`
	MemoryBytes   int64   `json:"memoryBytes"` // PSS of every process in the node, pods included
	CPUSeconds    float64 `json:"cpuSeconds"`  // processor time of the same since they began
	Kubernetes    string  `json:"kubernetes,omitempty"`
	Runtime       string  `json:"runtime,omitempty"`
	Logs          string  `json:"logs"`
}

func runStatus(ctx context.Context, a *app, flags *flag.FlagSet, args []string) error {
	a.stateFlags(flags)
	asJSON := flags.Bool("json", false, "for scripts")
	clusters, err := a.named(flags, args)
	if err != nil {
		return err
	}
	reports := make([]report, len(clusters))
	for i, cluster := range clusters {
		reports[i] = a.look(ctx, cluster)
	}
	if *asJSON {
		encoder := json.NewEncoder(a.stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(reports)
	}
	if len(reports) == 0 {
		fmt.Fprintln(a.stdout, "no clusters; `make clusters` brings two up")
		return nil
	}
	table := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTATE\tAPI SERVER\tNODE\tLOADBALANCERS\tPODS\tMEMORY\tKUBERNETES\tRUNTIME")
	for _, r := range reports {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d/%d\t%d MiB\t%s\t%s\n", r.Name, r.State, r.Server, r.Node,
			r.LoadBalancers, r.PodsReady, r.Pods, r.MemoryBytes>>20, r.Kubernetes, r.Runtime)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, r := range reports {
		if r.Reason != "" {
			fmt.Fprintf(a.stdout, "%s: %s; logs: %s\n", r.Name, r.Reason, r.Logs)
		}
	}
	if daemon.Find(daemon.Switch, a.dir.Path) == 0 {
		fmt.Fprintf(a.stdout, "the bridge is down; log: %s\n", bridge.Log(a.dir))
	}
	return nil
}

func (a *app) look(ctx context.Context, cluster plan.Cluster) report {
	folder := a.dir.Cluster(cluster.Name)
	r := report{
		Name: cluster.Name, State: "down", Server: cluster.Server(), Node: cluster.Node().String(),
		LoadBalancers: cluster.LoadBalancers().String(), Logs: filepath.Join(folder, "logs"),
	}
	r.PID = daemon.Find(daemon.Node, folder)
	if r.PID == 0 {
		return r
	}
	r.State = "starting"
	members := daemon.Members(r.PID)
	r.MemoryBytes, r.CPUSeconds = daemon.Memory(members), daemon.CPU(members).Seconds()
	if daemon.Find(daemon.Switch, a.dir.Path) == 0 {
		r.Reason = "the bridge is down" // and with it the route: whoever has the default route would be asked
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	client, err := kubeapi.New(cluster.Server(), filepath.Join(folder, "pki"))
	if err == nil {
		r.Kubernetes, err = client.Version(ctx)
	}
	if err == nil {
		r.PodsReady, r.Pods, err = client.CountPods(ctx)
	}
	var node kubeapi.Node
	if err == nil {
		node, err = client.Node(ctx, cluster.Name)
	}
	if err != nil {
		r.Reason = strings.TrimSpace(err.Error())
		return r
	}
	r.Runtime = node.Status.NodeInfo.ContainerRuntimeVersion
	ready, why := node.Ready(time.Now().Add(-time.Minute))
	if ready {
		r.State = "ready"
	} else {
		r.Reason = why
	}
	return r
}
