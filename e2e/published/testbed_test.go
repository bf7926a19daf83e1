//go:build e2e

package published

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// Namespaces of the test, beside those of `make up`.
const (
	hubNamespace     = "published-hub"
	outpostNamespace = "published-outpost"
	gatewayNamespace = "published-gateways"
)

// gatewayAddress is the last number of the address that a cluster's Gateway asks for.
const gatewayAddress = 210

// way is a way to reach hub and outpost, as one of docs/examples has it.
type way struct {
	example  string // folder
	gateways bool   // the example has Gateways
	solver   string // of cert-manager, for HTTP-01
	// untrusted is what the hub says of an outpost that has no certificate yet: an Ingress shows one that it made
	// itself, a Gateway closes the connection.
	untrusted string
	// Namespaces of the certificates.
	hubCertificates, outpostCertificates string
}

var (
	byIngress = way{
		example: "ingress", solver: "{ingress: {ingressClassName: standard, serviceType: ClusterIP}}",
		untrusted:       "The hub does not trust its certificate.",
		hubCertificates: hubNamespace, outpostCertificates: outpostNamespace,
	}
	byGateway = way{
		example: "gateway", gateways: true,
		solver: "{gatewayHTTPRoute: {serviceType: ClusterIP, parentRefs: " +
			"[{kind: Gateway, name: public, namespace: " + gatewayNamespace + ", sectionName: http}]}}",
		untrusted:       "remote cannot be reached at the moment.",
		hubCertificates: gatewayNamespace, outpostCertificates: gatewayNamespace,
	}
)

// testbed is the two clusters with what the test puts on them: cert-manager, an ACME server, and two stacks
// in a backend of their own.
type testbed struct {
	way         way
	root, state string
	local       cluster
	remote      cluster
	tools       string // folder of the part acme
	ca          authority
	ssh         string // where SSH of the remote is reached, if not as in the example
}

// cluster is a local cluster and where it is.
type cluster struct {
	deployed.Cluster
	root, name string
	node       string // address of its only node
	web        string // address at which its Ingresses or its Gateway are served
}

func newTestbed(t *testing.T, w way) *testbed {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	deployed.NeedsClusters(t, kubeconfigOf(root))
	tb := &testbed{way: w, root: root, state: filepath.Join(root, ".state", "e2e-published")}
	tb.local, tb.remote = openCluster(t, root, "local"), openCluster(t, root, "remote")
	tb.local.web, tb.remote.web = tb.local.node, tb.remote.node
	if w.gateways {
		tb.local.web, tb.remote.web = tb.local.balancer(gatewayAddress), tb.remote.balancer(gatewayAddress)
	}
	if err := tb.down(); err != nil { // what a run that was killed has left
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			tb.explain(t)
		}
		if err := tb.down(); err != nil {
			t.Error(err)
		}
	})
	if err := os.MkdirAll(filepath.Join(tb.state, "pulumi"), 0o755); err != nil {
		t.Fatal(err)
	}
	return tb
}

// kubeconfigOf has a context for each local cluster.
func kubeconfigOf(root string) string { return filepath.Join(root, ".state", "kubeconfig") }

func openCluster(t *testing.T, root, name string) cluster {
	t.Helper()
	c := deployed.OpenCluster(t, kubeconfigOf(root), name)
	return cluster{Cluster: c, root: root, name: name, node: deployed.Node(t, c.API)}
}

// host is a name that the clusters' DNS resolves to an address.
func host(label, address string) string {
	return label + "." + strings.ReplaceAll(address, ".", "-") + ".ip.test"
}

// balancer is an address for a Service of type LoadBalancer: those of the node 10.77.0.3 are 10.77.3.0/24.
func (c cluster) balancer(last byte) string {
	ip := net.ParseIP(c.node).To4()
	return net.IPv4(ip[0], ip[1], ip[3], last).String()
}

// kubectl runs kubectl as an operator would.
func (c cluster) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	args = append([]string{"kubectl", "--kubeconfig", kubeconfigOf(c.root), "--context", c.name}, args...)
	return run(exec.CommandContext(ctx, filepath.Join(c.root, "dev", "run"), args...), stdin)
}

