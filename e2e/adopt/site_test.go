//go:build e2e

package adopt

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

const (
	stack   = "adopt"
	hubPort = 30700
)

// site is a cluster, namespaces in it that are this test's alone, and a project folder with one stack.
type site struct {
	deployed.Cluster
	root, dir           string
	kubeconfig, context string
	node                string
	namespace           string // that is taken over
	env                 []string
}

// newSite makes the project folder. The namespaces, the first of which is taken over, are deleted at the end, and
// before if a killed run has left them.
func newSite(t *testing.T, namespaces ...string) *site {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{
		root: root, dir: t.TempDir(), namespace: namespaces[0], context: cmp.Or(os.Getenv("E2E_CONTEXT"), "local"),
		kubeconfig: cmp.Or(os.Getenv("OUTPOSTS_KUBECONFIG"), filepath.Join(root, ".state", "kubeconfig")),
	}
	deployed.NeedsClusters(t, s.kubeconfig)
	s.Cluster = deployed.OpenCluster(t, s.kubeconfig, s.context)
	s.node = deployed.Node(t, s.API)
	s.Without(t, namespaces...)
	t.Cleanup(func() { s.Without(t, namespaces...) })
	s.env = deployed.Project(t, root, s.dir)
	return s
}

func (s *site) hubURL() string { return fmt.Sprintf("http://%s:%d", s.node, hubPort) }

// committed is the config of a committed stack.
func (s *site) committed(t *testing.T, stack string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.root, "Pulumi."+stack+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Config map[string]any `json:"config"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	return file.Config
}

// write makes the stack.
func (s *site) write(t *testing.T, config map[string]any) {
	t.Helper()
	cluster := map[string]any{"kubeconfig": s.kubeconfig, "context": s.context}
	config = deployed.Merge(config, map[string]any{"outposts:cluster": cluster})
	s.save(t, map[string]any{"config": config})
	s.pulumi(t, "stack", "init")
}

// adopt puts the namespaces that the stack takes over into its file.
func (s *site) adopt(t *testing.T, namespaces ...string) {
	t.Helper()
	text, err := os.ReadFile(s.file())
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	file["config"].(map[string]any)["outposts:adopt"] = append([]string{}, namespaces...) // an empty list, not null
	s.save(t, file)
}

func (s *site) file() string { return filepath.Join(s.dir, "Pulumi."+stack+".yaml") }

func (s *site) save(t *testing.T, file map[string]any) {
	t.Helper()
	text, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.file(), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// try runs Pulumi on the stack and returns what it says.
func (s *site) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.root, "dev", "run"),
		append(append([]string{"pulumi"}, args...), "--non-interactive", "-s", stack)...)
	cmd.Dir, cmd.Env = s.dir, s.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *site) pulumi(t *testing.T, args ...string) {
	t.Helper()
	began := time.Now()
	if out, err := s.try(t, args...); err != nil {
		t.Fatalf("pulumi %s: %v\n%s", args[0], err, out)
	}
	t.Logf("pulumi %s: %.1f s", args[0], time.Since(began).Seconds())
}

// kubectl runs kubectl in the namespace that is taken over.
func (s *site) kubectl(t *testing.T, stdin string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.root, "dev", "run"), append([]string{
		"kubectl", "--kubeconfig", s.kubeconfig, "--context", s.context, "-n", s.namespace,
	}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// refused holds that an up ends with all of these texts.
func (s *site) refused(t *testing.T, want ...string) {
	t.Helper()
	out, err := s.try(t, "up", "--yes")
	if err == nil {
		t.Fatalf("not refused:\n%s", out)
	}
	for _, text := range want {
		if !strings.Contains(out, text) {
			t.Errorf("does not say %q:\n%s", text, out)
		}
	}
}
