//go:build e2e

package stacks

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/e2e/hubapi"
)

// kernelRunsOn renames the remote system, and restores the hub in another cluster when it has lost its own. A kernel on
// the remote system runs through both, a user stays logged in, and no stack has anything left to do.
func kernelRunsOn(t *testing.T, s *site) {
	const server = "runs-on"
	u := s.user(t)
	if err := u.EnsureUser(t.Context(), u.name); err != nil {
		t.Fatal(err)
	}
	u.start(t, server, "remote", "small")
	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	kernel, err := u.OpenWitness(ctx, u.name, server)
	if err != nil {
		t.Fatal(err)
	}
	runsOn := func() {
		ctx, cancel := context.WithTimeout(t.Context(), answerIn)
		defer cancel()
		if err := kernel.Knows(ctx); err != nil {
			t.Fatal(err)
		}
	}
	s.renamed(t)
	runsOn()
	s.restored(t)
	runsOn()
	u.stop(t, server)
}

// renamed gives the remote system another name. Its secrets stay.
func (s *site) renamed(t *testing.T) {
	t.Helper()
	before := s.system(t, "remote")
	s.set(t, "local", "north", "outposts:outposts", 1, "name")
	s.set(t, "local", []any{"remote"}, "outposts:outposts", 1, "formerNames")
	s.up(t, "local")
	if diff := cmp.Diff(before, s.system(t, "north")); diff != "" {
		t.Errorf("the renamed system (-before +after):\n%s", diff)
	}
	s.settled(t)
}

// settled holds that a preview of each stack is empty.
func (s *site) settled(t *testing.T) {
	t.Helper()
	for _, stack := range []string{"local", "remote"} {
		s.pulumi(t, stack, "preview", "--non-interactive", "--expect-no-changes")
	}
}

// restored loses the hub's cluster and brings its stack to a new one, from a copy of its volumes and its keys. The
// server that runs there is lost, as is said.
func (s *site) restored(t *testing.T) {
	t.Helper()
	const keys, lost = "local.keys.json", "lost"
	u := s.user(t)
	u.start(t, lost, "local", "small")
	var password string
	s.output(t, "local", "loginPassword", &password)
	browser, err := hubapi.OpenBrowser(t.Context(), u.URL, u.name, password)
	if err != nil {
		t.Fatal(err)
	}
	s.make(t, "export-keys", "STACK=local", "FILE="+keys)
	backups := []*backup{
		s.backup(t, deployed.HubNamespace, "hub-db-dir"), s.backup(t, deployed.OutpostNamespace, "outpost-data"),
	}
	url, uid := u.URL, s.hub.uid(t, metav1.NamespaceSystem)
	rowsOf := s.hub.uid(t, deployed.OutpostNamespace)
	s.clusters(t, "down", hubContext)
	for _, b := range backups {
		b.copy(t, b.path, b.kept)
	}
	s.clusters(t, "down", "--purge", hubContext)

	s.clusters(t, "up", hubContext)
	s.hub = s.open(t, hubContext)
	if s.hub.uid(t, metav1.NamespaceSystem) == uid || url != "http://"+s.hub.node+":30000" {
		t.Fatalf("the new cluster is the old one, or is at %s", s.hub.node)
	}
	for _, b := range backups {
		b.copy(t, b.kept, s.claim(t, b.PersistentVolumeClaim))
	}
	s.make(t, "import-keys", "STACK=local", "FILE="+keys)
	before := s.read(t, "local")
	s.set(t, "local", s.hub.uid(t, metav1.NamespaceSystem), "outposts:cluster", "adopt")
	s.set(t, "local", []any{deployed.HubNamespace, deployed.OutpostNamespace}, "outposts:adopt")
	s.set(t, "local", rowsOf, "outposts:outpost", "values", "movedFrom")
	s.up(t, "local")
	s.write(t, "local", before)
	s.up(t, "local")
	s.settled(t)

	page, err := browser.Get(t.Context(), "/hub/home")
	if err != nil || !strings.Contains(string(page), u.name) {
		t.Errorf("%s is not logged in any more: %v", u.name, err)
	}
	u.stop(t, lost) // the outpost knows it by its rows
}

// make runs a target of the Makefile in the project, where the program is built.
func (s *site) make(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "make", append([]string{"--old-file=stacks"}, args...)...)
	cmd.Dir, cmd.Env = s.dir, s.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make %s: %v\n%s", args[0], err, out)
	}
}

// uid is that of a namespace: by kube-system's a stack knows its cluster, by its own an outpost its rows.
func (c cluster) uid(t *testing.T, namespace string) string {
	t.Helper()
	found, err := c.API.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return string(found.UID)
}

// backup is a claim, and a copy of what its volume has.
type backup struct {
	*corev1.PersistentVolumeClaim
	path, kept string // of the folders
}

// backup prepares a copy of a claim of the hub's cluster.
func (s *site) backup(t *testing.T, namespace, name string) *backup {
	t.Helper()
	claim, err := s.hub.API.CoreV1().PersistentVolumeClaims(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &backup{claim, s.folder(t, claim), filepath.Join(t.TempDir(), name)}
}

// folder is where this machine has the files of a bound claim of the hub's cluster.
func (s *site) folder(t *testing.T, claim *corev1.PersistentVolumeClaim) string {
	t.Helper()
	volume, err := s.hub.API.CoreV1().PersistentVolumes().Get(t.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(s.root, ".state", "clusters", s.hub.context, "volumes", filepath.Base(volume.Spec.Local.Path))
}

// copy copies a folder with the owners of its files.
func (b *backup) copy(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil { // the folder of a claim is there
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "cp", "-a", from+"/.", to).CombinedOutput()
	if err != nil {
		t.Fatalf("copy of claim %s: %v\n%s", b.Name, err, out)
	}
}

// claim makes a claim in the hub's cluster like one of another cluster, in a namespace that it makes too, and returns
// the folder of its volume. A claim that binds late binds for a node that the scheduler, or whoever restores, has
// chosen.
func (s *site) claim(t *testing.T, like *corev1.PersistentVolumeClaim) string {
	t.Helper()
	api := s.hub.API.CoreV1()
	_, err := api.Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: like.Namespace}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := api.Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) != 1 {
		t.Fatalf("nodes: %v, %v", nodes, err)
	}
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Name: like.Name, Annotations: map[string]string{"volume.kubernetes.io/selected-node": nodes.Items[0].Name},
		},
		Spec: *like.Spec.DeepCopy(),
	}
	claim.Spec.VolumeName = ""
	claims := api.PersistentVolumeClaims(like.Namespace)
	if _, err := claims.Create(t.Context(), claim, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	err = deployed.Eventually(ctx, func(ctx context.Context) (err error) {
		claim, err = claims.Get(ctx, like.Name, metav1.GetOptions{})
		if err == nil && claim.Status.Phase != corev1.ClaimBound {
			err = errors.New("it is not bound")
		}
		return err
	})
	if err != nil {
		t.Fatalf("claim %s: %v", like.Name, err)
	}
	return s.folder(t, claim)
}
