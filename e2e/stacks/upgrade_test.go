//go:build e2e

package stacks

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// upgrade brings the next version of the charts and larger claims, once more with a kill in between, after which
// nothing is left to do. Neither takes longer than what is without it: an up that only restarts the same pods, and the
// upgrade that nobody kills. Claims of the hub's cluster bind late, and nothing there makes a volume larger: an up that
// waited for it would never end. E2E_KILLS is how many are killed, each at another moment; one without it.
func upgrade(t *testing.T, s *site) {
	kills, err := strconv.Atoi(cmp.Or(os.Getenv("E2E_KILLS"), "1"))
	if err != nil || kills < 1 {
		t.Fatalf("E2E_KILLS: want a number from 1, is %q", os.Getenv("E2E_KILLS"))
	}
	u, pods := s.user(t), s.serverPods(t)
	s.kubectl(t, s.hub, "", "patch", "storageclass", "late", "--patch", `{"allowVolumeExpansion": true}`)
	s.ownCharts(t)
	s.restart(t, 0)
	_, restart := s.rolledOut(t)
	round, begins, took := 0, 0, time.Duration(0)
	next := func() {
		round++
		s.restart(t, round)
		s.upgraded(t, round)
	}
	whole := func() {
		next()
		begins, took = s.rolledOut(t)
		compared(t, fmt.Sprintf("upgrade with larger claims, in %d steps", begins), took, restart)
	}
	whole()
	for i := range kills {
		if i%5 == 4 { // the machine may be another one by now
			whole()
		}
		next()
		if s.killed(t, "local", 1+(i*begins+rand.IntN(begins))/kills) {
			_, continued := s.rolledOut(t)
			compared(t, "the same, continued", continued, took)
			s.pulumi(t, "local", "preview", "--refresh", "--expect-no-changes", "--non-interactive")
		}
	}
	u.survive(t, s, pods)
}

// rolledOut applies the hub's stack, and holds that the pods are then those that it wants. It returns how many steps
// Pulumi began, and how long all took.
func (s *site) rolledOut(t *testing.T) (steps int, took time.Duration) {
	t.Helper()
	began := time.Now()
	out, _ := s.pulumi(t, "local", upArgs...)
	took = time.Since(began)
	for _, of := range []struct{ namespace, deployment string }{
		{deployed.HubNamespace, "outposts-hub-tunnels"},
		{deployed.HubNamespace, "hub"},
		{deployed.HubNamespace, "proxy"},
		{deployed.OutpostNamespace, "outpost"},
	} {
		if err := s.hub.IsRolledOut(t.Context(), of.namespace, of.deployment); err != nil {
			t.Errorf("up is over, but %v", err)
		}
	}
	return begun(out), took
}

// ownCharts gives the project copies of the charts, for it to change.
func (s *site) ownCharts(t *testing.T) {
	t.Helper()
	charts := filepath.Join(s.dir, "charts")
	if err := os.Remove(charts); err != nil { // the link to those of the checkout
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(s.root, "infra"), filepath.Join(s.dir, "infra")); err != nil {
		t.Fatal(err) // to which the module of outposts-hub is a link
	}
	for name, from := range map[string]string{
		"outpost": "charts/outpost", "outposts-hub": "charts/outposts-hub", "hub": "e2e/charts/hub",
	} {
		if err := os.CopyFS(filepath.Join(charts, name), os.DirFS(filepath.Join(s.root, from))); err != nil {
			t.Fatal(err)
		}
	}
	s.set(t, "local", "charts/hub", "outposts:hub", "chart", "path")
}

// restart has the pods of hub, proxy and outpost made anew by the next up.
func (s *site) restart(t *testing.T, round int) {
	t.Helper()
	annotation := map[string]any{"outposts.dev/round": strconv.Itoa(round)}
	for _, path := range [][]any{
		{"outposts:hub", "values", "hub", "annotations"},
		{"outposts:hub", "values", "proxy", "annotations"},
		{"outposts:outpost", "values", "podAnnotations"},
	} {
		s.set(t, "local", annotation, path...)
	}
}

var patchVersion = regexp.MustCompile(`(?m)^(version: \d+\.\d+)\.\d+$`)

// upgraded gives the charts another patch version, and claims that are larger with each.
func (s *site) upgraded(t *testing.T, patch int) {
	t.Helper()
	for _, chart := range []string{"outpost", "outposts-hub", "hub"} {
		file := filepath.Join(s.dir, "charts", chart, "Chart.yaml")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = patchVersion.ReplaceAll(text, fmt.Appendf(nil, "${1}.%d", patch))
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	size := fmt.Sprintf("%dMi", 2048+patch)
	s.set(t, "local", size, "outposts:hub", "values", "hub", "db", "pvc", "storage")
	s.set(t, "local", size, "outposts:outpost", "persistence", "size")
}
