//go:build e2e

package stacks

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// account is the ServiceAccount by which job works, in namespace default, and the Job's name.
const account = "deployer"

// job is an operator who runs Pulumi in a Job of the remote cluster, by its ServiceAccount, which has every right
// there. The folders of this machine that Pulumi needs are mounted into its pod where they are here.
func (s *site) job(t *testing.T) *site {
	t.Helper()
	s.kubectl(t, s.remote, "", "create", "serviceaccount", account)
	s.kubectl(t, s.remote, "", "create", "clusterrolebinding", account,
		"--clusterrole", "cluster-admin", "--serviceaccount", "default:"+account)
	o := s.operator(t)
	tools, golang := s.printed(t, "dev/cache", "pulumi"), s.printed(t, "go", "env", "GOROOT")
	folders := map[string]bool{s.root: true, tools: true, golang: true, s.dir: false, o.dir: false}
	s.kubectl(t, s.remote, jobObject(t, folders), "apply", "-f", "-")
	s.kubectl(t, s.remote, "", "wait", "--for=condition=Ready", "--timeout=3m", "pod", "-l", "job-name="+account)
	// Of the environment, what the toolchain and the backend need goes there.
	own := []string{
		"HOME=/tmp", "XDG_CACHE_HOME=" + filepath.Dir(filepath.Dir(tools)), "OUTPOSTS_STATE=/tmp/state",
		"PATH=" + filepath.Join(golang, "bin") + ":/usr/bin:/bin", // Pulumi asks Go what the program needs
	}
	for _, variable := range o.env {
		name, _, _ := strings.Cut(variable, "=")
		if name == "PULUMI_BACKEND_URL" || name == "PULUMI_CONFIG_PASSPHRASE" {
			own = append(own, variable)
		}
	}
	o.within = slices.Concat([]string{
		filepath.Join(s.root, "dev", "run"), "kubectl", "--kubeconfig", s.kubeconfig, "--context", s.remote.context,
		"exec", "job/" + account, "--", "env", "-C", o.dir,
	}, own)
	return o
}

// printed is what a command prints in the checkout.
func (s *site) printed(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir = s.root
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(argv, " "), err)
	}
	return strings.TrimSpace(string(text))
}

// jobObject is a Job whose pod waits for commands, with folders of this machine: each with whether it is only read.
func jobObject(t *testing.T, folders map[string]bool) string {
	t.Helper()
	var volumes, mounts []any
	for i, folder := range slices.Sorted(maps.Keys(folders)) {
		name := fmt.Sprintf("folder-%d", i)
		volumes = append(volumes, map[string]any{"name": name, "hostPath": map[string]any{"path": folder}})
		mounts = append(mounts, map[string]any{"name": name, "mountPath": folder, "readOnly": folders[folder]})
	}
	text, err := yaml.Marshal(map[string]any{
		"apiVersion": "batch/v1", "kind": "Job", "metadata": map[string]any{"name": account},
		"spec": map[string]any{"backoffLimit": 0, "template": map[string]any{"spec": map[string]any{
			"serviceAccountName": account, "restartPolicy": "Never", "volumes": volumes,
			"terminationGracePeriodSeconds": 0,
			"containers": []any{map[string]any{
				"name": "pulumi", "image": deployed.LabImage, "command": []any{"sleep", "infinity"},
				"volumeMounts":    mounts,
				"securityContext": map[string]any{"runAsUser": 0}, // the folders are root's
			}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
