//go:build e2e

package stacks

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// Contexts of the two clusters of this test.
const (
	hubContext    = "stacks-a"
	remoteContext = "stacks-b"
)

// site is two clusters of this test alone, and a project folder with stacks for them.
type site struct {
	root       string // of the checkout
	dir        string // the project: Pulumi.yaml and Pulumi.<stack>.yaml, the backend, the program
	kubeconfig string
	own        deployed.OwnClusters
	env        []string // of Pulumi
	within     []string // the command by which Pulumi runs elsewhere; empty for here
	hub        cluster
	remote     cluster
	firstUp    map[string]time.Duration // how long the first up of a stack took
}

// cluster is one of the two.
type cluster struct {
	deployed.Cluster
	context string
	node    string // its address
	// balancer has the first three numbers, and the dot, of the addresses that Services of type LoadBalancer get.
	balancer string
}

// newSite brings up two clusters beside the existing ones, and removes them with their data at the end. The
// project has what a checkout has, as far as Pulumi needs it: its stacks are the committed ones at other addresses.
func newSite(t *testing.T) *site {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{root: root, dir: t.TempDir(), firstUp: map[string]time.Duration{}}
	s.kubeconfig = filepath.Join(s.dir, ".state", "kubeconfig")
	s.own = deployed.NewClusters(t, root, s.kubeconfig, hubContext, remoteContext)
	s.hub, s.remote = s.open(t, hubContext), s.open(t, remoteContext)
	s.project(t)
	return s
}

// clusters runs the runner of the local clusters.
func (s *site) clusters(t *testing.T, args ...string) string { return s.own.Run(t, args...) }

// report is that of a cluster, which has to be there.
func (s *site) report(t *testing.T, name string) deployed.Report { return s.own.Report(t, name) }

func (s *site) open(t *testing.T, name string) cluster {
	t.Helper()
	r := s.report(t, name)
	return cluster{
		Cluster: deployed.OpenCluster(t, s.kubeconfig, name), context: name,
		node: r.Node, balancer: r.LoadBalancers[:strings.LastIndex(r.LoadBalancers, ".")+1],
	}
}

// kubectl runs kubectl on a cluster; an error fails the test.
func (s *site) kubectl(t *testing.T, c cluster, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.root, "dev", "run"),
		append([]string{"kubectl", "--kubeconfig", s.kubeconfig, "--context", c.context}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s%s", strings.Join(args, " "), err, out, &complaint)
	}
	return string(out)
}

// project makes the folder that Pulumi runs in.
func (s *site) project(t *testing.T) {
	t.Helper()
	s.env = deployed.Project(t, s.root, s.dir)
	for stack, at := range map[string]string{"local": hubContext, "remote": remoteContext} {
		text, err := os.ReadFile(filepath.Join(s.root, "Pulumi."+stack+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		s.write(t, stack, string(text))
		s.set(t, stack, at, "outposts:cluster", "context")
	}
	s.set(t, "local", "http://"+s.hub.node+":30000", "outposts:hub", "url")
	s.set(t, "local", s.remote.node, "outposts:outposts", 1, "address")
	for _, stack := range []string{"local", "remote"} {
		s.pulumi(t, stack, "stack", "init")
	}
}

func (s *site) file(stack string) string { return filepath.Join(s.dir, "Pulumi."+stack+".yaml") }

func (s *site) write(t *testing.T, stack, text string) {
	t.Helper()
	if err := os.WriteFile(s.file(stack), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s *site) read(t *testing.T, stack string) string {
	t.Helper()
	text, err := os.ReadFile(s.file(stack))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// set puts a value at a place in a stack's file, as `pulumi config set --path` would: a key of config, then names in
// maps and numbers in lists, where the next free number adds. A value of nil removes the key.
func (s *site) set(t *testing.T, stack string, value any, path ...any) {
	t.Helper()
	var file map[string]any
	if err := yaml.Unmarshal([]byte(s.read(t, stack)), &file); err != nil {
		t.Fatal(err)
	}
	file["config"] = placed(t, file["config"], value, path)
	text, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, stack, string(text))
}

// placed returns what is in, with a value at a place.
func placed(t *testing.T, in, value any, path []any) any {
	t.Helper()
	if len(path) == 0 {
		return value
	}
	switch at := path[0].(type) {
	case string:
		made, _ := in.(map[string]any)
		if made == nil {
			made = map[string]any{}
		}
		if made[at] = placed(t, made[at], value, path[1:]); made[at] == nil {
			delete(made, at)
		}
		return made
	case int:
		made, _ := in.([]any)
		if at == len(made) {
			made = append(made, nil)
		}
		if made[at] = placed(t, made[at], value, path[1:]); made[at] == nil {
			made = slices.Delete(made, at, at+1)
		}
		return made
	}
	t.Fatalf("no place in config: %v", path)
	return nil
}
