package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/outposts-dev/outposts/e2e/process"
)

// The outpost's SSH server as two systems: near is on loopback, far behind a link with a delay.
const near, far = "near", "far"

// farDelay is the round trip to far.
const farDelay = 50 * time.Millisecond

// delayOf is what results call the way to a system.
var delayOf = map[string]string{near: "no delay", far: farDelay.String()}

// How many Services there are.
const manyTunnels, mostTunnels = 1000, 5000

// The ports that Services may have: none that process.FreeAddress gives away.
const firstPort, lastPort = 3000, 9999

// tunnelsName is whose Services are served.
const tunnelsName = "bench"

// tunnelsBench is tunnels, and what is before and behind them.
type tunnelsBench struct {
	*sshBench
	run     *run
	program *outpost         // whose process is the tunnels
	cluster *process.Process // that has the Services
	client  kubernetes.Interface
	link    net.Listener   // to far
	free    []int          // ports for Services
	first   map[string]int // the port of the first Service of each system
	made    []int          // the ports of all others, which lead to near

	addresses map[string]string // of the systems
}

// newTunnelsBench starts everything but the tunnels, and makes a Service for each system.
func newTunnelsBench(ctx context.Context, r *run) (b *tunnelsBench, err error) {
	b = &tunnelsBench{run: r, first: map[string]int{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.program, err = newOutpost(ctx, r); err != nil {
		return b, err
	}
	if b.sshBench, err = newSSHBench(); err != nil {
		return b, err
	}
	if b.link, err = newRelay(b.servers[0].addr, farDelay/2); err != nil {
		return b, err
	}
	b.addresses = map[string]string{near: b.servers[0].addr, far: b.link.Addr().String()}
	var address string
	if b.cluster, address, err = process.StartSelf("api-cluster"); err != nil {
		return b, err
	}
	if b.client, err = kubernetes.NewForConfig(&rest.Config{Host: "http://" + address, QPS: -1}); err != nil {
		return b, err
	}
	if err := errors.Join(b.program.useCluster(address), b.writeSystems()); err != nil {
		return b, err
	}
	b.free = freePorts(mostTunnels + len(b.addresses))
	for _, system := range []string{near, far} {
		if b.first[system], err = b.serve(ctx, system); err != nil {
			return b, err
		}
	}
	return b, nil
}

func (b *tunnelsBench) close() error {
	if b.link != nil {
		_ = b.link.Close() // it ends with this program
	}
	if b.sshBench != nil {
		b.sshBench.close()
	}
	b.cluster.Stop()
	if b.program == nil {
		return nil
	}
	b.end()
	return b.program.close()
}

// writeSystems writes the file of systems.
func (b *tunnelsBench) writeSystems() error {
	text := "systems:\n"
	for name, address := range b.addresses {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return err
		}
		text += fmt.Sprintf("  %s: {host: %s, port: %s, hostKeys: [%q]}\n", name, host, port,
			ssh.MarshalAuthorizedKey(b.hostKey.PublicKey()))
	}
	return os.WriteFile(b.systems(), []byte(text), 0o600)
}

func (b *tunnelsBench) systems() string { return filepath.Join(b.dir, "systems.yaml") }

// freePorts returns ports that nobody listens on, at most n, of those that Services may have.
func freePorts(n int) []int {
	var free []int
	for port := firstPort; port <= lastPort && len(free) < n; port++ {
		if l, err := net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
			free = append(free, port)
			_ = l.Close() // nobody has connected
		}
	}
	return free
}

// serve makes a Service that leads to a server of its own on a system, and returns the port of the tunnels for it.
func (b *tunnelsBench) serve(ctx context.Context, system string) (port int, err error) {
	if len(b.free) == 0 {
		return 0, fmt.Errorf("of the ports from %d to %d, too few are free", firstPort, lastPort)
	}
	port, b.free = b.free[0], b.free[1:]
	owner := map[string]string{"outposts.dev/tunnels": tunnelsName}
	_, err = b.client.CoreV1().Services(hubNamespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("lab-%d", port),
			Labels: map[string]string{
				"outposts.dev/tunnels": tunnelsName, "outposts.dev/system": system,
				"app.kubernetes.io/managed-by": "jupyterhub", "hub.jupyter.org/username": fmt.Sprintf("user-%d", port),
			},
			Annotations: map[string]string{"outposts.dev/target": fmt.Sprintf("%s:%d", benchHost, benchPort+port)},
		},
		Spec: corev1.ServiceSpec{
			Selector: owner, Ports: []corev1.ServicePort{{Port: benchPort, TargetPort: intstr.FromInt(port)}},
		},
	}, metav1.CreateOptions{})
	return port, err
}

// fill makes Services that lead to near until there are n.
func (b *tunnelsBench) fill(ctx context.Context, n int) error {
	for len(b.made) < n {
		port, err := b.serve(ctx, near)
		if err != nil {
			return err
		}
		b.made = append(b.made, port)
	}
	return nil
}

// localOf returns the local end of a tunnel.
func localOf(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// start starts the tunnels, after they have ended if they run, and returns when they are ready.
func (b *tunnelsBench) start(ctx context.Context) error {
	b.end()
	o := b.program
	cmd := exec.Command(o.binary, "--kubeconfig", o.kubeconfig, "tunnels")
	cmd.Dir = o.dir
	cmd.Env = []string{
		"HOME=" + o.dir, "OUTPOST_TUNNELS_NAME=" + tunnelsName, "OUTPOST_TUNNELS_NAMESPACE=" + hubNamespace,
		fmt.Sprintf("OUTPOST_TUNNELS_PORTS=%d-%d", firstPort, lastPort),
		"OUTPOST_TUNNELS_SYSTEMS_FILE=" + b.systems(), "OUTPOST_TUNNELS_KEY_FILE=" + b.key,
		"OUTPOST_METRICS_LISTEN=" + o.address, "OUTPOST_LOG_LEVEL=warn",
	}
	var err error
	if o.process, err = process.Run(cmd); err != nil {
		return err
	}
	o.pid = o.process.Pid()
	return o.until(ctx, "/readyz", http.StatusOK)
}

// end ends the tunnels at once: on SIGTERM they would wait for streams.
func (b *tunnelsBench) end() {
	if b.program.process != nil {
		b.program.process.Kill()
		b.program.process = nil
	}
}

// complaint returns what the tunnels have written to their log, for an error.
func (b *tunnelsBench) complaint() string {
	if b.program.process == nil {
		return ""
	}
	return "; tunnels: " + firstLines(b.program.process.Stderr())
}
