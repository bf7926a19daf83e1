//go:build e2e

package stacks

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// patience is how long one run of Pulumi may take before the test gives up on it, on whatever machine.
const patience = 5 * time.Minute

// What one hopes for, of a machine that does nothing else; it is printed beside what was measured.
const (
	aimFirstUp   = 60 * time.Second
	aimNoOpUp    = 5 * time.Second
	aimNoPreview = 3 * time.Second
	aimTimes     = 1.3 // an up with a change or after a kill, in times of that without
)

// upArgs apply a stack as people do, with a preview before it.
var upArgs = []string{"up", "--yes", "--non-interactive"}

// command is Pulumi on a stack.
func (s *site) command(ctx context.Context, stack string, args ...string) *exec.Cmd {
	pulumi := []string{filepath.Join(s.root, "dev", "run"), "pulumi"}
	line := slices.Concat(s.within, pulumi, args, []string{"-s", stack})
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Dir, cmd.Env = s.dir, s.env
	return cmd
}

// try runs Pulumi on a stack and returns what it says on both streams.
func (s *site) try(t *testing.T, stack string, args ...string) (string, time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	out, err := s.command(ctx, stack, args...).CombinedOutput()
	return string(out), time.Since(began), err
}

// pulumi runs Pulumi on a stack; an error fails the test.
func (s *site) pulumi(t *testing.T, stack string, args ...string) (string, time.Duration) {
	t.Helper()
	out, took, err := s.try(t, stack, args...)
	if err != nil {
		t.Fatalf("pulumi %s on %s: %v\n%s", strings.Join(args, " "), stack, err, out)
	}
	return out, took
}

// setSecret sets a secret in a stack's config, by standard input: a command line is seen by everybody, and by who reads
// why it failed.
func (s *site) setSecret(t *testing.T, stack, key, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := s.command(ctx, stack, "config", "set", "--secret", "--path", key)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("set %s of stack %s: %v\n%s", key, stack, err, out)
	}
}

// ask runs Pulumi on a stack for what it prints, without what it complains about.
func (s *site) ask(t *testing.T, stack string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := s.command(ctx, stack, args...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("pulumi %s on %s: %v\n%s", strings.Join(args, " "), stack, err, &complaint)
	}
	return string(out)
}

// up applies a stack.
func (s *site) up(t *testing.T, stack string) time.Duration {
	t.Helper()
	_, took := s.pulumi(t, stack, upArgs...)
	t.Logf("up of %s: %.1f s", stack, took.Seconds())
	return took
}

// refused holds that an up ends with a text in the message, and that nothing was changed.
func (s *site) refused(t *testing.T, stack string, want ...string) {
	t.Helper()
	before := s.urns(t, stack)
	out, _, err := s.try(t, stack, upArgs...)
	if err == nil {
		t.Fatalf("up of %s was not refused:\n%s", stack, out)
	}
	for _, text := range want {
		if !strings.Contains(out, text) {
			t.Errorf("up of %s does not say %q:\n%s", stack, text, out)
		}
	}
	if diff := cmp.Diff(before, s.urns(t, stack)); diff != "" {
		t.Errorf("up of %s was refused but changed something (-before +after):\n%s", stack, diff)
	}
}

// unchanged holds that an up of a stack, with its preview, changes nothing.
func (s *site) unchanged(t *testing.T, stack string) {
	t.Helper()
	_, took := s.pulumi(t, stack, append(upArgs, "--expect-no-changes")...)
	t.Logf("up of %s without change: %.1f s (aim %.0f s)", stack, took.Seconds(), aimNoOpUp.Seconds())
}

// killed starts an up and kills Pulumi, its providers and the program, as a lost machine would, when they have said
// that many times that a resource is being made, changed or taken away. It returns false if the up was over before.
func (s *site) killed(t *testing.T, stack string, at int) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := s.command(ctx, stack, upArgs...)
	endsWhole(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, seen := bufio.NewScanner(out), 0
	for seen < at && lines.Scan() {
		seen += begun(lines.Text())
	}
	if seen < at {
		if err := cmd.Wait(); err != nil {
			t.Fatalf("up of %s failed after %d steps: %v", stack, seen, err)
		}
		t.Logf("up of %s was over after %d steps", stack, seen)
		return false
	}
	_ = cmd.Process.Kill() // gone is as good
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	s.pulumi(t, stack, "cancel", "--yes")
	t.Logf("up of %s killed at step %d", stack, at)
	return true
}

