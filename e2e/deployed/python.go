package deployed

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Of a database that the Python outpost wrote, and of the Secrets beside it. Source: server/store/testdata/python-db.
const (
	PythonKey      = "5cPS8zP0y4mY2l2v2b6bqf3vV1Q9n1nVnUuF0V4m1nA="
	PythonPassword = "the password of the published Secret"
	PythonServices = 6
)

// pythonObjects are what an operator of the Python outpost has: the Secrets made by hand in the published form. The
// database comes along in a ConfigMap.
const pythonObjects = `
apiVersion: v1
kind: Secret
metadata: {name: outpost-cryptkey}
stringData: {secret_key: "` + PythonKey + `"}
---
apiVersion: v1
kind: Secret
metadata: {name: outpost-users}
stringData: {usernames: jupyterhub, passwords: "` + PythonPassword + `"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: python-db}
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
  labels: {component: singleuser-server, app.kubernetes.io/component: singleuser-server}
  annotations: {hub.jupyter.org/username: user000NUMBER, hub.jupyter.org/servername: lab-000NUMBER}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  containers:
  - {name: notebook, image: LAB, command: [sleep, infinity]}
`

// PythonObjects returns what a Python outpost leaves in its namespace, as one YAML stream: the Secrets outpost-cryptkey
// and outpost-users, the database as outpost.sqlite in ConfigMap python-db, and PythonServices pods of servers, which
// run sleep of the image.
func PythonObjects(t testing.TB, image string) string {
	t.Helper()
	folder := filepath.Join("..", "..", "server", "store", "testdata", "python-db")
	database, err := os.ReadFile(filepath.Join(folder, "outpost.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	objects := pythonObjects
	for i := range PythonServices {
		objects += strings.ReplaceAll(pythonPod, "NUMBER", strconv.Itoa(i))
	}
	texts := strings.NewReplacer("LAB", image, "DATABASE", base64.StdEncoding.EncodeToString(database))
	return texts.Replace(objects)
}
