//go:build e2e

package lifecycle

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An outpost whose volume is lost gets its servers back: those of the backup, and one that was started after it. The
// page "Back up and restore" of the manual says what is done here.
func TestE2ERestoreKeepsServers(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	dir := t.TempDir()
	p := c.newProcess(t, dir, "OUTPOST_HOST_KEYS_DIR="+filepath.Join(dir, "keys"))
	file := filepath.Join(dir, "outpost.backup")
	start := func(name string) {
		t.Helper()
		if err := wantStatus(p.startService(t.Context(), name, "s1", false)); err != nil {
			t.Fatalf("start of %s: %v", name, err)
		}
	}
	p.start(t)
	start("before")
	start("ended")
	p.does(t, "backup", "--file", file)
	start("after")
	if err := wantStatus(p.call(t.Context(), http.MethodDelete, "/services/ended/s1", nil, false)); err != nil {
		t.Fatalf("stop of ended: %v", err)
	}
	uids := c.uids(t)

	p.kill()
	lost, err := filepath.Glob(filepath.Join(dir, "outpost.sqlite*"))
	if err != nil || len(lost) == 0 {
		t.Fatalf("%q, error %v", lost, err)
	}
	for _, name := range lost {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	said := p.does(t, "restore", "--file", file)
	for _, want := range []string{"restored 2 services and ", "1 servers that run and that the backup does not know"} {
		if !strings.Contains(said, want) {
			t.Errorf("restore does not say %q:\n%s", want, said)
		}
	}
	p.start(t)
	wait(t, time.Minute, "left-overs are dealt with", func() error {
		status, answer, err := p.call(t.Context(), http.MethodGet, "/services/nobody/0", nil, false)
		if err == nil && status != http.StatusNotFound {
			err = fmt.Errorf("status %d, %s", status, answer)
		}
		return err
	})
	for _, name := range []string{"before", "after"} {
		status, answer, err := p.call(t.Context(), http.MethodGet, "/services/"+name+"/s1", nil, false)
		if err != nil || status != http.StatusOK || !strings.Contains(answer, `"status":null`) {
			t.Errorf("poll of %s: status %d, %s, %v", name, status, answer, err)
		}
	}
	wait(t, time.Minute, "what has ended since is found ended", func() error {
		status, answer, err := p.call(t.Context(), http.MethodGet, "/services/ended/s1", nil, false)
		if err == nil && !strings.Contains(answer, `"status":1`) {
			err = fmt.Errorf("status %d, %s", status, answer)
		}
		return err
	})
	if diff := cmp.Diff([]string{"after/s1", "before/s1", "ended/s1"}, p.services(t)); diff != "" {
		t.Errorf("rows (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(uids, c.uids(t)); diff != "" {
		t.Errorf("pods (-before +after the restore)\n%s", diff)
	}
	for _, name := range []string{"before", "after", "ended"} {
		if err := wantStatus(p.call(t.Context(), http.MethodDelete, "/services/"+name+"/s1", nil, false)); err != nil {
			t.Errorf("stop of %s: %v", name, err)
		}
	}
	if services, pods := c.servicesAndPods(t); len(services)+len(pods)+len(p.services(t)) > 0 {
		t.Errorf("left are Services %q and pods %q", services, pods)
	}
}

// does runs a command of the outpost that ends, and returns what it says.
func (p *process) does(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := p.command(name)
	cmd.Args = append(cmd.Args, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// uids returns the uid of each pod by its name.
func (c *cluster) uids(t *testing.T) map[string]string {
	t.Helper()
	list, err := c.client.CoreV1().Pods(c.namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	uids := map[string]string{}
	for _, pod := range list.Items {
		uids[pod.Name] = string(pod.UID)
	}
	return uids
}
