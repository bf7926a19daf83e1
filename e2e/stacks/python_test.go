//go:build e2e

package stacks

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// pythonValues puts what a Python outpost has left under the chart. The volume is filled before the outpost begins.
const pythonValues = `
image: {repository: localhost/outposts/outpost, tag: dev}
cryptSecret: outpost-cryptkey
outpostUsers: outpost-users
service: {type: NodePort, ports: {nodePort: 30180}}
initContainers:
- name: python-db
  image: LAB
  command: [sh, -c, "cp -n /python/outpost.sqlite /var/lib/outpost/"]
  securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
  volumeMounts: [{name: data, mountPath: /var/lib/outpost}, {name: python-db, mountPath: /python}]
extraVolumes: [{name: python-db, configMap: {name: python-db}}]
`

// pythonData holds that the chart alone carries on with what the Python outpost has left: its Secrets are taken as they
// are, its rows are opened, and its servers are found and ended.
func pythonData(t *testing.T, s *site) {
	const namespace = "python"
	image := s.labImage(t)
	var values map[string]any
	if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(pythonValues, "LAB", image)), &values); err != nil {
		t.Fatal(err)
	}
	s.kubectl(t, s.remote, "", "create", "namespace", namespace)
	for _, objects := range []string{
		deployed.PythonObjects(t, image), deployed.RenderChart(t, "outpost", namespace, values),
	} {
		s.kubectl(t, s.remote, objects, "apply", "-n", namespace, "-f", "-")
	}
	s.kubectl(t, s.remote, "", "rollout", "status", "deployment/outpost", "-n", namespace, "--timeout=3m")
	s.kubectl(t, s.remote, "", "wait", "pod", "-l", deployed.ServerPods, "-n", namespace,
		"--for=condition=Ready", "--timeout=3m")

	hub := login{api: "http://" + s.remote.node + ":30180", user: "jupyterhub", password: deployed.PythonPassword}
	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	var all []service
	err := deployed.Eventually(ctx, func(ctx context.Context) (err error) { // its node port may come a moment later
		if all, err = hub.services(ctx); err == nil && len(all) != deployed.PythonServices {
			err = fmt.Errorf("services: %v", all)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := hub.running(t.Context()); err != nil {
		t.Error(err)
	}
	if code, body, err := hub.ask(t.Context(), http.MethodDelete, all[0].path()); code != http.StatusOK {
		t.Errorf("stop of %s: %d %s %v", all[0].Name, code, body, err)
	}
	if pods := s.kubectl(t, s.remote, "", "get", "pods", "-n", namespace, "-l", deployed.ServerPods, "-o",
		"name"); strings.Count(pods, "\n") != deployed.PythonServices-1 {
		t.Errorf("one was stopped, but there are\n%s", pods)
	}
	if all, err := hub.services(t.Context()); err != nil || len(all) != deployed.PythonServices-1 {
		t.Errorf("services after one was stopped: %v, %v", all, err)
	}
	s.kubectl(t, s.remote, "", "delete", "namespace", namespace)
}

// labImage is an image with a shell that the clusters have.
func (s *site) labImage(t *testing.T) string {
	t.Helper()
	var file struct {
		Config struct {
			Outpost struct {
				Config struct{ Spawner struct{ Image string } }
			} `json:"outposts:outpost"`
		}
	}
	if err := yaml.Unmarshal([]byte(s.read(t, "remote")), &file); err != nil {
		t.Fatal(err)
	}
	return file.Config.Outpost.Config.Spawner.Image
}
