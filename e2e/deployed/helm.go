package deployed

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
