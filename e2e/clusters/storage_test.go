//go:build e2e

package clusters

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"testing"
)

// claim asks for a volume of the default StorageClass.
const claim = `---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`

// testVolume holds that a pod that is not root, and has no fsGroup, can write to a volume of the default class; that
// what it wrote is there for the next pod; and that the folder goes with the claim.
func (tb *testbed) testVolume(t *testing.T) {
	c, ns := tb.t1, "volumes"
	c.namespace(t, ns)
	pod := helloPod("one", "role: plain", "volumeMounts: [{name: data, mountPath: /data}]", "8080") +
		"  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]\n"
	c.kubectl(t, pod+claim, "-n", ns, "apply", "-f", "-")
	c.ready(t, ns, "app=one")
	if got := c.mustAsk(t, ns, "one", "/write",
		url.Values{"file": {"/data/note"}, "text": {"kept"}}); got != "written as 1000" {
		t.Errorf("write: %q", got)
	}
	c.kubectl(t, "", "-n", ns, "delete", "pod", "one", "--wait")
	c.kubectl(t, pod, "-n", ns, "apply", "-f", "-")
	c.ready(t, ns, "app=one")
	if got := c.mustAsk(t, ns, "one", "/read", url.Values{"file": {"/data/note"}}); got != "kept" {
		t.Errorf("read in the next pod: %q", got)
	}

	folders := func() []string {
		found, err := filepath.Glob(filepath.Join(tb.state, c.name, "volumes", "volumes_data_*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if n := len(folders()); n != 1 {
		t.Fatalf("%d folders for one claim", n)
	}
	if text, err := os.ReadFile(filepath.Join(folders()[0], "note")); err != nil || string(text) != "kept" {
		t.Errorf("on the machine: %q, %v", text, err)
	}
	c.kubectl(t, "", "-n", ns, "delete", "pod/one", "pvc/data", "--wait")
	eventually(t, "the folder goes with the claim", func() error {
		if len(folders()) > 0 {
			return errors.New("still there")
		}
		return nil
	})
}
