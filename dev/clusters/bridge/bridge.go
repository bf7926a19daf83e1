// Package bridge is the network between the clusters and the machine: a bridge in a network namespace of its own, held
// by a daemon that also serves the images. On the machine there is one interface and one route. A bridge in the
// machine's own namespace would be subject to the firewall there: a machine with Docker drops what is bridged.
package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/outposts-dev/outposts/dev/clusters/daemon"
	"github.com/outposts-dev/outposts/dev/clusters/plan"
	"github.com/outposts-dev/outposts/dev/clusters/registry"
	"github.com/outposts-dev/outposts/dev/clusters/state"
)

// Interface returns the name of the machine's interface to the clusters of a network: outposts77 for 10.77.0.0/16.
func Interface(network plan.Network) string {
	return fmt.Sprintf("outposts%d", network.Prefix().Addr().As4()[1])
}

// networkFile tells the daemon its network.
const networkFile = "network"

// Conflict returns an error that names the first route of this machine which overlaps the network,
// unless it is our own.
func Conflict(network plan.Network) error {
	out, err := exec.Command("ip", "-j", "-4", "route", "show", "table", "all").Output()
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	return conflict(network, out)
}

func conflict(network plan.Network, routesJSON []byte) error {
	var routes []struct{ Dst, Dev, Gateway, Table, Type string }
	if err := json.Unmarshal(routesJSON, &routes); err != nil {
		return fmt.Errorf("read routes: %w", err)
	}
	for _, route := range routes {
		prefix, err := netip.ParsePrefix(route.Dst)
		if err != nil {
			address, err := netip.ParseAddr(route.Dst)
			if err != nil {
				continue // default
			}
			prefix = netip.PrefixFrom(address, 32)
		}
		if prefix.Bits() == 0 || route.Dev == Interface(network) || !prefix.Overlaps(network.Prefix()) {
			continue
		}
		text := route.Dst
		for _, part := range [][2]string{{" via ", route.Gateway}, {" dev ", route.Dev}, {" table ", route.Table}} {
			if part[1] != "" {
				text += part[0] + part[1]
			}
		}
		return fmt.Errorf(
			"network %s collides with a route of this machine: %s; choose another with --network 10.X.0.0/16",
			network, text)
	}
	return nil
}

// Ensure brings the bridge up and connects the machine to it; what exists already stays. It returns the daemon's pid.
func Ensure(ctx context.Context, dir state.Dir, network plan.Network) (int, error) {
	pid := daemon.Find(daemon.Switch, dir.Path)
	if pid != 0 {
		if is, err := read(dir); err != nil || is != network {
			return 0, errors.Join(fmt.Errorf(
				"the clusters run on network %s, not %s: use that one, or `clusters down` first", is, network), err)
		}
	}
	if err := Conflict(network); err != nil {
		return 0, err
	}
	if pid == 0 {
		// Without our daemon the interface is one that the kernel is about to remove, or not ours.
		if folder := owner(network); folder != "" && folder != dir.Path && daemon.Find(daemon.Switch, folder) != 0 {
			return 0, fmt.Errorf(
				"network %s is used by the running clusters of %[2]s; end them with: clusters down --state %[2]s (or "+
					"choose another network: --network 10.X.0.0/16)", network, folder)
		}
		removeInterface(network)
		err := state.WriteFile(filepath.Join(dir.Path, networkFile), []byte(network.String()+"\n"), 0o600)
		if err != nil {
			return 0, err
		}
		if err := os.MkdirAll(dir.Registry(), 0o700); err != nil {
			return 0, err
		}
		err = daemon.Start(daemon.Switch, dir.Path, Log(dir),
			syscall.CLONE_NEWNET|syscall.CLONE_NEWPID|syscall.CLONE_NEWNS)
		if err != nil {
			return 0, err
		}
		for pid == 0 {
			if err := pause(ctx); err != nil {
				return 0, fmt.Errorf("bridge did not start; read %s: %w", Log(dir), err)
			}
			pid = daemon.Find(daemon.Switch, dir.Path)
		}
	}
	if err := connectMachine(ctx, dir, pid, network); err != nil {
		return 0, err
	}
	for {
		if err := ping(ctx, network); err == nil {
			return pid, nil
		}
		if err := pause(ctx); err != nil {
			return 0, fmt.Errorf("registry on the bridge does not answer; read %s: %w", Log(dir), err)
		}
	}
}

// Log returns the daemon's log.
func Log(dir state.Dir) string { return filepath.Join(dir.Path, "switch.log") }

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(20 * time.Millisecond):
		return nil
	}
}

func ping(ctx context.Context, network plan.Network) error {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+network.Registry()+"/v2/", nil)
	if err != nil {
		return err
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// has reports whether an interface exists in the network namespace of process pid, or in ours when pid is 0.
func has(pid int, name string) bool {
	argv := []string{"ip", "link", "show", "dev", name}
	if pid != 0 {
		argv = daemon.In(pid, argv...)
	}
	return daemon.Run(argv...) == nil
}

func removeInterface(network plan.Network) {
	if has(0, Interface(network)) {
		_ = daemon.Run("ip", "link", "del", Interface(network))
	}
}

// owner returns the state folder that an interface on this machine was made for, from its alias.
func owner(network plan.Network) string {
	alias, err := os.ReadFile("/sys/class/net/" + Interface(network) + "/ifalias")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(alias))
}

