package deployed

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Helm runs Helm in a namespace of a context: RELEASE CHART installs or upgrades a release, with values as YAML, and
// uninstall RELEASE removes one. It returns what Helm says. root is the checkout.
func Helm(t testing.TB, root, kubeconfig, context, namespace, values string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "dev", "go"), append([]string{
		"run", "-C", filepath.Join(root, "dev", "pulumi", "kubernetes"), "./testdata/helm",
	}, args...)...)
	cmd.Env = append(os.Environ(),
		"KUBECONFIG="+kubeconfig, "HELM_KUBECONTEXT="+context, "HELM_NAMESPACE="+namespace)
	cmd.Stdin = strings.NewReader(values)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Release lets Helm install a chart, by its folder in the checkout root, and returns its notes.
func (c Cluster) Release(t testing.TB, root, namespace, name, chart string, values map[string]any) string {
	t.Helper()
	text, err := yaml.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	said, err := Helm(t, root, c.kubeconfig, c.context, namespace, string(text), name, filepath.Join(root, chart))
	if err != nil {
		t.Fatalf("helm install %s: %v\n%s", name, err, said)
	}
	return said
}

// HubLines are the values for the release of the hub that are in the notes of the chart outposts-hub.
func HubLines(t testing.TB, notes string) map[string]any {
	t.Helper()
	_, lines, found := strings.Cut(notes, "\nhub:\n")
	lines, _, ended := strings.Cut(lines, "\n\n")
	if !found || !ended {
		t.Fatalf("no lines in\n%s", notes)
	}
	var values map[string]any
	if err := yaml.Unmarshal([]byte("hub:\n"+lines), &values); err != nil {
		t.Fatal(err)
	}
	return values
}