// killedAfter starts an up and kills it as killed does, when f returns. The context of f ends with the up.
func (s *site) killedAfter(t *testing.T, stack string, f func(context.Context)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := s.command(ctx, stack, upArgs...)
	endsWhole(cmd)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed, or f fails
		cancel()
		close(ended)
	}()
	defer func() {
		early := ctx.Err() != nil
		_ = cmd.Process.Kill() // gone is as good
		<-ended
		if early || t.Failed() {
			t.Errorf("up of %s said:\n%s", stack, &out)
		}
		s.pulumi(t, stack, "cancel", "--yes")
	}()
	f(ctx)
}

// endsWhole lets all that a command starts end with it, as on a machine that is lost: what runs in a namespace of
// processes ends with the first of them.
func endsWhole(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
}

// begun is how many resources Pulumi says that it begins to make, change or take away.
func begun(said string) int { return strings.Count(said, "ing (0s)") }

// compared prints how long an up took beside another one, and what one hopes for. Only where kills were asked for, on a
// machine that does nothing else, more is a failure.
func compared(t *testing.T, what string, took, other time.Duration) {
	t.Helper()
	times := took.Seconds() / other.Seconds()
	t.Logf("%s: %.1f s, %.2f times %.1f s (aim %.1f)", what, took.Seconds(), times, other.Seconds(), aimTimes)
	if times > aimTimes && os.Getenv("E2E_KILLS") != "" {
		t.Errorf("%s took more than %.1f times as long", what, aimTimes)
	}
}

// urns are the names of what a stack has made, read where the backend keeps them.
func (s *site) urns(t *testing.T, stack string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, ".state", "pulumi", ".pulumi", "stacks", "outposts", stack+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var kept struct {
		Checkpoint struct {
			Latest struct{ Resources []resource }
		}
	}
	if err := json.Unmarshal(text, &kept); err != nil {
		t.Fatalf("state of %s: %v", stack, err)
	}
	var all []string
	for _, r := range kept.Checkpoint.Latest.Resources {
		if !r.standsForStack() {
			all = append(all, r.URN)
		}
	}
	return all
}

// resource is one of a stack's state, as far as these tests look at it.
type resource struct {
	URN, Type string
	Outputs   map[string]any
}

// standsForStack reports whether a resource is not the program's, but Pulumi's own note of the stack.
func (r resource) standsForStack() bool {
	return r.Type == "pulumi:pulumi:Stack" || r.Type == "pulumi:providers:pulumi"
}

// exportText is what `pulumi stack export` prints.
func (s *site) exportText(t *testing.T, stack string, showSecrets bool) string {
	t.Helper()
	args := []string{"stack", "export"}
	if showSecrets {
		args = append(args, "--show-secrets")
	}
	return s.ask(t, stack, args...)
}

// export is a stack's resources, secrets shown.
func (s *site) export(t *testing.T, stack string) []resource {
	t.Helper()
	var read struct {
		Deployment struct{ Resources []resource }
	}
	if err := json.Unmarshal([]byte(s.exportText(t, stack, true)), &read); err != nil {
		t.Fatalf("stack export: %v", err)
	}
	return slices.DeleteFunc(read.Deployment.Resources, resource.standsForStack)
}

// touched holds that between two states nothing has changed but resources of some components.
func touched(t *testing.T, before, after []resource, components ...string) {
	t.Helper()
	byURN := func(all []resource) map[string]map[string]any {
		made := map[string]map[string]any{}
		for _, r := range all {
			made[r.URN] = r.Outputs
		}
		return made
	}
	was, is := byURN(before), byURN(after)
	allowed := func(urn string) bool {
		name := urn[strings.LastIndex(urn, "::")+2:]
		for _, c := range components {
			if name == c || strings.HasPrefix(name, c+"-") || strings.HasPrefix(name, c+":") {
				return true
			}
		}
		return false
	}
	for urn, outputs := range is {
		if old, there := was[urn]; (!there || !cmp.Equal(old, outputs)) && !allowed(urn) {
			t.Errorf("touched: %s", urn)
		}
	}
	for urn := range was {
		if _, there := is[urn]; !there && !allowed(urn) {
			t.Errorf("taken away: %s", urn)
		}
	}
}

// output is one output of a stack, decoded, secrets shown.
func (s *site) output(t *testing.T, stack, name string, into any) {
	t.Helper()
	out := s.ask(t, stack, "stack", "output", name, "--json", "--show-secrets")
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("output %s of %s: %v\n%s", name, stack, err, out)
	}
}