func run(cmd *exec.Cmd, stdin string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, &stdout, &stderr)
	}
	return stdout.String(), nil
}

// dev runs a program of the folder dev.
func (tb *testbed) dev(ctx context.Context, program string, args ...string) (string, error) {
	return run(exec.CommandContext(ctx, filepath.Join(tb.root, "dev", program), args...), "")
}

// both does something on both clusters at once.
func (tb *testbed) both(do func(cluster) error) error {
	done := make(chan error, 2)
	for _, c := range []cluster{tb.local, tb.remote} {
		go func() { done <- do(c) }()
	}
	return errors.Join(<-done, <-done)
}

// pulumi runs the engine on the backend of the test.
func (tb *testbed) pulumi(ctx context.Context, args ...string) ([]byte, error) {
	return deployed.Pulumi(ctx, tb.root, filepath.Join(tb.state, "pulumi"), args...)
}

// up applies a stack whose config is the committed one (images, flavors), under that of the documented example, under
// what is so on these clusters only.
func (tb *testbed) up(ctx context.Context, t *testing.T, stack string, here map[string]any) {
	t.Helper()
	if err := tb.tryUp(ctx, t, stack, here); err != nil {
		t.Fatal(err)
	}
}

// tryUp is up that may fail.
func (tb *testbed) tryUp(ctx context.Context, t *testing.T, stack string, here map[string]any) error {
	t.Helper()
	document := readYAML(t, tb.root, "Pulumi."+stack+".yaml", strings.NewReplacer())
	example := readYAML(t, tb.root, "docs/examples/"+tb.way.example+"/Pulumi."+stack+".yaml", tb.names())
	committed := document["config"].(map[string]any)
	if hub, ok := committed["outposts:hub"].(map[string]any); ok {
		delete(hub, "exposure") // the example's is another, not one more
	}
	document["config"] = deployed.Merge(deployed.Merge(committed, example["config"].(map[string]any)), here)
	if systems, ok := document["config"].(map[string]any)["outposts:outposts"].([]any); ok {
		exposure := systems[1].(map[string]any)["exposure"].(map[string]any)
		exposure["ca"] = tb.ca.root
		if tb.ssh != "" {
			exposure["sshAddress"] = tb.ssh
		}
	}
	text, err := yaml.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(tb.state, "Pulumi."+stack+".yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tb.pulumi(ctx, "stack", "select", "--create", stack); err != nil {
		t.Fatal(err)
	}
	_, err = tb.pulumi(ctx, "up", "-s", stack, "--config-file", file, "--yes", "--non-interactive")
	return err
}

// names turns the names of an example into those of these clusters.
func (tb *testbed) names() *strings.Replacer {
	return strings.NewReplacer(
		"ssh.myremoteoutpost.example", "ssh.invalid", // until the cluster has given it an address
		"myremoteoutpost.example", host("outpost", tb.remote.web),
		"myjupyterhub.example", host("hub", tb.local.web),
		"className: nginx", "className: standard",
		"namespace: gateways", "namespace: "+gatewayNamespace,
		"metadata.name: jupyter}", "metadata.name: "+hubNamespace+"}",
		"metadata.name: outpost}", "metadata.name: "+outpostNamespace+"}",
	)
}

// gateway makes the Gateway of the example in a cluster, at the address that its names are for.
func (tb *testbed) gateway(ctx context.Context, t *testing.T, c cluster) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(tb.root, "docs", "examples", tb.way.example, "gateway."+c.name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	made := strings.Replace(tb.names().Replace(string(text)), "gatewayClassName: envoy",
		"addresses: [{value: "+c.web+"}]\n  gatewayClassName: outposts", 1)
	namespace := "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + gatewayNamespace + "}\n---\n"
	if _, err := c.kubectl(ctx, namespace+made, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

func readYAML(t *testing.T, root, file string, change *strings.Replacer) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := yaml.Unmarshal([]byte(change.Replace(string(text))), &document); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return document
}

