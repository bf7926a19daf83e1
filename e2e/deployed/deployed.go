// Package deployed gives the end-to-end tests the hub, systems and clusters that `make up` has deployed. It exists
// because tests in several packages need the same ones.
package deployed

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/outposts-dev/outposts/e2e/hubapi"
	"github.com/outposts-dev/outposts/server/kubespawner"
)

// Namespaces that the stacks use. Servers have one of their own, as those of every new stack.
const (
	HubNamespace     = "jupyter"
	OutpostNamespace = "outpost"
	ServerNamespace  = "outpost-servers"
)

// LabImage is the image of users' servers, which the local clusters have.
const LabImage = "localhost/outposts/lab:4.6.6"

// Labels of the pods of the hub, of its proxy, of the tunnels, of an outpost, and of users' servers.
const (
	HubPod     = "app=jupyterhub,component=hub"
	ProxyPod   = "app=jupyterhub,component=proxy"
	TunnelsPod = "app.kubernetes.io/name=outposts-hub,app.kubernetes.io/component=tunnels"
	OutpostPod = "app.kubernetes.io/name=outpost,app.kubernetes.io/component=outpost"
	ServerPods = "component=singleuser-server"
)

// Deployed is a hub with its outposts on the clusters local and remote.
type Deployed struct {
	// Root is the checkout.
	Root, Kubeconfig string
	HubURL           string   `json:"hubUrl"`
	Password         string   `json:"loginPassword"`
	User             string   `json:"verifyUser"`
	Token            string   `json:"verifyToken"`
	Systems          []string `json:"systemNames"`
	// Hub acts for User.
	Hub *hubapi.Client
	// Local and Remote are the clusters.
	Local, Remote Cluster
}

// Cluster is one Kubernetes cluster.
type Cluster struct {
	API                 kubernetes.Interface
	config              *rest.Config
	kubeconfig, context string
}

// Open finds what is deployed, or skips the test where there are no clusters.
func Open(t testing.TB) *Deployed {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(root, ".state", "kubeconfig")
	NeedsClusters(t, kubeconfig)
	d := &Deployed{Root: root, Kubeconfig: kubeconfig}
	outputs, err := d.Pulumi(t.Context(), "stack", "output", "-s", "local", "--show-secrets", "--json")
	if err != nil {
		t.Fatalf("the stack local cannot be read; run `make up` first: %v", err)
	}
	if err := json.Unmarshal(outputs, d); err != nil {
		t.Fatalf("outputs of the stack local: %v", err)
	}
	if d.HubURL == "" {
		t.Fatal("the stack local has no hub; run `make up` first")
	}
	d.Hub = &hubapi.Client{URL: d.HubURL, Token: d.Token}
	d.Local = OpenCluster(t, kubeconfig, "local")
	d.Remote = OpenCluster(t, kubeconfig, "remote")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := Eventually(ctx, func(ctx context.Context) error { return d.Hub.EnsureUser(ctx, d.User) }); err != nil {
		t.Fatalf("the hub does not answer: %v", err)
	}
	return d
}

// NeedsClusters skips a test where there is no kubeconfig of the local clusters.
func NeedsClusters(t testing.TB, kubeconfig string) {
	t.Helper()
	if _, err := os.Stat(kubeconfig); err != nil {
		t.Skip("no local clusters; run `make up` first")
	}
}

// Pulumi runs Pulumi on the stacks of the local clusters and returns what it printed.
func (d *Deployed) Pulumi(ctx context.Context, args ...string) ([]byte, error) {
	return Pulumi(ctx, d.Root, filepath.Join(d.Root, ".state", "pulumi"), args...)
}

// Pulumi runs the Pulumi of the checkout root on the stacks whose state is in a folder, and returns what it printed.
func Pulumi(ctx context.Context, root, state string, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, filepath.Join(root, "dev", "run"), append([]string{"pulumi"}, args...)...)
	command.Dir = root
	command.Env = append(os.Environ(), Backend(state)...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return out, fmt.Errorf("pulumi %s: %w\n%s%s", args[0], err, out, &stderr)
	}
	return out, nil
}

