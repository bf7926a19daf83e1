//go:build e2e

package clusters

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// network is that of the tests, so that they run beside the clusters a developer uses.
const network = "10.66.0.0/16"

// helloImage is loaded under the name of a registry that no test can reach.
const helloImage = "quay.io/outposts/hello:e2e"

// testbed is the pair of clusters under test.
type testbed struct {
	root    string // of the checkout
	state   string
	hello   string // the program that pods run
	archive string // its image
	t1, t2  *cluster
}

// cluster is one of them, with what a test needs to talk to it.
type cluster struct {
	tb            *testbed
	name          string
	node          string
	loadBalancers string // first three numbers and a dot
	http          *http.Client
}

func newTestbed(t *testing.T) *testbed {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: nodes are namespaces of the kernel")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	// Not below the system's folder for temporary files: that may be in memory, where overlayfs cannot be stacked.
	state := filepath.Join(root, ".state", "e2e-clusters", "clusters")
	tb := &testbed{root: root, state: state}
	tb.t1 = &cluster{tb: tb, name: "t1", node: "10.66.0.4", loadBalancers: "10.66.4."}
	tb.t2 = &cluster{tb: tb, name: "t2", node: "10.66.0.5", loadBalancers: "10.66.5."}
	tb.mustRun(t, "down", "--purge") // what a run that was killed has left
	t.Cleanup(func() { tb.mustRun(t, "down", "--purge") })
	return tb
}

// command returns `clusters ARGS` for the state and network of the tests.
func (tb *testbed) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(tb.root, "dev", "run"), append([]string{"clusters"}, args...)...)
	cmd.Env = append(os.Environ(), "OUTPOSTS_STATE="+filepath.Dir(tb.state),
		"OUTPOSTS_KUBECONFIG="+tb.kubeconfig(), "OUTPOSTS_NETWORK="+network)
	return cmd
}

func (tb *testbed) kubeconfig() string { return filepath.Join(filepath.Dir(tb.state), "kubeconfig") }

func (tb *testbed) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := tb.command(t.Context(), args...).CombinedOutput()
	return string(out), err
}

func (tb *testbed) mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tb.command(context.WithoutCancel(t.Context()), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("clusters %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// report is what `clusters status --json` says of a cluster.
type report struct {
	Name, State, Reason, Kubernetes string
	PID, Pods, PodsReady            int
	MemoryBytes                     int64
}

func (tb *testbed) status(t *testing.T) map[string]report {
	t.Helper()
	var reports []report
	if err := json.Unmarshal([]byte(tb.mustRun(t, "status", "--json")), &reports); err != nil {
		t.Fatal(err)
	}
	byName := map[string]report{}
	for _, r := range reports {
		byName[r.Name] = r
	}
	return byName
}

// connect reads the cluster's keys; they are new after each purge.
func (c *cluster) connect(t *testing.T) {
	t.Helper()
	pki := filepath.Join(c.tb.state, c.name, "pki")
	pair, err := tls.LoadX509KeyPair(filepath.Join(pki, "client-admin.crt"), filepath.Join(pki, "client-admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(pki, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	c.http = &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}},
	}
}

// kubectl runs kubectl as a user would, with the kubeconfig that `up` has written.
func (c *cluster) kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := c.tryKubectl(t, stdin, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (c *cluster) tryKubectl(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	out, err := c.kubectlCommand(t, stdin, args...).CombinedOutput()
	return string(out), err
}

func (c *cluster) kubectlCommand(t *testing.T, stdin string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), filepath.Join(c.tb.root, "dev", "run"),
		append([]string{"kubectl", "--kubeconfig", c.tb.kubeconfig(), "--context", c.name}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	return cmd
}

// ask asks the program hello in a pod, by way of the API server, and returns what it says.
func (c *cluster) ask(ctx context.Context, namespace, pod, path string, query url.Values) (string, error) {
	address := fmt.Sprintf("https://%s:6443/api/v1/namespaces/%s/pods/%s:8080/proxy%s?%s", c.node,
		namespace, pod, path, query.Encode())
	return get(ctx, c.http, address)
}

func (c *cluster) mustAsk(t *testing.T, namespace, pod, path string, query url.Values) string {
	t.Helper()
	text, err := c.ask(t.Context(), namespace, pod, path, query)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func get(ctx context.Context, client *http.Client, address string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", address, response.Status, text)
	}
	return string(text), err
}

// direct asks without the proxies that the environment may name.
var direct = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// eventually calls try until it returns no error, for three minutes.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

// namespace makes a namespace for one test.
func (c *cluster) namespace(t *testing.T, name string) string {
	t.Helper()
	c.kubectl(t, "", "create", "namespace", name)
	return name
}

// ready waits until pods with a label are ready.
func (c *cluster) ready(t *testing.T, namespace, selector string) {
	t.Helper()
	c.kubectl(t, "", "-n", namespace, "wait", "--for=condition=Ready", "pod", "-l", selector, "--timeout=180s")
}

// helloPod is a pod that runs hello as a user without rights.
func helloPod(name, labels, extra string, ports ...string) string {
	args, containerPorts := "", ""
	for i, port := range ports {
		args += fmt.Sprintf("%q,", port)
		containerPorts += fmt.Sprintf("{name: p%d, containerPort: %s},", i, port)
	}
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: %s, %s}}
spec:
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 1000, runAsGroup: 1000}
  containers:
  - name: hello
    image: %s
    args: [%s]
    ports: [%s]
    env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
    readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
    %s
`, name, name, labels, helloImage, args, containerPorts, extra)
}
