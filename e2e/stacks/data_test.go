//go:build e2e

package stacks

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// destroyed takes both stacks away at once.
func (s *site) destroyed(t *testing.T, args ...string) {
	t.Helper()
	var group sync.WaitGroup
	var failed atomic.Bool
	for _, stack := range []string{"remote", "local"} {
		group.Go(func() {
			out, took, err := s.try(t, stack,
				append([]string{"destroy", "--yes", "--skip-preview", "--non-interactive"}, args...)...)
			if err != nil {
				t.Errorf("destroy of %s: %v\n%s", stack, err, out)
				failed.Store(true)
			}
			t.Logf("destroy of %s: %.1f s", stack, took.Seconds())
		})
	}
	group.Wait()
	if failed.Load() {
		t.FailNow()
	}
}

// dataOutlives tries to lose volumes by mistake, and to do without what opens them. The server on the remote system
// runs on all the while, and is found again.
func dataOutlives(t *testing.T, s *site) {
	for _, tt := range []struct {
		name    string
		outpost map[string]any // values by their keys below outposts:outpost
		want    []string
	}{
		{
			"another namespace",
			map[string]any{"namespace": "elsewhere"},
			[]string{
				"namespace outpost would be deleted with everything in it",
				`"outpost/*" in outposts:allowDataLoss`,
			},
		},
		{
			"no volume any more",
			map[string]any{"persistence.enabled": false, "values.extraEnvVarsSecrets": []any{"sql"}},
			[]string{"volume outpost/outpost-data holds data and would be deleted"},
		},
		{
			"no key any more",
			map[string]any{"rotation.cryptKey": "3"},
			[]string{"outposts:outpost.rotation.cryptKey: ", "is missing: outpost/outpost-data is sealed with it"},
		},
	} {
		before := s.read(t, "remote")
		for key, value := range tt.outpost {
			path := []any{"outposts:outpost"}
			for part := range strings.SplitSeq(key, ".") {
				path = append(path, part)
			}
			s.set(t, "remote", value, path...)
		}
		s.refused(t, "remote", tt.want...)
		s.write(t, "remote", before)
	}
	before := s.urns(t, "remote")
	if out, _, err := s.try(t, "remote", "destroy", "--yes", "--non-interactive"); err == nil ||
		!strings.Contains(out, "protected") {
		t.Errorf("destroy without a word on the data: %v\n%s", err, out)
	}
	if diff := cmp.Diff(before, s.urns(t, "remote")); diff != "" {
		t.Errorf("destroy without a word on the data has changed something (-before +after):\n%s", diff)
	}

	u := s.user(t)
	u.stop(t, servers["local"])
	volumes := func() map[string]string {
		all := deployed.Claims(t, s.hub.API, deployed.HubNamespace)
		maps.Copy(all, deployed.Claims(t, s.hub.API, deployed.OutpostNamespace))
		for _, namespace := range []string{deployed.OutpostNamespace, deployed.ServerNamespace} {
			for name, uid := range deployed.Claims(t, s.remote.API, namespace) {
				all["remote "+name] = uid
			}
		}
		return all
	}
	old := volumes()
	// A user's home is nothing that a stack knows of.
	want := []string{"hub-db-dir", "outpost-data", "remote claim-jupyterhub--outpost-verify", "remote outpost-data"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(old))); diff != "" {
		t.Fatalf("volumes (-want +got):\n%s", diff)
	}
	s.destroyed(t, "--exclude-protected")
	for namespace, c := range map[string]cluster{deployed.HubNamespace: s.hub, deployed.OutpostNamespace: s.remote} {
		if left, err := c.API.AppsV1().Deployments(namespace).List(t.Context(), metav1.ListOptions{}); err != nil ||
			len(left.Items) > 0 {
			t.Errorf("destroy left %d deployments in %s, %v", len(left.Items), namespace, err)
		}
	}
	s.killed(t, "local", 1+rand.IntN(40))
	for _, stack := range []string{"local", "remote"} {
		compared(t, "up of "+stack+" with claims that are there", s.up(t, stack), s.firstUp[stack])
	}
	if diff := cmp.Diff(old, volumes()); diff != "" {
		t.Errorf("the volumes are other ones (-want +got):\n%s", diff)
	}
	for _, stack := range []string{"local", "remote"} {
		s.unchanged(t, stack)
	}
	remote := s.system(t, "remote")
	remote.answersPinned(t)
	if err := remote.login().running(t.Context()); err != nil {
		t.Errorf("the server that ran before: %v", err)
	}
	// The hub's own database knows it too; the token that asks is a new one.
	again := s.user(t)
	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	if err := again.WaitReachable(ctx, again.name, servers["remote"]); err != nil {
		t.Errorf("the server that ran before: %v", err)
	}
	again.stop(t, servers["remote"])
}

// destroyAll takes both stacks away with their data, which config must allow first.
func destroyAll(t *testing.T, s *site) {
	s.set(t, "local", []any{"jupyter/*", "outpost/*", "outpost-servers/*"}, "outposts:allowDataLoss")
	s.set(t, "remote", []any{"outpost/*", "outpost-servers/*"}, "outposts:allowDataLoss")
	s.up(t, "local")
	s.up(t, "remote")
	s.destroyed(t)
	for _, stack := range []string{"local", "remote"} {
		if left := s.urns(t, stack); len(left) > 0 {
			t.Errorf("the state of %s has left: %v", stack, left)
		}
	}
	s.gone(t, s.hub, deployed.HubNamespace, deployed.OutpostNamespace, deployed.ServerNamespace)
	s.gone(t, s.remote, deployed.OutpostNamespace, deployed.ServerNamespace)
	for _, c := range []cluster{s.hub, s.remote} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		err := deployed.Eventually(ctx, func(ctx context.Context) error { // they go after their claims
			volumes, err := c.API.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			for _, volume := range volumes.Items {
				if of := volume.Spec.ClaimRef; of == nil || of.Namespace != "python" {
					return fmt.Errorf("%s has left volume %s of %+v", c.context, volume.Name, of)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// gone waits until namespaces of a cluster are gone.
func (s *site) gone(t *testing.T, c cluster, namespaces ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := c.Gone(ctx, namespaces...); err != nil {
		t.Errorf("%s: %v", c.context, err)
	}
}
