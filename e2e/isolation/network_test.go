//go:build e2e

package isolation

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// most bounds how many addresses are tried.
const most = 400

// dnsPort is the only one that servers may reach inside.
const dnsPort = 53

// target is an address of a cluster; kind says of what, such as "node of local".
type target struct {
	kind, name, host string
	port             int32
}

// testNetwork tries every address of both clusters from a user's server. What a pod outside of every policy reaches
// shows that there is something to reach.
func (tb *testbed) testNetwork(t *testing.T, alice, bob server) {
	all := append(tb.targets(t, "local", tb.local), tb.targets(t, "remote", tb.remote)...)
	all = append(all, target{"link-local", "cloud metadata", "169.254.169.254", 80})
	var tried []target
	for _, to := range all {
		if to.host != bob.podIP && to.host != bob.service.Spec.ClusterIP { // its own
			tried = append(tried, to)
		}
	}
	if len(tried) > most {
		t.Logf("%d of %d addresses are tried", most, len(tried))
		tried = tried[:most]
	}
	outside := newNamespace(t, tb.local, "outposts-stranger")
	stranger := tb.local.StartPod(t, "stranger", outside, tb.image, nil)
	there := tb.connects(t.Context(), t, outside, stranger, tried)

	var reached []bool
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := deployed.Eventually(ctx, func(ctx context.Context) error { // policies follow a new pod within seconds
		reached = tb.connects(ctx, t, tb.namespace, bob.pod.Name, tried)
		for i, to := range tried {
			if reached[i] && to.port != dnsPort {
				return fmt.Errorf("%s %s is reached at %s:%d", to.kind, to.name, to.host, to.port)
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("from a user's server: %v", err)
	}
	proven := map[string]int{}
	for i, to := range tried {
		if there[i] {
			proven[to.kind]++
		}
		row(t, to.kind, fmt.Sprintf("%s, %s:%d", to.name, to.host, to.port),
			fmt.Sprintf("%s; outside of every policy %s", open(reached[i]), open(there[i])))
	}
	for _, kind := range []string{
		"node of local", "node of remote", "Service of local", "pod of local", "node port of local",
	} {
		if proven[kind] == 0 {
			t.Errorf("no %s is reached from outside of every policy, so the test proves nothing of them", kind)
		}
	}
	if !slices.ContainsFunc(tried, func(to target) bool { return to.host == alice.podIP && to.port == port }) {
		t.Errorf("hub a's server at %s was not tried", alice.podIP)
	}
}

func open(reached bool) string {
	if reached {
		return "open"
	}
	return "closed"
}

// targets are the TCP addresses of a cluster: nodes at the ports of Kubernetes, and what Services and running pods say.
func (tb *testbed) targets(t *testing.T, name string, c deployed.Cluster) (all []target) {
	t.Helper()
	api := c.API.CoreV1()
	nodes, err1 := api.Nodes().List(t.Context(), metav1.ListOptions{})
	services, err2 := api.Services("").List(t.Context(), metav1.ListOptions{})
	pods, err3 := api.Pods("").List(t.Context(), metav1.ListOptions{})
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var hosts []string
	for _, node := range nodes.Items {
		for _, a := range node.Status.Addresses {
			if net.ParseIP(a.Address) != nil {
				hosts = append(hosts, a.Address)
			}
		}
	}
	for _, host := range hosts {
		for _, port := range []int32{22, 53, 80, 443, 2379, 2380, 6443, 10250, 10256, 10257, 10259} {
			all = append(all, target{"node of " + name, "node", host, port})
		}
	}
	for _, svc := range services.Items {
		all = append(all, ofService(svc, name, hosts)...)
	}
	for _, pod := range pods.Items {
		if pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil {
			continue
		}
		for _, container := range pod.Spec.Containers {
			for _, port := range container.Ports {
				if port.Protocol != corev1.ProtocolUDP {
					all = append(all, target{
						"pod of " + name, pod.Namespace + "/" + pod.Name, pod.Status.PodIP, port.ContainerPort,
					})
				}
			}
		}
	}
	return all
}

// ofService are the addresses of a Service: its own, its load balancer's, and its node ports at the nodes.
func ofService(svc corev1.Service, cluster string, nodes []string) (all []target) {
	name := svc.Namespace + "/" + svc.Name
	for _, port := range svc.Spec.Ports {
		if port.Protocol == corev1.ProtocolUDP {
			continue
		}
		for _, ip := range svc.Spec.ClusterIPs {
			if net.ParseIP(ip) != nil { // a headless one says None
				all = append(all, target{"Service of " + cluster, name, ip, port.Port})
			}
		}
		for _, ingress := range svc.Status.LoadBalancer.Ingress {
			all = append(all, target{"load balancer of " + cluster, name, ingress.IP, port.Port})
		}
		for _, node := range nodes {
			if port.NodePort != 0 {
				all = append(all, target{"node port of " + cluster, name, node, port.NodePort})
			}
		}
	}
	return all
}

// connects reports which of the targets a pod can connect to.
func (tb *testbed) connects(ctx context.Context, t *testing.T, namespace, pod string, targets []target) []bool {
	t.Helper()
	addresses := make([][2]any, len(targets))
	for i, to := range targets {
		addresses[i] = [2]any{to.host, to.port}
	}
	list, err := json.Marshal(addresses)
	if err != nil {
		t.Fatal(err)
	}
	said, err := tb.local.ExecIn(ctx, namespace, pod, "python3", "-c", connect, string(list))
	if err != nil {
		t.Fatal(err)
	}
	var reached []bool
	if err := json.Unmarshal([]byte(said), &reached); err != nil || len(reached) != len(targets) {
		t.Fatalf("pod %s says %q of %d targets: %v", pod, said, len(targets), err)
	}
	return reached
}

// connect says of each address whether a connection can be made.
const connect = `
import concurrent.futures, json, socket, sys

def reached(address):
    try:
        socket.create_connection(address, 3).close()
        return True
    except OSError:
        return False

with concurrent.futures.ThreadPoolExecutor(64) as pool:
    print(json.dumps(list(pool.map(reached, json.loads(sys.argv[1])))))
`