// Backend returns the variables that point Pulumi at the stacks whose state is in a folder, as dev/run does for those
// of the local clusters.
func Backend(folder string) []string {
	return []string{"PULUMI_BACKEND_URL=file://" + folder + "?metadata=skip", "PULUMI_CONFIG_PASSPHRASE="}
}

// Merge lays one config over another: maps are merged, everything else is replaced.
func Merge(under, over map[string]any) map[string]any {
	merged := maps.Clone(under)
	for key, above := range over {
		if below, ok := merged[key].(map[string]any); ok {
			if inner, ok := above.(map[string]any); ok {
				above = Merge(below, inner)
			}
		}
		merged[key] = above
	}
	return merged
}

// OpenCluster returns the cluster of a context. A test that fails keeps what the cluster says.
func OpenCluster(t testing.TB, kubeconfig, name string) Cluster {
	t.Helper()
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
		&clientcmd.ConfigOverrides{CurrentContext: name}).ClientConfig()
	if err != nil {
		t.Fatalf("context %s: %v", name, err)
	}
	config.QPS, config.Burst = 100, 200
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	ExplainFailure(t, name, api)
	return Cluster{API: api, config: config, kubeconfig: kubeconfig, context: name}
}

// Node is the address of a cluster's only node, where its node ports and Ingresses are.
func Node(t testing.TB, api kubernetes.Interface) string {
	t.Helper()
	nodes, err := api.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) == 0 {
		t.Fatalf("nodes: %v, %v", nodes, err)
	}
	for _, a := range nodes.Items[0].Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			return a.Address
		}
	}
	t.Fatal("the node has no address")
	return ""
}

// Start starts a server and waits until it is ready; the test's end stops it.
func (d *Deployed) Start(
	ctx context.Context, t testing.TB, hub *hubapi.Client, user, server string, options map[string]any,
) {
	t.Helper()
	StopAtEnd(t, hub, user, server)
	if err := hub.Start(ctx, user, server, options); err != nil {
		t.Fatalf("start %s/%s: %v", user, server, err)
	}
	if err := hub.Progress(ctx, user, server, nil); err != nil {
		t.Fatalf("start %s/%s: %v", user, server, err)
	}
}

// StopAtEnd stops a server that an earlier run has left, and at the end the one of the test.
func StopAtEnd(t testing.TB, hub *hubapi.Client, user, server string) {
	t.Helper()
	Stop(t, hub, user, server)
	t.Cleanup(func() { Stop(t, hub, user, server) })
}

// Stop stops a server and waits until it is gone. It works at the end of a test, too.
func Stop(t testing.TB, hub *hubapi.Client, user, server string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// A hub that has just come up refuses to stop a server until it has looked after it.
	if err := Eventually(ctx, func(ctx context.Context) error { return hub.Stop(ctx, user, server) }); err != nil {
		t.Errorf("stop %s/%s: %v", user, server, err)
	}
	if err := hub.WaitGone(ctx, user, server); err != nil {
		t.Errorf("stop %s/%s: %v", user, server, err)
	}
}

// Pod is the running pod with these labels, "" while there is none. A pod that is about to end does not count.
func (c Cluster) Pod(ctx context.Context, namespace, labels string) (string, error) {
	pods, err := c.API.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: labels})
	if err != nil {
		return "", err
	}
	for _, pod := range pods.Items {
		if pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
			return pod.Name, nil
		}
	}
	return "", nil
}

// PodNames are the names of the pods with these labels, sorted. Those that are about to end count, too.
func (c Cluster) PodNames(ctx context.Context, namespace, labels string) ([]string, error) {
	pods, err := c.API.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: labels})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, pod := range pods.Items {
		names = append(names, pod.Name)
	}
	slices.Sort(names)
	return names, nil
}

