//go:build e2e

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// site is two clusters of this test alone, and a project folder with stacks for them.
type site struct {
	dir, kubeconfig string
	nodes           map[string]string // context to address of the node
	env             []string
}

// Contexts of the two clusters.
const (
	hubCluster    = "stacks-a"
	remoteCluster = "stacks-b"
)

// newSite brings up two clusters beside those that are there, and takes them away with their data at the end.
func newSite(t *testing.T) *site {
	t.Helper()
	root := projectRoot(t)
	s := &site{dir: t.TempDir(), nodes: map[string]string{}}
	s.kubeconfig = filepath.Join(s.dir, "kubeconfig")
	down := func(ctx context.Context) {
		if out, err := command(ctx, t, root, nil, "dev/run", "clusters", "down", "--purge", hubCluster, remoteCluster); err != nil {
			t.Errorf("clusters down: %v\n%s", err, out)
		}
	}
	if os.Getenv("KEEP_CLUSTERS") == "" {
		down(t.Context()) // what a killed run left
	}
	t.Cleanup(func() {
		if os.Getenv("KEEP_CLUSTERS") == "" {
			down(context.Background())
		}
	})
	if out, err := command(t.Context(), t, root, nil, "dev/run", "clusters", "up", hubCluster, remoteCluster, "--kubeconfig", s.kubeconfig); err != nil {
		t.Fatalf("clusters up: %v\n%s", err, out)
	}
	for _, name := range []string{hubCluster, remoteCluster} {
		out := s.kubectl(t, name, "get", "nodes", "-o", `jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}`)
		s.nodes[name] = strings.TrimSpace(out)
	}
	if out, err := command(t.Context(), t, root, nil, "go", "build", "-o", filepath.Join(s.dir, "program"), "./stacks"); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, link := range []string{"charts", "e2e"} {
		if err := os.Symlink(filepath.Join(root, link), filepath.Join(s.dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"stacks", "state"} {
		if err := os.Mkdir(filepath.Join(s.dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.write(t, "Pulumi.yaml", "name: outposts\nmain: ./stacks\nruntime: {name: go, options: {binary: ../program}}\n")
	s.env = append(os.Environ(), "PULUMI_BACKEND_URL=file://"+filepath.Join(s.dir, "state"), "PULUMI_CONFIG_PASSPHRASE=")
	return s
}

func (s *site) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// edit replaces texts in a stack file; a text that is not there fails the test.
func (s *site) edit(t *testing.T, stack string, oldnew ...string) {
	t.Helper()
	path := filepath.Join(s.dir, "Pulumi."+stack+".yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(oldnew); i += 2 {
		if !bytes.Contains(text, []byte(oldnew[i])) {
			t.Fatalf("%s does not have %q:\n%s", path, oldnew[i], text)
		}
		text = bytes.ReplaceAll(text, []byte(oldnew[i]), []byte(oldnew[i+1]))
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// command runs a program of the checkout and returns what it says on both streams.
func command(ctx context.Context, t *testing.T, dir string, env []string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, env
	if strings.HasPrefix(args[0], "dev/") {
		cmd.Path, cmd.Err = filepath.Join(projectRoot(t), args[0]), nil
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// kubectl asks a cluster; an error fails the test.
func (s *site) kubectl(t *testing.T, cluster string, args ...string) string {
	t.Helper()
	all := append([]string{"dev/run", "kubectl", "--kubeconfig", s.kubeconfig, "--context", cluster}, args...)
	out, err := command(t.Context(), t, projectRoot(t), nil, all...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// tryPulumi runs Pulumi on a stack.
func (s *site) tryPulumi(t *testing.T, stack string, args ...string) (string, time.Duration, error) {
	t.Helper()
	all := append([]string{"dev/run", "pulumi"}, args...)
	all = append(all, "-s", stack)
	began := time.Now()
	out, err := command(t.Context(), t, s.dir, s.env, all...)
	return out, time.Since(began), err
}

// pulumi runs Pulumi on a stack; an error fails the test.
func (s *site) pulumi(t *testing.T, stack string, args ...string) (string, time.Duration) {
	t.Helper()
	out, took, err := s.tryPulumi(t, stack, args...)
	if err != nil {
		t.Fatalf("pulumi %s on %s: %v\n%s", strings.Join(args, " "), stack, err, out)
	}
	return out, took
}

// up applies a stack within a limit and returns what Pulumi said.
func (s *site) up(t *testing.T, stack string, limit time.Duration) string {
	t.Helper()
	out, took := s.pulumi(t, stack, "up", "--yes", "--skip-preview", "--non-interactive")
	t.Logf("up of %s took %s", stack, took.Round(10*time.Millisecond))
	if took > patience(limit) {
		t.Errorf("up of %s took %s, want at most %s on a machine of its own", stack, took, limit)
	}
	return out
}

// upFails applies a stack that must be refused, with a text in the message and nothing changed.
func (s *site) upFails(t *testing.T, stack, want string) {
	t.Helper()
	before := s.export(t, stack, false)
	out, _, err := s.tryPulumi(t, stack, "up", "--yes", "--skip-preview", "--non-interactive")
	if err == nil {
		t.Fatalf("up of %s was not refused:\n%s", stack, out)
	}
	if !strings.Contains(out, want) {
		t.Errorf("up of %s does not say %q:\n%s", stack, want, out)
	}
	if diff := cmp.Diff(resourcesOf(t, before), resourcesOf(t, s.export(t, stack, false))); diff != "" {
		t.Errorf("up of %s was refused but changed something (-before +after):\n%s", stack, diff)
	}
}

// export is the stack's state.
func (s *site) export(t *testing.T, stack string, showSecrets bool) string {
	t.Helper()
	args := []string{"stack", "export"}
	if showSecrets {
		args = append(args, "--show-secrets")
	}
	out, _ := s.pulumi(t, stack, args...)
	return out
}

// resourcesOf lists the URNs of a state, without what stands for the stack itself.
func resourcesOf(t *testing.T, export string) string {
	t.Helper()
	var urns []string
	for _, r := range readExport(t, export).Deployment.Resources {
		if r.Type != "pulumi:pulumi:Stack" && r.Type != "pulumi:providers:pulumi" {
			urns = append(urns, r.URN)
		}
	}
	return strings.Join(urns, "\n")
}

type exported struct {
	Deployment struct {
		Resources []struct {
			URN, Type string
			Outputs   map[string]any
		}
	}
}

func readExport(t *testing.T, export string) exported {
	t.Helper()
	var e exported
	if err := json.Unmarshal([]byte(export), &e); err != nil {
		t.Fatalf("stack export: %v", err)
	}
	return e
}

// output is one output of a stack, decoded, secrets shown.
func (s *site) output(t *testing.T, stack, name string, into any) {
	t.Helper()
	out, _ := s.pulumi(t, stack, "stack", "output", name, "--json", "--show-secrets")
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("output %s of %s: %v\n%s", name, stack, err, out)
	}
}

var count = regexp.MustCompile(`(?m)^ +([-+~]|\+-) +(\d+ \w+)`)

// changes are the counts that Pulumi ends with ("+ 3 created"), without what is unchanged.
func changes(out string) string {
	_, resources, _ := strings.Cut(out, "\nResources:")
	var all []string
	for _, found := range count.FindAllStringSubmatch(resources, -1) {
		all = append(all, found[2])
	}
	return strings.Join(all, ", ")
}

// unchanged holds that a run changes nothing, and that the fastest of up to three is within a limit: others may be
// using the machine.
func (s *site) unchanged(t *testing.T, stack, what string, limit time.Duration) {
	t.Helper()
	args := []string{what, "--non-interactive"}
	if what == "up" {
		args = append(args, "--yes", "--skip-preview")
	}
	var took time.Duration
	for range 3 {
		var out string
		out, took = s.pulumi(t, stack, args...)
		t.Logf("%s of %s without change took %s", what, stack, took.Round(10*time.Millisecond))
		if counts := changes(out); counts != "" {
			t.Errorf("%s of %s changes something: %s\n%s", what, stack, counts, out)
			return
		}
		if took <= patience(limit) {
			return
		}
	}
	t.Errorf("%s of %s took %s, want at most %s on a machine of its own", what, stack, took, limit)
}

// patience is how much longer than alone a run may take while others use the machine: the processes that want to run
// for each core, at least one.
func patience(limit time.Duration) time.Duration {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return limit
	}
	var load float64
	if _, err := fmt.Sscan(string(text), &load); err != nil {
		return limit
	}
	return time.Duration(float64(limit) * max(1, load/float64(runtime.NumCPU())))
}

// killed starts an up and kills Pulumi, its providers and the program after a while, as a lost machine would.
func (s *site) killed(t *testing.T, stack string, after time.Duration) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(projectRoot(t), "dev/run"), "pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "-s", stack)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		t.Logf("up of %s ended before it could be killed: %v", stack, err)
		return
	case <-time.After(after):
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // gone is as good
	<-done
	s.pulumi(t, stack, "cancel", "--yes")
	t.Logf("up of %s killed after %s", stack, after)
}

// stackFiles are the two stacks of the tests, made from the committed ones: other clusters, smaller images' names kept.
func (s *site) stackFiles(t *testing.T) {
	t.Helper()
	for stack, cluster := range map[string]string{"local": hubCluster, "remote": remoteCluster} {
		text, err := os.ReadFile(filepath.Join(projectRoot(t), "Pulumi."+stack+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		s.write(t, "Pulumi."+stack+".yaml", string(text))
		s.edit(t, stack, ".state/kubeconfig", s.kubeconfig, "context: "+stack, "context: "+cluster)
		s.pulumi(t, stack, "stack", "init")
	}
	s.edit(t, "local", "10.77.0.2", s.nodes[hubCluster], "10.77.0.3", s.nodes[remoteCluster])
}
