package node

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/dev/clusters/daemon"
	"github.com/outposts-dev/outposts/dev/clusters/plan"
)

// linkTimeout is how long a node waits for its interface. A node whose runner was killed before it plugged the node
// in ends so.
const linkTimeout = 20 * time.Second

// arrangeNetwork waits for the interface that the runner plugs in, and lets pods out under the node's address. The
// addresses of Gateways become the node's.
func arrangeNetwork(cluster plan.Cluster) error {
	if err := daemon.Run("ip", "link", "set", "lo", "up"); err != nil {
		return err
	}
	deadline := time.Now().Add(linkTimeout)
	for !addressed(cluster) {
		if time.Now().After(deadline) {
			return errors.New("eth0 did not appear: the runner ended before it connected this node")
		}
		time.Sleep(10 * time.Millisecond)
	}
	// Every address of the pool is the node's own from now on, so that whoever serves a Gateway may listen on it.
	err := daemon.Run("ip", "route", "replace", "local", cluster.GatewayPool().String(), "dev", "lo")
	if err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return err
	}
	rules := exec.Command("nft", "-f", "-")
	rules.Stdin = strings.NewReader(fmt.Sprintf(`table ip outposts {
 chain postrouting {
  type nat hook postrouting priority srcnat; policy accept;
  ip saddr %[1]s ip daddr != %[1]s masquerade
 }
}`, cluster.Pods()))
	if out, err := rules.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

func addressed(cluster plan.Cluster) bool {
	eth0, err := net.InterfaceByName("eth0")
	if err != nil || eth0.Flags&net.FlagUp == 0 {
		return false
	}
	addresses, err := eth0.Addrs()
	if err != nil {
		return false
	}
	for _, address := range addresses {
		if prefix, ok := address.(*net.IPNet); ok && prefix.IP.String() == cluster.Node().String() {
			return true
		}
	}
	return false
}
