//go:build e2e

package stacks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// hubDatabaseLost empties the volume of the hub's database while a server runs on the remote. The hub comes back
// without users; the server goes on until it is ended as the manual says, and its home is there for the next one.
func hubDatabaseLost(t *testing.T, s *site) {
	const server = "unknown"
	u := s.user(t)
	if err := u.EnsureUser(t.Context(), u.name); err != nil {
		t.Fatal(err)
	}
	u.start(t, server, "remote", "small")
	pods, homes := s.serverPods(t), deployed.Claims(t, s.remote.API, deployed.ServerNamespace)
	claim, err := s.hub.API.CoreV1().PersistentVolumeClaims(deployed.HubNamespace).Get(t.Context(), "hub-db-dir",
		metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	hub := func(args ...string) {
		t.Helper()
		s.kubectl(t, s.hub, "", append([]string{"-n", deployed.HubNamespace}, args...)...)
	}
	hub("scale", "deploy/hub", "--replicas=0")
	hub("wait", "pod", "-l", deployed.HubPod, "--for=delete", "--timeout=2m")
	lost, err := filepath.Glob(filepath.Join(s.folder(t, claim), "*"))
	if err != nil || len(lost) == 0 {
		t.Fatalf("files of the hub's volume: %q, %v", lost, err)
	}
	for _, file := range lost {
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
	}
	hub("scale", "deploy/hub", "--replicas=1")
	hub("rollout", "status", "deploy/hub", "--timeout=3m")

	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	if err := u.WaitThere(ctx); err != nil {
		t.Fatal(err)
	}
	if err := u.EnsureUser(ctx, u.name); err != nil {
		t.Fatal(err)
	}
	if known, err := u.Servers(ctx, u.name); err != nil || len(known) > 0 {
		t.Errorf("the hub without its database knows the servers %v, %v", known, err)
	}
	if diff := cmp.Diff(pods, s.serverPods(t)); diff != "" {
		t.Errorf("servers (-before +after the loss):\n%s", diff)
	}

	outpost := func(args ...string) string {
		t.Helper()
		command := []string{"-n", deployed.OutpostNamespace, "exec", "deploy/outpost", "--", "outpost"}
		return s.kubectl(t, s.remote, "", append(command, args...)...)
	}
	outpost("drain", "--evict", "--text", "The hub has lost its database.")
	err = deployed.Eventually(ctx, func(context.Context) error {
		if said := outpost("status"); !strings.Contains(said, "jupyterhub: 0 servers") {
			return errors.New(said)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	outpost("undrain")
	if left := s.serverPods(t); len(left) > 0 {
		t.Errorf("servers are left: %v", left)
	}
	if diff := cmp.Diff(homes, deployed.Claims(t, s.remote.API, deployed.ServerNamespace)); diff != "" {
		t.Errorf("homes (-before +after):\n%s", diff)
	}
	u.start(t, server, "remote", "small")
	u.stop(t, server)
}

// stateLost loses the backend with the states of both stacks while servers run. They come back from the files with the
// keys; no server notices.
func stateLost(t *testing.T, s *site) {
	u := s.user(t)
	u.startAll(t)
	pods := s.serverPods(t)
	for _, stack := range []string{"local", "remote"} {
		s.make(t, "export-keys", "STACK="+stack, "FILE="+stack+".keys")
	}
	if err := os.RemoveAll(filepath.Join(s.dir, ".state", "pulumi", ".pulumi")); err != nil {
		t.Fatal(err)
	}
	for _, stack := range []string{"local", "remote"} {
		s.make(t, "import-keys", "STACK="+stack, "FILE="+stack+".keys")
		s.adopt(t, stack)
	}
	s.settled(t)
	u.survive(t, s, pods)
	u.stopAll(t)
}

// passphraseLost forgets the passphrase of both stacks while servers run. New states take the namespaces over, with the
// Fernet keys that the clusters have: no server notices, and users log in again.
func passphraseLost(t *testing.T, s *site) {
	u := s.user(t)
	u.startAll(t)
	pods := s.serverPods(t)
	s.env = append(slices.Clone(s.env), "PULUMI_CONFIG_PASSPHRASE=another")
	for _, stack := range []string{"local", "remote"} {
		if out, _, err := s.try(t, stack, upArgs...); err == nil || !strings.Contains(out, "passphrase") {
			t.Fatalf("up of %s with another passphrase: %v\n%s", stack, err, out)
		}
		s.pulumi(t, stack, "stack", "rm", "--force", "--preserve-config", "--yes")
		s.write(t, stack, salt.ReplaceAllString(s.read(t, stack), ""))
		s.pulumi(t, stack, "stack", "init")
	}
	for _, stack := range []string{"local", "remote"} {
		of := map[string]cluster{"local": s.hub, "remote": s.remote}[stack]
		keys := strings.Fields(of.secret(t, deployed.OutpostNamespace, "outpost-cryptkey")["secret_key"])
		for i, key := range keys {
			s.setSecret(t, stack, fmt.Sprintf("outposts:outpost.cryptKeys[%d]", i), key)
		}
		s.adopt(t, stack)
	}
	s.settled(t)
	u = s.user(t) // the token is another one
	u.survive(t, s, pods)
	u.stopAll(t)
	u.startsInTheEnd(t, s)
}

// startsInTheEnd starts a server on the remote system, whose host key is another one: the pods of the tunnels see it a
// while after the up, and until then who starts is told that it is not the one that the hub knows.
func (u user) startsInTheEnd(t *testing.T, s *site) {
	t.Helper()
	const server = "in-the-end"
	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	if err := s.hub.Hasten(ctx, deployed.HubNamespace); err != nil {
		t.Fatal(err)
	}
	err := deployed.Eventually(ctx, func(ctx context.Context) error {
		if err := u.Start(ctx, u.name, server, map[string]any{"system": "remote", "flavor": "small"}); err != nil {
			return err
		}
		return u.Progress(ctx, u.name, server, nil)
	})
	if err != nil {
		t.Fatalf("start %s: %v", server, err)
	}
	u.stop(t, server)
}

// salt is what Pulumi checks a passphrase by.
var salt = regexp.MustCompile(`(?m)^encryptionsalt: .*\n`)

// adopt applies a stack that has its namespaces to take over, and once more without a word about that.
func (s *site) adopt(t *testing.T, stack string) {
	t.Helper()
	namespaces := []any{deployed.OutpostNamespace, deployed.ServerNamespace}
	if stack == "local" {
		namespaces = append(namespaces, deployed.HubNamespace)
	}
	before := s.read(t, stack)
	s.refused(t, stack, "outposts:adopt")
	s.set(t, stack, namespaces, "outposts:adopt")
	s.up(t, stack)
	s.write(t, stack, before)
	s.up(t, stack)
}