// ReplacePod deletes a pod with these labels without a grace period, and waits until one that was not there before is
// ready: a replica is all the time.
func (c Cluster) ReplacePod(ctx context.Context, namespace, labels string) error {
	old, err := c.Pod(ctx, namespace, labels)
	if err != nil {
		return err
	}
	if old == "" {
		return fmt.Errorf("no pod with %s runs in %s", labels, namespace)
	}
	before, err := c.PodNames(ctx, namespace, labels)
	if err != nil {
		return err
	}
	var now int64
	err = c.API.CoreV1().Pods(namespace).Delete(ctx, old, metav1.DeleteOptions{GracePeriodSeconds: &now})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return Eventually(ctx, func(ctx context.Context) error {
		ready, err := c.ReadyBut(ctx, namespace, labels, before...)
		if err != nil || ready > 0 {
			return err
		}
		return fmt.Errorf("no pod in place of %s is ready", old)
	})
}

// ReadyBut returns how many pods with these labels are ready, but for the old ones.
func (c Cluster) ReadyBut(ctx context.Context, namespace, labels string, old ...string) (int, error) {
	pods, err := c.API.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: labels})
	if err != nil {
		return 0, err
	}
	ready := 0
	for _, pod := range pods.Items {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue &&
				!slices.Contains(old, pod.Name) {
				ready++
			}
		}
	}
	return ready, nil
}

// RolledOut waits until every pod of a Deployment is of its newest template and available, and none of an older one is
// left.
func (c Cluster) RolledOut(ctx context.Context, namespace, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	return Eventually(ctx, func(ctx context.Context) error { return c.IsRolledOut(ctx, namespace, name) })
}

// IsRolledOut returns an error while what RolledOut waits for is not so.
func (c Cluster) IsRolledOut(ctx context.Context, namespace, name string) error {
	now, err := c.API.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	want := *now.Spec.Replicas
	if s := now.Status; s.ObservedGeneration < now.Generation || s.UpdatedReplicas != want ||
		s.Replicas != want || s.AvailableReplicas != want {
		return fmt.Errorf("the rollout of %s stands at %d of %d", name, s.UpdatedReplicas, want)
	}
	return nil
}

// ServerPod is the pod of a single-user server, found by the name of the server.
func (c Cluster) ServerPod(ctx context.Context, server string) (*corev1.Pod, error) {
	pods, err := c.API.CoreV1().Pods(ServerNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i, pod := range pods.Items {
		if pod.Annotations[kubespawner.NameKey] == server && pod.DeletionTimestamp == nil {
			return &pods.Items[i], nil
		}
	}
	return nil, fmt.Errorf("no pod of server %s is in %s", server, ServerNamespace)
}

// Exec runs a command in the pod with these labels and returns what it printed.
func (c Cluster) Exec(ctx context.Context, namespace, labels string, command ...string) (string, error) {
	name, err := c.Pod(ctx, namespace, labels)
	if err != nil {
		return "", err
	}
	if name == "" {
		return "", fmt.Errorf("no pod with %s runs in %s", labels, namespace)
	}
	return c.ExecIn(ctx, namespace, name, command...)
}

// ExecIn runs a command in a pod and returns what it printed.
func (c Cluster) ExecIn(ctx context.Context, namespace, name string, command ...string) (string, error) {
	request := c.API.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewSPDYExecutor(c.config, "POST", request.URL())
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr})
	if err != nil {
		return stdout.String(), fmt.Errorf("%s in pod %s: %w: %s",
			strings.Join(command, " "), name, err, stderr.String())
	}
	return stdout.String(), nil
}

// Replace writes a changed object, whose fields stay with the managers that it names: who applies the chart would be
// refused those of a test. An update gives what it changes to who makes it; one that changes nothing gives it back.
func Replace[T metav1.Object](
	ctx context.Context, update func(context.Context, T, metav1.UpdateOptions) (T, error), changed T,
) error {
	changed.SetResourceVersion("") // whatever the server has now
	for range 2 {
		if _, err := update(ctx, changed, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// Eventually asks until the answer is nil. When ctx ends first, it returns the last answer.
func Eventually(ctx context.Context, ask func(context.Context) error) error {
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("not in time: %w", err)
		}
	}
}
