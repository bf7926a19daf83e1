//go:build e2e

package lifecycle

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// An upgrade by Helm with a configuration that the outpost would refuse fails before anything is changed, and says why.
func TestE2EUpgradeChecksTheConfigurationBefore(t *testing.T) {
	t.Parallel()
	d := &deployment{c: newCluster(t)}
	d.apply(t, d.secret("outpost-users", map[string]string{"usernames": hubName, "passwords": password}))
	d.apply(t, d.keys(fernetKey('1')))
	if out, err := d.helm(t, "/home/jovyan"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d.ready(t)
	before := d.state(t)

	out, err := d.helm(t, "/home/{usr}")
	for _, want := range []string{
		"pre-upgrade hooks failed", "config.yaml: spawner.working_dir: unknown field {usr} in template",
	} {
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%v, want %q in\n%s", err, want, out)
		}
	}
	if diff := cmp.Diff(before, d.state(t)); diff != "" {
		t.Errorf("a refused upgrade changes (-before +after):\n%s", diff)
	}
	told := d.kubectl(t, "get", "pods", "-l", "app.kubernetes.io/component=check", "-o",
		"jsonpath={.items[*].status.containerStatuses[*].state.terminated.message}")
	if !strings.Contains(told, "unknown field {usr}") {
		t.Errorf("the pod of the check says %q", told)
	}

	if out, err := d.helm(t, "/home/{username}"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d.ready(t)
	if diff := cmp.Diff(before, d.state(t)); diff == "" {
		t.Error("an upgrade without a fault changes nothing")
	}
	_, job := d.c.client.BatchV1().Jobs(d.c.namespace).Get(t.Context(), release+"-check", metav1.GetOptions{})
	_, files := d.c.client.CoreV1().ConfigMaps(d.c.namespace).Get(t.Context(), release+"-check", metav1.GetOptions{})
	if !apierrors.IsNotFound(job) || !apierrors.IsNotFound(files) {
		t.Errorf("the check has left its Job or its files: %v, %v", job, files)
	}
}

// helm installs or upgrades the chart, and returns what Helm says.
func (d *deployment) helm(t *testing.T, workingDir string) (string, error) {
	t.Helper()
	values, err := json.Marshal(map[string]any{
		"image":       map[string]any{"repository": outpostImage, "tag": "dev"},
		"cryptSecret": "outpost-cryptkey", "outpostUsers": "outpost-users",
		"servicessh":    map[string]any{"enabled": false},
		"networkPolicy": map[string]any{"enabled": false},
		"singleuser":    map[string]any{"networkPolicy": map[string]any{"enabled": false}},
		"config":        map[string]any{"spawner": map[string]any{"working_dir": workingDir}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return deployed.Helm(t, root(t), d.c.kubeconfig, d.c.context, d.c.namespace, string(values),
		release, filepath.Join(root(t), "charts", "outpost"))
}

// state is the outpost's pods, with how often each has started, and its configuration.
func (d *deployment) state(t *testing.T) map[string]any {
	t.Helper()
	pods, err := d.c.client.CoreV1().Pods(d.c.namespace).List(t.Context(),
		metav1.ListOptions{LabelSelector: deployed.OutpostPod})
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]any{}
	for _, pod := range pods.Items {
		for _, c := range pod.Status.ContainerStatuses {
			made[string(pod.UID)+" "+c.Name] = c.RestartCount
		}
	}
	config, err := d.c.client.CoreV1().ConfigMaps(d.c.namespace).Get(t.Context(), release+"-config",
		metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	made["config"] = config.Data
	return made
}
