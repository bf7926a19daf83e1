//go:build e2e

package charts

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// kubectl runs our kubectl against one of the two local clusters.
func kubectl(t *testing.T, cluster, stdin string, args ...string) (string, error) {
	t.Helper()
	const kubeconfig = "../.state/kubeconfig"
	if _, err := os.Stat(kubeconfig); err != nil {
		t.Fatalf("no clusters: %v (make up)", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	args = append([]string{"kubectl", "--kubeconfig", kubeconfig, "--context", cluster}, args...)
	c := exec.CommandContext(ctx, "../dev/run", args...)
	c.Stdin = strings.NewReader(stdin)
	out, err := c.CombinedOutput()
	return string(out), err
}

// withoutNodePorts lets an object be tried beside the installed one: its node ports are taken.
func withoutNodePorts(t *testing.T, text []byte) map[string]any {
	t.Helper()
	var o map[string]any
	if err := yaml.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	if o["kind"] != "Service" {
		return o
	}
	for _, port := range o["spec"].(map[string]any)["ports"].([]any) {
		delete(port.(map[string]any), "nodePort")
	}
	return o
}

// The schema of a real API server takes every object of every value set.
func TestE2EKubernetesTakesEveryValueSet(t *testing.T) {
	for _, path := range valueSets(t) {
		t.Run(setName(path), func(t *testing.T) {
			var list struct {
				APIVersion string `json:"apiVersion"`
				Kind       string `json:"kind"`
				Items      []any  `json:"items"`
			}
			list.APIVersion, list.Kind = "v1", "List"
			for _, o := range objects(t, readValues(t, path)) {
				item := withoutNodePorts(t, o.text)
				if item["apiVersion"] == "monitoring.coreos.com/v1" { // its definitions are the Prometheus operator's
					continue
				}
				if item["apiVersion"] == "gateway.networking.k8s.io/v1alpha2" {
					item["apiVersion"] = "gateway.networking.k8s.io/v1" // the clusters do not serve what is before that
				}
				metadata := item["metadata"].(map[string]any)
				metadata["namespace"] = "default"
				metadata["name"] = "dry-" + metadata["name"].(string)
				list.Items = append(list.Items, item)
			}
			text, err := json.Marshal(list)
			if err != nil {
				t.Fatal(err)
			}
			out, err := kubectl(t, "remote", string(text), "create", "--dry-run=server", "--validate=strict", "-f", "-")
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if got := strings.Count(out, "created (server dry run)"); got != len(list.Items) {
				t.Errorf("%d of %d objects were taken:\n%s", got, len(list.Items), out)
			}
		})
	}
}

// probe tries to open connections from a pod that looks like a single-user server.
const probe = `
import json, socket, sys
def reached(host, port):
    try:
        socket.create_connection((host, port), timeout=4).close()
        return True
    except OSError:
        return False
print(json.dumps({name: reached(host, port) for name, host, port in json.loads(sys.argv[1])}))
`

// Single-user servers reach their hub and DNS, and neither Kubernetes, nodes, metadata nor the outpost.
func TestE2ESingleUserServersReachOnlyWhatTheyMay(t *testing.T) {
	targets, err := json.Marshal([][]any{
		{"hub", "10.77.0.2", 30000},
		{"dns", "kube-dns.kube-system.svc", 53},
		{"kubernetes", "kubernetes.default.svc", 443},
		{"kubelet", "10.77.0.3", 10250},
		{"this machine", "10.77.0.254", 22},
		{"metadata", "169.254.169.254", 80},
		{"outpost", "outpost.outpost.svc", 8080},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{
		"hub": true, "dns": true,
		"kubernetes": false, "kubelet": false, "this machine": false, "metadata": false, "outpost": false,
	}
	for _, cluster := range []string{"local", "remote"} {
		t.Run(cluster, func(t *testing.T) {
			image, err := kubectl(t, cluster, "", "-n", "outpost", "get", "configmap", "outpost-config",
				"-o", `jsonpath={.data.config\.yaml}`)
			if err != nil {
				t.Fatalf("%v\n%s", err, image)
			}
			var config struct{ Spawner struct{ Image string } }
			if err := yaml.Unmarshal([]byte(image), &config); err != nil || config.Spawner.Image == "" {
				t.Fatalf("image of single-user servers: %v in\n%s", err, image)
			}
			pod, err := json.Marshal(map[string]any{
				"apiVersion": "v1", "kind": "Pod",
				"metadata": map[string]any{
					"name": "policy-probe", "namespace": "outpost",
					"labels": map[string]string{"component": "singleuser-server"},
				},
				"spec": map[string]any{
					"restartPolicy": "Never", "automountServiceAccountToken": false,
					"containers": []any{map[string]any{
						"name": "probe", "image": config.Spawner.Image,
						"command": []string{"python3", "-c", "import time; time.sleep(600)"},
					}},
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			remove := func() {
				if out, err := kubectl(t, cluster, "", "-n", "outpost", "delete", "pod", "policy-probe",
					"--ignore-not-found", "--grace-period=0", "--force"); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			}
			remove()
			t.Cleanup(remove)
			if out, err := kubectl(t, cluster, string(pod), "create", "-f", "-"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if out, err := kubectl(t, cluster, "", "-n", "outpost", "wait", "--for=condition=Ready",
				"pod/policy-probe", "--timeout=180s"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			var got map[string]bool
			var out string
			// A new pod's rules are there a moment after the pod.
			for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
				if out, err = kubectl(t, cluster, "", "-n", "outpost", "exec", "policy-probe",
					"--", "python3", "-c", probe, string(targets)); err != nil {
					continue
				}
				got = nil
				if err = json.Unmarshal([]byte(out), &got); err == nil && maps.Equal(got, want) {
					break
				}
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("reached (-want +got)\n%s", diff)
			}
		})
	}
}