func connectMachine(ctx context.Context, dir state.Dir, pid int, network plan.Network) error {
	for !has(pid, "br0") {
		if err := pause(ctx); err != nil {
			return fmt.Errorf("bridge did not appear: %w", err)
		}
	}
	own := Interface(network)
	if !has(0, own) {
		err := daemon.Run("ip", "link", "add", own, "address", plan.MAC(network.Machine()), "type", "veth", "peer",
			"name", "machine", "netns", fmt.Sprint(pid))
		if err != nil {
			return fmt.Errorf("connect the machine to the bridge: %w", err)
		}
	}
	return errors.Join(
		daemon.Run("ip", "link", "set", own, "alias", dir.Path),
		daemon.Run(daemon.In(pid, "ip", "link", "set", "machine", "master", "br0", "up")...),
		daemon.Run("ip", "addr", "replace", network.Machine().String()+"/24", "dev", own),
		daemon.Run("ip", "link", "set", own, "up"),
		daemon.Run("ip", "route", "replace", network.Prefix().String(), "via", network.Bridge().String(), "dev", own),
	)
}

// Plug gives the node with PID 1 node its interface eth0, with address and default route; what exists already stays.
func Plug(pid, node int, cluster plan.Cluster) error {
	if !has(node, "eth0") || !has(pid, cluster.Link()) {
		if has(pid, cluster.Link()) { // of a node that has just ended: the kernel removes it a little later
			if err := Unplug(pid, cluster); err != nil {
				return err
			}
		}
		err := daemon.Run(daemon.In(pid, "ip", "link", "add", cluster.Link(), "type", "veth",
			"peer", "name", "eth0", "address", cluster.MAC(), "netns", fmt.Sprint(node))...)
		if err != nil {
			return fmt.Errorf("connect %s to the bridge: %w", cluster.Name, err)
		}
	}
	for _, argv := range [][]string{
		daemon.In(pid, "ip", "link", "set", cluster.Link(), "master", "br0", "up"),
		daemon.In(node, "ip", "addr", "replace", cluster.Node().String()+"/24", "dev", "eth0"),
		daemon.In(node, "ip", "link", "set", "eth0", "up"),
		daemon.In(node, "ip", "route", "replace", "default", "via", cluster.Network.Bridge().String()),
	} {
		if err := daemon.Run(argv...); err != nil {
			return fmt.Errorf("connect %s to the bridge: %w", cluster.Name, err)
		}
	}
	return nil
}

// Unplug takes a cluster's port off the bridge.
func Unplug(pid int, cluster plan.Cluster) error {
	if !has(pid, cluster.Link()) {
		return nil
	}
	err := daemon.Run(daemon.In(pid, "ip", "link", "del", cluster.Link())...)
	if err != nil && !has(pid, cluster.Link()) { // the kernel was faster
		return nil
	}
	return err
}

// Remove ends the daemon and takes the machine's interface and route away.
func Remove(dir state.Dir) error {
	if network, err := read(dir); err == nil && (owner(network) == "" || owner(network) == dir.Path) {
		removeInterface(network) // at once: of a dead namespace the kernel removes it some time later
	}
	if pid := daemon.Find(daemon.Switch, dir.Path); pid != 0 {
		return daemon.Kill(pid)
	}
	return nil
}

// read returns the network that the daemon was started with.
func read(dir state.Dir) (plan.Network, error) {
	text, err := os.ReadFile(filepath.Join(dir.Path, networkFile))
	if err != nil {
		return plan.Network{}, err
	}
	return plan.ParseNetwork(strings.TrimSpace(string(text)))
}

// Main is the daemon: it sets the bridge up in its namespace and serves the registry until it is killed.
func Main(folder string) int {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := hold(state.Dir{Path: folder}, logger); err != nil {
		logger.Error("bridge ended", "err", err)
		return 1
	}
	return 0
}

func hold(dir state.Dir, logger *slog.Logger) error {
	network, err := read(dir)
	if err != nil {
		return err
	}
	commands := [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"ip", "link", "add", "br0", "address", plan.MAC(network.Bridge()), "type", "bridge", "forward_delay", "0"},
		{"ip", "addr", "add", network.Bridge().String() + "/24", "dev", "br0"},
		{"ip", "link", "set", "br0", "up"},
	}
	// LoadBalancer addresses are reached through their node. All possible ones are known beforehand, so that no list
	// is needed.
	for index := plan.FirstIndex; index <= plan.LastIndex; index++ {
		commands = append(commands,
			[]string{"ip", "route", "add", network.LoadBalancers(index).String(), "via", network.Node(index).String()})
	}
	for _, argv := range commands {
		if err := daemon.Run(argv...); err != nil {
			return err
		}
	}
	for file, value := range map[string]string{
		"/proc/sys/net/ipv4/ip_forward":                       "1",
		"/proc/sys/net/ipv4/conf/all/send_redirects":          "0",
		"/proc/sys/net/ipv4/conf/br0/send_redirects":          "0",
		"/proc/sys/net/bridge/bridge-nf-call-iptables":        "0", // there only with br_netfilter
		"/proc/sys/net/bridge/bridge-nf-call-ip6tables":       "0",
		"/proc/sys/net/ipv4/conf/br0/rp_filter":               "0",
		"/proc/sys/net/ipv4/neigh/br0/base_reachable_time_ms": "30000",
	} {
		if err := os.WriteFile(file, []byte(value), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	logger.Info("bridge is up", "network", network.String(), "registry", network.Registry())
	return registry.Serve(ctx, network.Registry(), registry.Handler(registry.Store{Dir: dir.Registry()}, logger))
}
