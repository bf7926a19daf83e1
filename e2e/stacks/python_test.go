//go:build e2e

package stacks

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// Of a database that the Python outpost wrote, and of the Secrets beside it. Source: server/store/testdata/python-db.
const (
	pythonKey      = "5cPS8zP0y4mY2l2v2b6bqf3vV1Q9n1nVnUuF0V4m1nA="
	pythonPassword = "the password of the published Secret"
	pythonServices = 6
)

// pythonObjects are what an operator of the Python outpost has: the Secrets made by hand in the published form. The
// database comes along in a ConfigMap.
const pythonObjects = `
apiVersion: v1
kind: Namespace
metadata: {name: python}
---
apiVersion: v1
kind: Secret
metadata: {name: outpost-cryptkey, namespace: python}
stringData: {secret_key: "` + pythonKey + `"}
---
apiVersion: v1
kind: Secret
metadata: {name: outpost-users, namespace: python}
stringData: {usernames: jupyterhub, passwords: "` + pythonPassword + `"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: python-db, namespace: python}
binaryData: {outpost.sqlite: DATABASE}
`

// pythonPod is a server of the database: one without a pod would be forgotten. Its row has no name of a pod, which is
// then worked out from the request; the annotations are those of KubeSpawner.
const pythonPod = `
---
apiVersion: v1
kind: Pod
metadata:
  name: jupyter-user000NUMBER--lab-000NUMBER
  namespace: python
  labels: {component: singleuser-server, app.kubernetes.io/component: singleuser-server}
  annotations: {hub.jupyter.org/username: user000NUMBER, hub.jupyter.org/servername: lab-000NUMBER}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  containers:
  - {name: notebook, image: LAB, command: [sleep, infinity]}
`

// pythonValues puts them under the chart. The volume is filled before the outpost begins.
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
	database, err := os.ReadFile(filepath.Join(s.root, "server", "store", "testdata", "python-db", "outpost.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	objects := pythonObjects
	for i := range pythonServices {
		objects += strings.ReplaceAll(pythonPod, "NUMBER", strconv.Itoa(i))
	}
	texts := strings.NewReplacer("LAB", s.labImage(t), "DATABASE", base64.StdEncoding.EncodeToString(database))
	s.kubectl(t, s.remote, texts.Replace(objects), "apply", "-f", "-")
	s.kubectl(t, s.remote, s.rendered(t, "python", texts.Replace(pythonValues)), "apply", "-n", "python", "-f", "-")
	s.kubectl(t, s.remote, "", "rollout", "status", "deployment/outpost", "-n", "python", "--timeout=3m")
	s.kubectl(t, s.remote, "", "wait", "pod", "-l", deployed.ServerPods, "-n", "python",
		"--for=condition=Ready", "--timeout=3m")

	hub := login{api: "http://" + s.remote.node + ":30180", user: "jupyterhub", password: pythonPassword}
	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	var all []service
	err = deployed.Eventually(ctx, func(ctx context.Context) (err error) { // its node port may come a moment later
		if all, err = hub.services(ctx); err == nil && len(all) != pythonServices {
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
	if pods := s.kubectl(t, s.remote, "", "get", "pods", "-n", "python", "-l", deployed.ServerPods, "-o",
		"name"); strings.Count(pods, "\n") != pythonServices-1 {
		t.Errorf("one was stopped, but there are\n%s", pods)
	}
	if all, err := hub.services(t.Context()); err != nil || len(all) != pythonServices-1 {
		t.Errorf("services after one was stopped: %v, %v", all, err)
	}
	s.kubectl(t, s.remote, "", "delete", "namespace", "python")
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

// rendered is our chart as Helm would apply it, as release outpost.
func (s *site) rendered(t *testing.T, namespace, values string) string {
	t.Helper()
	chart, err := loader.Load(filepath.Join(s.root, "charts", "outpost"))
	if err != nil {
		t.Fatal(err)
	}
	var given map[string]any
	if err := yaml.UnmarshalStrict([]byte(values), &given); err != nil {
		t.Fatal(err)
	}
	top, err := chartutil.ToRenderValues(chart, given,
		chartutil.ReleaseOptions{Name: "outpost", Namespace: namespace, IsInstall: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(chart, top)
	if err != nil {
		t.Fatal(err)
	}
	var objects bytes.Buffer
	for name, text := range files {
		if filepath.Ext(name) == ".yaml" {
			objects.WriteString("---\n" + text + "\n")
		}
	}
	return objects.String()
}
