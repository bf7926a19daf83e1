//go:build e2e

package stacks

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// operators holds that a stack is the same to everybody who applies it: to two operators with other homes, checkouts
// and kubeconfigs, to a Job in the cluster, and with an S3 backend. None sees a difference to what another one has
// done, and each can take the stack away.
func operators(t *testing.T, s *site) {
	before := s.read(t, "remote")
	s.set(t, "remote", map[string]any{}, "outposts:cluster")
	alone := s.kubectl(t, s.remote, "", "config", "view", "--minify", "--flatten", "--raw")
	alice := s.operator(t, "KUBECONFIG="+file(t, "config", alone))
	bob := s.operator(t, "KUBECONFIG="+file(t, "none", "")+":"+filepath.Join(t.TempDir(), "missing")+":"+
		file(t, "mine", strings.ReplaceAll(alone, s.remote.context, "bobs")))
	job := s.job(t)

	if diff := cmp.Diff([]string{"update pulumi:providers:kubernetes"}, alice.steps(t, "remote")); diff != "" {
		t.Errorf("the way to the cluster changes more than the provider (-want +got):\n%s", diff)
	}
	alice.up(t, "remote")
	alice.pulumi(t, "remote", "refresh", "--yes", "--non-interactive")
	made := alice.export(t, "remote")
	moved := s.s3Backend(t, alice)
	for _, who := range []struct {
		name string
		*site
	}{{"another operator", bob}, {"a Job in the cluster", job}, {"an S3 backend", moved}} {
		t.Run(who.name, func(t *testing.T) {
			who.unchanged(t, "remote")
			who.pulumi(t, "remote", "refresh", "--yes", "--non-interactive", "--expect-no-changes")
			touched(t, made, who.export(t, "remote"))
		})
	}
	job.pulumi(t, "remote", "destroy", "--exclude-protected", "--yes", "--non-interactive")
	s.kubectl(t, s.remote, "", "delete", "job", account)
	bob.up(t, "remote")
	moved.pulumi(t, "remote", "refresh", "--yes", "--non-interactive")
	moved.pulumi(t, "remote", "destroy", "--exclude-protected", "--yes", "--non-interactive")
	moved.up(t, "remote")
	alice.pulumi(t, "remote", "refresh", "--yes", "--non-interactive")
	alice.unchanged(t, "remote") // of what the other backend has done
	s.write(t, "remote", before)
	s.up(t, "remote")
	s.unchanged(t, "remote")
}

// file makes a file that others may not read.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// operator is the site as somebody else has it: in another home folder and another checkout. The stack files are those
// of now.
func (s *site) operator(t *testing.T, env ...string) *site {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	o := *s
	o.dir = t.TempDir()
	o.env = slices.Concat(s.env, []string{"HOME=" + t.TempDir(), "XDG_CACHE_HOME=" + cache}, env)
	for _, folder := range []string{"stacks", ".state"} {
		if err := os.Mkdir(filepath.Join(o.dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{
		"Pulumi.yaml", "Pulumi.local.yaml", "Pulumi.remote.yaml", "charts", "e2e", ".state/bin", ".state/pulumi",
	} {
		if err := os.Symlink(filepath.Join(s.dir, name), filepath.Join(o.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return &o
}

// steps are what an up of a stack would do: "update TYPE".
func (s *site) steps(t *testing.T, stack string) []string {
	t.Helper()
	var planned struct {
		Steps []struct{ Op, URN string }
	}
	out := s.ask(t, stack, "preview", "--json", "--non-interactive")
	if err := json.Unmarshal([]byte(out), &planned); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var all []string
	for _, step := range planned.Steps {
		types := strings.Split(strings.SplitN(step.URN, "::", 4)[2], "$")
		if step.Op != "same" {
			all = append(all, step.Op+" "+types[len(types)-1])
		}
	}
	return all
}
