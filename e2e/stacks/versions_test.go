//go:build e2e

package stacks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// serversOnEach is how many servers run on each of the two systems.
const serversOnEach = 10

// tinyServer answers anything, and takes next to nothing.
const tinyServer = `import http.server, os, urllib.parse
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[]")
port = urllib.parse.urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"]).port
http.server.ThreadingHTTPServer(("", port), Answer).serve_forever()`

// TestE2EVersions takes stacks of an earlier version to this one by `make upgrade`, and back, in either order, while
// servers run: none is lost, and servers start and stop also while one side is of the other version. E2E_BEFORE is the
// commit of the earlier version, whose program, charts and image are taken, with its configs.
func TestE2EVersions(t *testing.T) {
	commit := os.Getenv("E2E_BEFORE")
	if commit == "" {
		t.Skip("E2E_BEFORE names no commit to upgrade from")
	}
	if err := exec.CommandContext(t.Context(), "git", "cat-file", "-e", commit+"^{commit}").Run(); err != nil {
		t.Fatalf("this clone does not have commit %s: %v", commit, err)
	}
	t.Run("hub_first", func(t *testing.T) { versions(t, commit, "local", "remote") })
	t.Run("outpost_first", func(t *testing.T) { versions(t, commit, "remote", "local") })
}

func versions(t *testing.T, commit string, order ...string) {
	s := newSite(t)
	old := s.earlier(t, commit)
	for _, stack := range []string{"local", "remote"} {
		old.up(t, stack)
	}
	u := s.user(t)
	if err := u.EnsureUser(t.Context(), u.name); err != nil {
		t.Fatal(err)
	}
	all := u.startMany(t)
	pods := s.serverPodsIn(t, metav1.NamespaceAll)
	if len(pods) != len(all) {
		t.Fatalf("%d pods of %d servers", len(pods), len(all))
	}
	for _, stack := range order {
		s.upgradeTo(t, stack)
		u.allSurvive(t, s, all, pods)
	}
	for _, stack := range order {
		if old.takesState(t) {
			old.up(t, stack)
		} else { // as is said in the manual
			old.refused(t, stack, "cannot be deleted", "because it is protected")
		}
		u.allSurvive(t, s, all, pods)
	}
}

// takesState reports whether the program knows what stacks of this one have: its components by their types.
func (s *site) takesState(t *testing.T) bool {
	t.Helper()
	program, err := os.ReadFile(filepath.Join(s.dir, ".state", "bin", "stacks"))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(program, []byte("outposts:index:Outpost"))
}

