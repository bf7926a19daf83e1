//go:build e2e

package lifecycle

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/server/store/storetest"
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
	loseSQLite(t, dir)
	said := p.does(t, "restore", "--file", file)
	for _, want := range []string{"restored 2 services and ", "1 servers that run and that the backup does not know"} {
		if !strings.Contains(said, want) {
			t.Errorf("restore does not say %q:\n%s", want, said)
		}
	}
	p.start(t)
	p.knowsAgain(t)
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

// loseSQLite removes the database in a folder.
func loseSQLite(t *testing.T, dir string) {
	t.Helper()
	lost, err := filepath.Glob(filepath.Join(dir, "outpost.sqlite*"))
	if err != nil || len(lost) == 0 {
		t.Fatalf("%q, error %v", lost, err)
	}
	for _, name := range lost {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// knowsAgain holds that an outpost whose backup was restored says of before and after that they run, and that ended
// does not.
func (p *process) knowsAgain(t *testing.T) {
	t.Helper()
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
}

// What the CronJob of the chart has written gives an outpost back that has lost its database, SQLite on a volume or a
// PostgreSQL: servers of the backup and one that was started after it run on. Meanwhile no backup of the empty database
// takes a place. The same page of the manual says what is done here.
func TestE2ERestoreFromTheCronJob(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		d := &deployment{c: newCluster(t)}
		d.loseAndRestore(t, 1, map[string]any{"persistence": map[string]any{"enabled": true}}, func() {
			d.kubectl(t, "delete", "jobs", "-l", "app.kubernetes.io/component=backup") // whose pods hold the claim
			d.kubectl(t, "delete", "pvc", release+"-data", "--timeout=2m")
			for _, object := range strings.Split(d.objects, "\n---\n") {
				if strings.Contains(object, "kind: PersistentVolumeClaim\n") {
					d.apply(t, object)
				}
			}
		})
	})
	t.Run("postgresql", func(t *testing.T) {
		d, database := &deployment{c: newCluster(t)}, storetest.StartPostgres(t)
		d.usePostgres(t, database)
		d.loseAndRestore(t, 2, onPostgres(2), func() { d.usePostgres(t, database) })
	})
}

// newestBackup is the file of the CronJob, where its Jobs have it.
const newestBackup = "/mnt/outpost_backup/outpost.backup"

// loseAndRestore installs an outpost that is backed up, loses its database, and restores it. lose puts an empty one in
// its place.
func (d *deployment) loseAndRestore(t *testing.T, replicas int, values map[string]any, lose func()) {
	d.apply(t, `{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "backups"}, "spec": `+
		`{"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}`)
	values["backup"] = map[string]any{"enabled": true, "claim": "backups"}
	d.install(t, fernetKey('1'), values)
	d.starts(t, "before")
	d.says(t, "now", "", "backup of 1 services and 0 homes, ")
	d.says(t, "check", arguments("restore", "--check", "--file", newestBackup), "is whole: 1 services and 0 homes, ")
	d.starts(t, "after")
	uids := d.c.uids(t)

	d.kubectl(t, "scale", "deploy/"+release, "--replicas=0")
	d.kubectl(t, "wait", "pod", "-l", deployed.OutpostPod, "--for=delete", "--timeout=2m")
	d.kubectl(t, "patch", "deploy/"+release, "--type=json", "-p", "["+arguments("hold")+"]")
	lose()
	d.kubectl(t, "scale", "deploy/"+release, fmt.Sprintf("--replicas=%d", replicas))
	d.ready(t)
	d.refusesBackup(t, newestBackup+" is a backup of another installation, ")
	restore := arguments("restore", "--file", newestBackup) +
		`, {"op": "add", "path": "/spec/template/spec/serviceAccountName", "value": "` + release + `"}` +
		`, {"op": "replace", "path": "/spec/template/spec/automountServiceAccountToken", "value": true}`
	d.says(t, "restore", restore, "restored 1 services and 0 homes, ",
		"1 servers that run and that the backup does not know got rows")
	d.kubectl(t, "patch", "deploy/"+release, "--type=json", "-p", "["+arguments("serve")+"]")
	d.ready(t)

	for _, name := range []string{"before", "after"} {
		wait(t, time.Minute, name+" runs", func() error {
			status, answer, err := d.call(t.Context(), http.MethodGet, "/services/"+name+"/s1", nil, false)
			if err == nil && !strings.Contains(answer, `"status":null`) {
				err = fmt.Errorf("status %d, %s", status, answer)
			}
			return err
		})
	}
	if diff := cmp.Diff([]string{"after/s1", "before/s1"}, d.services(t)); diff != "" {
		t.Errorf("rows (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(uids, d.c.uids(t)); diff != "" {
		t.Errorf("pods (-before +after the restore)\n%s", diff)
	}
	d.says(t, "next", "", "backup of 2 services and 0 homes, ")
	d.says(t, "older", arguments("restore", "--check", "--file", newestBackup+".1"), ": 1 services and 0 homes, ")
}

// starts starts a server.
func (d *deployment) starts(t *testing.T, name string) {
	t.Helper()
	if err := wantStatus(d.startService(t.Context(), name, "s1", false)); err != nil {
		t.Fatalf("start of %s: %v", name, err)
	}
}

// arguments is an operation of a patch (RFC 6902) that gives the first container a command.
func arguments(command ...string) string {
	return fmt.Sprintf(`{"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": ["%s"]}`,
		strings.Join(command, `", "`))
}

// says runs a Job of the CronJob, changed by the operations of a patch, and checks what it says.
func (d *deployment) says(t *testing.T, job, patch string, wants ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), job+".yaml")
	write(t, file, d.kubectl(t, "create", "job", "--from=cronjob/"+release+"-backup", job, "--dry-run=client",
		"-o", "yaml"))
	if patch != "" {
		write(t, file, d.kubectl(t, "patch", "--local", "-f", file, "-o", "yaml", "--type=json", "-p", "["+patch+"]"))
	}
	d.kubectl(t, "create", "-f", file)
	d.kubectl(t, "wait", "--for=condition=complete", "job/"+job, "--timeout=3m")
	text := d.kubectl(t, "logs", "job/"+job)
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("Job %s does not say %q:\n%s", job, want, text)
		}
	}
}

// refusesBackup runs a Job of the CronJob until it has failed for the first time, and checks why.
func (d *deployment) refusesBackup(t *testing.T, why string) {
	t.Helper()
	d.kubectl(t, "create", "job", "--from=cronjob/"+release+"-backup", "night")
	wait(t, 3*time.Minute, "a backup of the empty database fails", func() error {
		pods, err := d.c.client.CoreV1().Pods(d.c.namespace).List(t.Context(),
			metav1.ListOptions{LabelSelector: "job-name=night", FieldSelector: "status.phase=Failed"})
		if err != nil {
			return err
		}
		if len(pods.Items) == 0 {
			return errors.New("no pod has failed")
		}
		ended := pods.Items[0].Status.ContainerStatuses[0].State.Terminated
		if ended == nil || !strings.Contains(ended.Message, why) {
			t.Errorf("it does not say %q: %+v", why, ended)
		}
		return nil
	})
	d.kubectl(t, "delete", "job", "night")
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

// uids returns the uid of each server's pod by its name.
func (c *cluster) uids(t *testing.T) map[string]string {
	t.Helper()
	list, err := c.client.CoreV1().Pods(c.namespace).List(t.Context(), singleuser)
	if err != nil {
		t.Fatal(err)
	}
	uids := map[string]string{}
	for _, pod := range list.Items {
		uids[pod.Name] = string(pod.UID)
	}
	return uids
}