// outputs are those of a stack.
func (tb *testbed) outputs(ctx context.Context, t *testing.T, stack string, into any) {
	t.Helper()
	text, err := tb.pulumi(ctx, "stack", "output", "-s", stack, "--show-secrets", "--json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("outputs of the stack %s: %v", stack, err)
	}
}

// running says which pods of a namespace are there, and how often each has been started.
func (c cluster) running(ctx context.Context, namespace string) (map[string]int32, error) {
	pods, err := c.API.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	found := map[string]int32{}
	for _, pod := range pods.Items {
		if pod.Labels["acme.cert-manager.io/http01-solver"] != "" {
			continue
		}
		starts := int32(0)
		for _, container := range pod.Status.ContainerStatuses {
			starts += 1 + container.RestartCount
		}
		found[c.name+" "+pod.Name+" "+string(pod.UID)] = starts
	}
	return found, nil
}

// down takes away all that the test makes. cert-manager goes last: it has to let go of pending challenges.
func (tb *testbed) down() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	err := tb.both(func(c cluster) error {
		gone := []string{"delete", "--ignore-not-found", "--timeout=4m"}
		_, first := c.kubectl(ctx, "", append(gone, "namespace", hubNamespace, outpostNamespace,
			outpostNamespace+"-servers", gatewayNamespace)...)
		_, second := c.kubectl(ctx, "", append(gone, "namespace/cert-manager", "namespace/acme",
			"clusterrole/cert-manager-e2e", "clusterrolebinding/cert-manager-e2e")...)
		kinds, third := c.kubectl(ctx, "", "get", "crd", "-o", "name")
		for kind := range strings.Lines(kinds) {
			if kind = strings.TrimSpace(kind); strings.HasSuffix(kind, "cert-manager.io") {
				_, err := c.kubectl(ctx, "", append(gone, kind)...)
				third = errors.Join(third, err)
			}
		}
		return errors.Join(first, second, third)
	})
	return errors.Join(err, os.RemoveAll(tb.state))
}

// explain keeps what the clusters say about a failure.
func (tb *testbed) explain(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	artefacts := filepath.Join(tb.root, ".state", "test", "artefacts")
	if err := os.MkdirAll(artefacts, 0o755); err != nil {
		t.Error(err)
		return
	}
	file, err := os.Create(filepath.Join(artefacts, "published.txt"))
	if err != nil {
		t.Error(err)
		return
	}
	defer file.Close()
	var said strings.Builder
	for _, c := range []cluster{tb.local, tb.remote} {
		for _, args := range [][]string{
			{"describe", "nodes"}, // with their taints
			{"get", "pods,services,ingresses", "-A", "-o", "wide"},
			{"get", "gateways,httproutes,tcproutes", "-A", "-o", "yaml"},
			{"get", "certificates,certificaterequests,orders,challenges", "-A", "-o", "yaml"},
			{"-n", "cert-manager", "logs", "deployment/cert-manager", "--tail=200"},
			{"-n", "acme", "logs", "deployment/pebble", "--tail=200"},
			{"-n", hubNamespace, "logs", "deployment/hub"},
			{"-n", outpostNamespace, "logs", "deployment/outpost", "--tail=200"},
			{"get", "events", "-A"},
		} {
			text, err := c.kubectl(ctx, "", args...)
			said.WriteString(text)
			fmt.Fprintf(file, "== %s: kubectl %s\n%s", c.name, strings.Join(args, " "), text)
			if err != nil {
				_, _ = io.WriteString(file, err.Error()+"\n")
			}
		}
	}
	t.Logf("what the clusters say is in %s", file.Name())
	// For where nothing but this output is kept: was it the way to an outpost, or the outpost?
	ingress, err := os.ReadFile(filepath.Join(tb.root, ".state", "clusters", tb.remote.name, "logs", "addons.log"))
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(said.String() + string(ingress)) {
		if strings.Contains(line, "with outpost failed") || strings.Contains(line, "backend did not answer") {
			t.Log(strings.TrimSpace(line))
		}
	}
}
