// Package node is PID 1 of a cluster's only node: namespaces of this machine's kernel, in which it arranges mounts,
// cgroups and the network, and then keeps the daemons of Kubernetes running. When it is killed the kernel ends every
// process, mount and interface of the cluster; what is left are empty cgroups.
package node

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/outposts-dev/outposts/dev/clusters/daemon"
	"github.com/outposts-dev/outposts/dev/clusters/plan"
	"github.com/outposts-dev/outposts/dev/clusters/state"
)

// Parts are the folders with the programs that a node runs, as dev/cache prints them.
type Parts struct {
	Kube    string `json:"kube"`    // bin/kube-apiserver and so on, gateway-api/*.yaml
	Runtime string `json:"runtime"` // bin/containerd, bin/runc, cni/
	Netpol  string `json:"netpol"`  // kube-router
	DNS     string `json:"dns"`     // coredns
}

// Check says which programs are missing.
func (p Parts) Check() error {
	var errs []error
	for _, file := range []string{
		p.Kube + "/bin/kube", p.Kube + "/bin/gateway", p.Runtime + "/bin/containerd", p.Runtime + "/bin/runc",
		p.Runtime + "/bin/containerd-shim-runc-v2",
		p.Runtime + "/cni/ptp", p.Runtime + "/cni/host-local", p.Runtime + "/cni/portmap", p.Runtime + "/cni/loopback",
		p.Netpol + "/kube-router", p.DNS + "/coredns",
	} {
		if info, err := os.Stat(file); err != nil {
			errs = append(errs, err)
		} else if info.Mode()&0o111 == 0 || info.Size() == 0 {
			errs = append(errs, fmt.Errorf("%s: not a program; remove its folder and run `make tools` again", file))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("the toolchain is not complete; run `make tools`: %w", errors.Join(errs...))
	}
	return nil
}

// settings is what the runner tells PID 1, in the file node.json.
type settings struct {
	Name    string `json:"name"`
	Index   int    `json:"index"`
	Network string `json:"network"`
	Parts   Parts  `json:"parts"`
}

const settingsFile = "node.json"

// Image references that a node needs before anything else.
const (
	PauseImage = "localhost/outposts/pause:1"
	DNSImage   = "localhost/outposts/coredns:1.14.7"
)

// Start starts PID 1 of the cluster's node, and returns its pid.
func Start(ctx context.Context, folder string, cluster plan.Cluster, parts Parts) (int, error) {
	text, err := json.Marshal(settings{
		Name: cluster.Name, Index: cluster.Index,
		Network: cluster.Network.String(), Parts: parts,
	})
	if err != nil {
		return 0, err
	}
	if err := state.WriteFile(filepath.Join(folder, settingsFile), append(text, '\n'), 0o600); err != nil {
		return 0, err
	}
	const namespaces = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET |
		syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC
	if err := daemon.Start(daemon.Node, folder, Log(folder), namespaces); err != nil {
		return 0, err
	}
	for {
		if pid := daemon.Find(daemon.Node, folder); pid != 0 {
			return pid, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("node %s did not start; read %s: %w", cluster.Name, Log(folder), context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Log returns the log of a node's PID 1.
func Log(folder string) string { return filepath.Join(folder, "node.log") }

// Logs returns the folder with the logs of the daemons in a node.
func Logs(folder string) string { return filepath.Join(folder, "logs") }

// Running returns the parts that the cluster in folder was started with.
func Running(folder string) (Parts, error) {
	text, err := os.ReadFile(filepath.Join(folder, settingsFile))
	if err != nil {
		return Parts{}, err
	}
	var s settings
	return s.Parts, json.Unmarshal(text, &s)
}

// Main is PID 1 of a node. It returns when it gets SIGTERM, or when the node cannot be set up; either
// way the kernel ends the rest.
func Main(folder string) int {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(folder, logger); err != nil {
		logger.Error("node ended", "err", err)
		return 1
	}
	return 0
}

func run(folder string, logger *slog.Logger) error {
	began := time.Now()
	text, err := os.ReadFile(filepath.Join(folder, settingsFile))
	if err != nil {
		return err
	}
	var s settings
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("%s: %w", settingsFile, err)
	}
	network, err := plan.ParseNetwork(s.Network)
	if err != nil {
		return err
	}
	cluster := plan.Cluster{Name: s.Name, Index: s.Index, Network: network}
	if err := arrangeMounts(folder, cluster, s.Parts); err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	version, err := arrangeCgroups(Cgroups, Cgroup(folder))
	if err != nil {
		return fmt.Errorf("cgroups: %w", err)
	}
	if err := arrangeNetwork(cluster); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	if err := writeConfig(cluster, Cgroup(folder)); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if err := os.Setenv("PATH", at("runtime/bin")+":"+os.Getenv("PATH")); err != nil {
		return err
	}
	logger.Info("node is set up", "cgroup_version", version, "duration", time.Since(began))

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	supervisor := newSupervisor(at("state/logs"), logger)
	for _, program := range controlPlane(cluster) {
		if err := supervisor.start(program); err != nil {
			return err
		}
	}
	// What talks to the API server starts when it answers: otherwise it backs off and loses seconds.
	if err := waitReady(ctx, cluster); err != nil {
		return err
	}
	logger.Info("API server is ready", "duration", time.Since(began))
	for _, program := range workers(cluster) {
		if err := supervisor.start(program); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

func waitReady(ctx context.Context, cluster plan.Cluster) error {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // asks its own node whether it is up, and sends nothing
	}}
	defer client.CloseIdleConnections()
	for {
		if response, err := client.Get(cluster.Server() + "/readyz"); err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}
