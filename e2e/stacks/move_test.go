//go:build e2e

package stacks

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// kernelRunsOn renames the remote system. A kernel there runs through it, and no stack has anything left to do.
func kernelRunsOn(t *testing.T, s *site) {
	const server = "runs-on"
	u := s.user(t)
	if err := u.EnsureUser(t.Context(), u.name); err != nil {
		t.Fatal(err)
	}
	u.start(t, server, "remote", "small")
	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	kernel, err := u.OpenWitness(ctx, u.name, server)
	if err != nil {
		t.Fatal(err)
	}
	s.renamed(t)
	if err := kernel.Knows(ctx); err != nil {
		t.Fatal(err)
	}
	u.stop(t, server)
}

// renamed gives the remote system another name. Its secrets stay.
func (s *site) renamed(t *testing.T) {
	t.Helper()
	before := s.system(t, "remote")
	s.set(t, "local", "north", "outposts:outposts", 1, "name")
	s.set(t, "local", []any{"remote"}, "outposts:outposts", 1, "formerNames")
	s.up(t, "local")
	if diff := cmp.Diff(before, s.system(t, "north")); diff != "" {
		t.Errorf("the renamed system (-before +after):\n%s", diff)
	}
	s.settled(t)
}

// settled holds that a preview of each stack is empty.
func (s *site) settled(t *testing.T) {
	t.Helper()
	for _, stack := range []string{"local", "remote"} {
		s.pulumi(t, stack, "preview", "--non-interactive", "--expect-no-changes")
	}
}
