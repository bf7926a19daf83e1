//go:build e2e

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/infra/infratest"
)

// TestE2ERename holds what is previewed when a system of the hub gets another name, on both stacks, of states that
// other versions of the program have made: no secret is another one, and the remote stack has nothing to do, whichever
// of the two names it knows.
func TestE2ERename(t *testing.T) {
	e := newEngine(t)
	var b strings.Builder
	show := func(stack, title string) {
		b.WriteString("== " + title + ": " + stack + "\n" + e.preview(t, stack) + "\n")
	}
	for _, stack := range []string{"local", "remote"} {
		e.adopt(t, stack)
		e.up(t, stack)
	}
	before := map[string]map[string]any{"local": e.secrets(t, "local"), "remote": e.secrets(t, "remote")}
	e.set(t, "local", "outposts.1.name", "north")
	e.set(t, "local", "outposts.1.formerNames", "[remote]")
	show("local", "another name")
	e.up(t, "local")
	show("local", "once more")
	show("remote", "by the former name")
	e.set(t, "remote", "outpost.name", "north")
	show("remote", "by the new name")
	e.up(t, "remote")
	auth, _ := before["local"]["hub-auth"].(map[string]any)
	auth["north"] = auth["remote"]
	for _, stack := range []string{"local", "remote"} {
		if diff := cmp.Diff(before[stack], e.secrets(t, stack)); diff != "" {
			t.Errorf("%s: secrets (-before +after):\n%s", stack, diff)
		}
	}
	e.set(t, "local", "outposts.1.formerNames", "-")
	show("local", "without the former name")
	e.up(t, "local")
	show("remote", "without the former name")
	infratest.Golden(t, "rename.golden.txt", []byte(b.String()))
}
