//go:build e2e

// Package policies asks, on the clusters, what the policies around a deployed hub let through. It is a package of its
// own because it needs pods of strangers, which no other test has.
package policies

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// probe is a pod from which connections are tried.
type probe struct{ name, namespace, pod string }

// address is what a connection is tried to.
type address struct{ name, host, port string }

// TestE2EHubPolicies holds that what the hub's side needs is let in, and nothing beside it: hub to outposts, servers to
// hub, hub and proxy to tunnels and to servers. Strangers reach what is public, the proxy's front door.
func TestE2EHubPolicies(t *testing.T) {
	d := deployed.Open(t)
	ctx := t.Context()
	for _, system := range []string{"local", "remote"} {
		d.Start(ctx, t, d.Hub, d.User, "policy-"+system, map[string]any{"system": system})
	}
	server, err := d.Local.ServerPod(ctx, "policy-local")
	if err != nil {
		t.Fatal(err)
	}
	image := server.Spec.Containers[0].Image

	running := func(labels string) probe {
		pod, err := d.Local.Pod(ctx, deployed.HubNamespace, labels)
		if err != nil || pod == "" {
			t.Fatalf("pod %s: %q, %v", labels, pod, err)
		}
		return probe{labels, deployed.HubNamespace, pod}
	}
	hub, proxy := running(deployed.HubPod), running(deployed.ProxyPod)
	local := probe{"server on local", deployed.ServerNamespace, server.Name}
	stranger := start(t, d.Local, "stranger", deployed.HubNamespace, image, nil)
	friend := start(t, d.Local, "friend", deployed.HubNamespace, image,
		map[string]string{"hub.jupyter.org/network-access-hub": "true"})
	neighbour := start(t, d.Local, "neighbour", deployed.OutpostNamespace, image, nil)
	foreigner := start(t, d.Local, "foreigner", "default", image, nil)
	// Labels alone open nothing: a rule for the proxy means the one in the hub's namespace.
	impostor := start(t, d.Local, "impostor", "default", image, map[string]string{
		"app": "jupyterhub", "component": "proxy", "release": "jupyterhub",
		"hub.jupyter.org/network-access-hub": "true",
	})

	inHubs := func(name, service, port string) address {
		return address{name, service + "." + deployed.HubNamespace + ".svc", port}
	}
	hubAPI := inHubs("hub", "hub", "8081")
	front, routes := inHubs("proxy", "proxy-public", "80"), inHubs("proxy's routes", "proxy-api", "8001")
	tunnel := tunnelOf(ctx, t, d, "policy-remote")
	states := inHubs("states of the tunnels", "outposts-hub-tunnels", "8081")
	direct := address{"server on local", server.Status.PodIP, portOf(t, server)}
	localAPI, remoteAPI := outposts(ctx, t, d)

	for _, try := range []struct {
		from probe
		to   address
		open bool
	}{
		{hub, localAPI, true},
		{hub, remoteAPI, true},
		{hub, routes, true},
		{hub, states, true},
		{hub, direct, true},
		{hub, tunnel, true}, // it looks whether the server answers, through its own Service
		{proxy, hubAPI, true},
		{proxy, tunnel, true},
		{proxy, direct, true},
		{proxy, states, false},
		{local, hubAPI, true},
		{local, front, true},
		{local, tunnel, false},
		{local, states, false},
		{local, routes, false},
		{neighbour, hubAPI, true}, // the outpost itself, which tells the hub of a start
		{neighbour, tunnel, false},
		{neighbour, routes, false},
		{friend, hubAPI, true}, // the chart's own way to let a pod in
		{friend, tunnel, false},
		{stranger, front, true},
		{stranger, hubAPI, false},
		{stranger, tunnel, false},
		{stranger, states, false},
		{stranger, routes, false},
		{foreigner, front, true},
		{foreigner, hubAPI, false},
		{foreigner, tunnel, false},
		{foreigner, states, false},
		{foreigner, routes, false},
		{impostor, hubAPI, false},
		{impostor, tunnel, false},
		{impostor, states, false},
		{impostor, routes, false},
	} {
		// Policies follow a new pod within seconds. What is to be closed is open to somebody above: it is there.
		ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
		err := deployed.Eventually(ctx, func(ctx context.Context) error {
			said, err := d.Local.ExecIn(ctx, try.from.namespace, try.from.pod, "python3", "-c",
				dial, try.to.host, try.to.port)
			if err != nil {
				return err
			}
			if open := strings.TrimSpace(said) == "connected"; open != try.open {
				return fmt.Errorf("it is %s", said)
			}
			return nil
		})
		cancel()
		if err != nil {
			t.Errorf("%s to %s, open is to be %v: %v", try.from.name, try.to.name, try.open, err)
		}
	}
}

// dial says in one word, or in those of the system, whether a connection can be made.
const dial = `
import socket, sys
address = socket.gethostbyname(sys.argv[1]), int(sys.argv[2])
try:
    socket.create_connection(address, 3).close()
    print("connected")
except OSError as e:
    print(e)
`

// start starts a pod that does nothing, and ends it with the test.
func start(t *testing.T, c deployed.Cluster, name, namespace, image string, labels map[string]string) probe {
	t.Helper()
	return probe{name + " in " + namespace, namespace, c.StartPod(t, name, namespace, image, labels)}
}

// tunnelOf is the Service beside the hub that leads to a server's tunnel.
func tunnelOf(ctx context.Context, t *testing.T, d *deployed.Deployed, server string) address {
	t.Helper()
	services, err := d.Local.API.CoreV1().Services(deployed.HubNamespace).List(ctx,
		metav1.ListOptions{LabelSelector: deployed.ServerPods})
	if err != nil {
		t.Fatal(err)
	}
	for _, svc := range services.Items {
		if strings.HasSuffix(svc.Name, "-"+server) {
			return address{"tunnel", svc.Name + "." + svc.Namespace + ".svc", strconv.Itoa(int(svc.Spec.Ports[0].Port))}
		}
	}
	t.Fatalf("no Service leads to the tunnel of %s", server)
	return address{}
}

// outposts are the addresses that the hub was given.
func outposts(ctx context.Context, t *testing.T, d *deployed.Deployed) (localAPI, remoteAPI address) {
	t.Helper()
	given, err := d.Local.API.CoreV1().ConfigMaps(deployed.HubNamespace).Get(ctx, "outposts-hub-data",
		metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var data struct {
		Systems map[string]struct {
			URL string `json:"url"`
		} `json:"systems"`
	}
	if err := yaml.Unmarshal([]byte(given.Data["outposts.yaml"]), &data); err != nil {
		t.Fatal(err)
	}
	api := func(system string) address {
		there, err := url.Parse(data.Systems[system].URL)
		if err != nil {
			t.Fatal(err)
		}
		host, port, err := net.SplitHostPort(there.Host)
		if err != nil {
			t.Fatal(err)
		}
		return address{"API of outpost " + system, host, port}
	}
	return api("local"), api("remote")
}

// portOf is the port at which a server listens: the one that its Service leads to.
func portOf(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			return strconv.Itoa(int(port.ContainerPort))
		}
	}
	t.Fatalf("pod %s has no port", pod.Name)
	return ""
}
