//go:build e2e

package adopt

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

const pythonPort = 30780

// pythonVolume is what is left of a Python outpost beside deployed.PythonObjects when Helm has uninstalled it: its
// volume, which a pod fills with the database.
const pythonVolume = `
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: outpost-old-data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 100Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: fill}
spec:
  restartPolicy: Never
  securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 1000}
  containers:
  - name: fill
    image: LAB
    command: [cp, /python/outpost.sqlite, /data/sqlite.db]
    volumeMounts: [{name: data, mountPath: /data}, {name: python-db, mountPath: /python}]
  volumes:
  - {name: data, persistentVolumeClaim: {claimName: outpost-old-data}}
  - {name: python-db, configMap: {name: python-db}}
`

// TestE2EOutpostOfPython holds that a stack takes over what a Python outpost has left: its volume, its keys and its
// password. The new outpost reads its rows, and knows the servers, which run on.
func TestE2EOutpostOfPython(t *testing.T) {
	s := newSite(t, "adopt-python")
	objects := deployed.PythonObjects(t, deployed.LabImage) +
		strings.ReplaceAll(pythonVolume, "LAB", deployed.LabImage)
	s.kubectl(t, "", "create", "namespace", s.namespace)
	s.kubectl(t, objects, "create", "-f", "-")
	s.kubectl(t, "", "wait", "pod/fill", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=3m")
	s.kubectl(t, "", "delete", "pod/fill")
	s.kubectl(t, "", "wait", "pod", "-l", deployed.ServerPods, "--for=condition=Ready", "--timeout=3m")
	before := s.servers(t)

	s.write(t, map[string]any{
		"outposts:outpost": map[string]any{
			"namespace": s.namespace, "address": s.node,
			"exposure": map[string]any{
				"type": "nodePort", "apiNodePort": pythonPort, "sshNodePort": pythonPort + 1, "tls": false,
			},
			"image":  map[string]any{"repository": "localhost/outposts/outpost", "tag": "dev"},
			"config": map[string]any{"spawner": map[string]any{"image": deployed.LabImage}},
			"values": map[string]any{
				"persistence": map[string]any{"existingClaim": "outpost-old-data"},
				"extraEnvVars": []any{map[string]any{
					"name": "SQL_DATABASE_URL", "value": "/var/lib/outpost/sqlite.db",
				}},
			},
		},
		"outposts:hubs": []any{map[string]any{
			"name": "jupyterhub", "password": "to be replaced, below", "apiUrl": "http://hub.example.org/hub/api",
			"sshPublicKeys": []any{
				"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN1Jm2f3WPTnu3iTK0AzBmmAlbGkAxv6kRaFWTRzZ0bM other",
			},
		}},
	})
	s.pulumi(t, "config", "set", "--secret", "--path", "outposts:outpost.cryptKeys[0]", deployed.PythonKey)
	s.pulumi(t, "config", "set", "--secret", "--path", "outposts:hubs[0].password", deployed.PythonPassword)
	s.refused(t, "has Secret outpost-cryptkey, which this stack's state does not know; 6 servers run there")
	s.adopt(t, s.namespace)
	s.pulumi(t, "up", "--yes")
	s.adopt(t)
	s.pulumi(t, "up", "--yes")
	s.pulumi(t, "preview", "--expect-no-changes")

	if after := s.servers(t); !slices.Equal(before, after) {
		t.Errorf("servers %v, were %v", after, before)
	}
	var all []struct {
		Name    string `json:"name"`
		StartID string `json:"start_id"`
	}
	err := json.Unmarshal([]byte(s.ask(t, http.MethodGet, "/services/")), &all)
	if err != nil || len(all) != len(before) {
		t.Fatalf("services %v, %v", all, err)
	}
	for _, one := range all { // it says so only if it can open the row
		body := s.ask(t, http.MethodGet, "/services/"+one.Name+"/"+one.StartID)
		if !strings.Contains(body, `"status":null`) {
			t.Errorf("%s: %s", one.Name, body)
		}
	}
	s.ask(t, http.MethodDelete, "/services/"+all[0].Name+"/"+all[0].StartID)
	if after := s.servers(t); len(after) != len(before)-1 {
		t.Errorf("one was stopped, and %d run", len(after))
	}
}

// ask makes a request to the outpost as the hub does, which must be accepted, and returns its answer.
func (s *site) ask(t *testing.T, method, path string) string {
	t.Helper()
	address := fmt.Sprintf("http://%s:%d%s", s.node, pythonPort, path)
	req, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("jupyterhub", deployed.PythonPassword)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, body, err)
	}
	return string(body)
}

// servers are the uids of the pods of servers.
func (s *site) servers(t *testing.T) []string {
	t.Helper()
	options := metav1.ListOptions{LabelSelector: deployed.ServerPods}
	pods, err := s.API.CoreV1().Pods(s.namespace).List(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	var uids []string
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp == nil {
			uids = append(uids, string(pod.UID))
		}
	}
	slices.Sort(uids)
	return uids
}