// earlier is the same site in the hands of an earlier commit: its program, its charts, its configs, and its images. The
// version of its outpost is one minor version before that of this checkout's. The configs of the site are the same but
// for the images.
func (s *site) earlier(t *testing.T, commit string) *site {
	t.Helper()
	root := t.TempDir()
	unpack := exec.CommandContext(t.Context(), "sh", "-c", `git archive "$0" | tar -x -C "$1"`, commit, root)
	unpack.Dir = s.root
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// The modules are those of this checkout, which have been compiled; images are not made without the other two, and
	// early commits have none.
	for _, file := range []string{"go.mod", "go.sum", "NOTICE", "images/outpost/THIRD-PARTY-LICENSES.txt"} {
		text, err := os.ReadFile(filepath.Join(s.root, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, file), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	image := filepath.Join(root, "outpost.tar")
	build := exec.CommandContext(t.Context(), filepath.Join(s.root, "dev", "go"), "run", "-C", "images/outpost", ".",
		"build", "-root", root, "-out", image, "-ref", "localhost/outposts/outpost:before", "-version", "0.0.9")
	build.Dir = s.root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the image of %s: %v\n%s", commit, err, out)
	}
	s.clusters(t, "load", image)
	s.clusters(t, "load", "--ref", "localhost/outposts/hub:before", s.hubImage(t, root))
	old := *s
	old.dir = t.TempDir()
	deployed.Project(t, root, old.dir)
	backend, of := filepath.Join(old.dir, ".state", "pulumi"), filepath.Join(s.dir, ".state", "pulumi")
	if err := errors.Join(os.Remove(backend), os.Symlink(of, backend)); err != nil { // it stays that of the site
		t.Fatal(err)
	}
	for stack, at := range map[string]string{"local": hubContext, "remote": remoteContext} {
		text, err := os.ReadFile(filepath.Join(root, "Pulumi."+stack+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		old.write(t, stack, string(text))
		old.set(t, stack, map[string]any{"kubeconfig": s.kubeconfig, "context": at}, "outposts:cluster")
		old.set(t, stack, []any{"python3", "-c", tinyServer}, "outposts:outpost", "config", "spawner", "cmd")
	}
	old.set(t, "local", "http://"+s.hub.node+":30000", "outposts:hub", "url")
	old.set(t, "local", s.remote.node, "outposts:outposts", 1, "address")
	old.set(t, "local", 2*serversOnEach+2, "outposts:hub", "values", "hub", "namedServerLimitPerUser")
	for _, stack := range []string{"local", "remote"} {
		s.write(t, stack, old.read(t, stack))
		old.set(t, stack, "before", "outposts:outpost", "image", "tag")
	}
	old.set(t, "local", "before", "outposts:hub", "image", "tag")
	return &old
}

// hubImage builds the hub's image of an earlier commit, whose files are in root, with the tools of this checkout: the
// hub of a commit may need what the images of this one leave out, such as ssh.
func (s *site) hubImage(t *testing.T, root string) string {
	t.Helper()
	run := filepath.Join(root, "dev", "run")
	if err := errors.Join(os.Remove(run), os.WriteFile(run,
		fmt.Appendf(nil, "#!/bin/sh\nexec '%s' \"$@\"\n", filepath.Join(s.root, "dev", "run")), 0o755)); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), filepath.Join(root, "images", "build"), "hub")
	var complaint bytes.Buffer
	build.Stderr = &complaint
	archive, err := build.Output()
	if err != nil {
		t.Fatalf("build the hub's image: %v\n%s", err, &complaint)
	}
	return strings.TrimSpace(string(archive))
}

// upgradeTo runs the program behind `make upgrade` on a stack.
func (s *site) upgradeTo(t *testing.T, stack string) {
	t.Helper()
	began := time.Now()
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.dir, "dev", "upgrade"), stack)
	cmd.Dir, cmd.Env = s.dir, append(slices.Clone(s.env), "YES=yes", "STATE="+filepath.Join(s.dir, ".state"))
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("upgrade of %s: %v\n%s%s", stack, err, out, &complaint)
	}
	want := fmt.Sprintf("; the %d servers that ran before run still\n", serversOnEach)
	if !strings.Contains(string(out), "upgrade: stack "+stack+" runs ") || !strings.Contains(string(out), want) {
		t.Errorf("it does not say %q of %s:\n%s", want, stack, out)
	}
	t.Logf("upgrade of %s: %.0f s", stack, time.Since(began).Seconds())
}

// startMany starts servers on both systems, some at a time, and returns the system of each.
func (u user) startMany(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for i := range serversOnEach {
		for system := range servers {
			all[fmt.Sprintf("%s-%d", system, i)] = system
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for some := range slices.Chunk(slices.Sorted(maps.Keys(all)), 4) {
		for _, name := range some {
			if err := u.Start(ctx, u.name, name, map[string]any{"system": all[name], "flavor": "small"}); err != nil {
				t.Fatalf("start %s: %v", name, err)
			}
		}
		for _, name := range some {
			u.ready(ctx, t, name)
		}
	}
	return all
}

// allSurvive holds that servers, given with their systems, run and are reached, in the pods they were in, and that
// others start and stop beside them.
func (u user) allSurvive(t *testing.T, s *site, all map[string]string, before []types.UID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for server, system := range all {
		u.survives(ctx, t, server, system)
	}
	if after := s.serverPodsIn(t, metav1.NamespaceAll); !slices.Equal(before, after) {
		t.Errorf("pods of servers were %v, are %v", before, after)
	}
	for system := range servers {
		u.start(t, "further", system, "small")
		u.stop(t, "further")
	}
}
