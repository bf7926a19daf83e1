//go:build e2e

package stacks

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// TestE2ERemoveRemote takes a remote on which servers run away by make remove-remote, which is killed before and after
// each thing that it changes, and within the largest, and goes on each time. It runs only where E2E_REMOVE is set.
func TestE2ERemoveRemote(t *testing.T) {
	if os.Getenv("E2E_REMOVE") == "" {
		t.Skip("takes ten minutes: set E2E_REMOVE=yes")
	}
	s := newSite(t)
	firstUp(t, s)
	removeRemote(t, s)
}

// removeRemote holds that no stack is destroyed while servers run there, that homes stay, and that the server on the
// other system runs on.
func removeRemote(t *testing.T, s *site) {
	u := s.user(t)
	if err := u.EnsureUser(t.Context(), u.name); err != nil {
		t.Fatal(err)
	}
	u.start(t, "stays", "local", "small")
	stays := s.serverPods(t)
	for _, server := range []string{"goes", "goes-too"} {
		u.start(t, server, "remote", "small")
	}
	homes := deployed.Claims(t, s.remote.API, deployed.ServerNamespace)
	if len(homes) == 0 || len(s.serverPods(t)) != 3 {
		t.Fatalf("homes %v, pods of servers %v", homes, s.serverPods(t))
	}

	began, r := time.Now(), s.removal(t)
	for r.killed(t) {
		if strings.Contains(r.last(), "pulumi destroy") {
			s.onlyRun(t, stays)
		}
	}
	t.Logf("removed after %d kills: %.0f s\n%s", len(r.kills), time.Since(began).Seconds(),
		strings.Join(r.kills, "\n"))
	if len(r.kills) != removalKills {
		t.Errorf("%d kills, want %d", len(r.kills), removalKills)
	}

	s.onlyRun(t, stays)
	if diff := cmp.Diff(homes, deployed.Claims(t, s.remote.API, deployed.ServerNamespace)); diff != "" {
		t.Errorf("homes (-before +after):\n%s", diff)
	}
	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	if err := u.WaitReachable(ctx, u.name, "stays"); err != nil {
		t.Error(err)
	}
	for _, server := range []string{"goes", "goes-too"} {
		if err := u.WaitGone(ctx, u.name, server); err != nil {
			t.Error(err)
		}
	}
	var systems []string
	s.output(t, "local", "systemNames", &systems)
	if diff := cmp.Diff([]string{"local"}, systems); diff != "" {
		t.Errorf("systems (-want +got):\n%s", diff)
	}
	s.unchanged(t, "local")
	u.stop(t, "stays")
}

// onlyRun holds that the pods of servers are these, in both clusters.
func (s *site) onlyRun(t *testing.T, want []types.UID) {
	t.Helper()
	if diff := cmp.Diff(want, s.serverPods(t)); diff != "" {
		t.Fatalf("pods of servers (-want +got):\n%s", diff)
	}
}

// removal is make remove-remote, whose calls of other programs ask the test to kill them all.
type removal struct {
	site  *site
	dir   string
	kills []string // each once
}

// removalKills is how often step asks: before and after drain, status, destroy, config rm and up, and twice within
// destroy.
const removalKills = 12

// step runs a program. Where that changes something, or asks for servers, it asks to be killed before it begins and
// after it has ended, and a destroy when it has begun to take 1 and 5 resources away: once for each command line and
// place in it. Other tests of this package kill ups; TestRemoveGoesOnAfterAnAbort of package dev has all other calls.
const step = `#!/bin/bash
ask() { # PLACE
  ! grep -qxF "$1 $line" "$dir/kills" || return 0
  echo "$1 $line" >>"$dir/kills"; echo "$1 $line" >"$dir/asks"; exec sleep infinity
}
dir=${0%/*} line=${1##*/}; for word in "${@:2}"; do line+=" $word"; done
case $line in
  *" destroy "* | *" up "* | *" config rm "* | *" outpost drain "* | *" outpost status") ;;
  *) exec "$@" ;;
esac
ask before
case $line in
  *" destroy "*)
    set -o pipefail
    "$@" | while IFS= read -r said; do
      echo "$said"
      [[ $said != *"ing (0s)"* ]] || case $((++begun)) in 1 | 5) ask "within, $begun" ;; esac
    done ;;
  *) "$@" ;;
esac
code=$?
[ $code != 0 ] || ask after
exit $code
`

func (s *site) removal(t *testing.T) *removal {
	t.Helper()
	r := &removal{site: s, dir: t.TempDir()}
	for name, text := range map[string]string{"step": step, "kills": ""} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(r.dir, "asks"), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// last is the last kill, empty before the first.
func (r *removal) last() string {
	if len(r.kills) == 0 {
		return ""
	}
	return r.kills[len(r.kills)-1]
}

// killed runs make remove-remote, and reports whether it was killed, as a lost machine would end it; else the remote is
// removed.
func (r *removal) killed(t *testing.T) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	asks, err := os.OpenFile(filepath.Join(r.dir, "asks"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(r.dir, "step") + " " + filepath.Join(r.site.root, "dev", "run")
	cmd := exec.CommandContext(ctx, "make", "remove-remote", "NAME=remote", "EVICT=yes",
		"PULUMI="+run+" pulumi", "KUBECTL="+run+" kubectl", "PAUSE=1",
		"PULUMI_FLAGS=--yes --skip-preview --non-interactive")
	cmd.Dir, cmd.Env = r.site.dir, r.site.env
	endsWhole(cmd)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(asks).ReadString('\n')
		if err == nil {
			_ = cmd.Process.Kill() // gone is as good
		}
		asked <- strings.TrimSpace(line)
	}()
	err = cmd.Wait()
	_ = asks.Close() // ends the wait for a line
	switch line := <-asked; {
	case line != "" && slices.Contains(r.kills, line):
		t.Fatalf("killed twice: %s", line)
	case line != "":
		r.kills = append(r.kills, line)
		return true
	case err == nil:
		return false
	}
	// Pulumi keeps its lock when it is killed, and says what to do.
	const locked = "delete the lock file with `pulumi cancel`"
	text := said.String()
	if !strings.Contains(text, locked) {
		t.Fatalf("after the kill %s: %v\n%s", r.last(), err, text)
	}
	for _, stack := range []string{"local", "remote"} {
		r.site.pulumi(t, stack, "cancel", "--yes")
	}
	return true
}
