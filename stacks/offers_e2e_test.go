//go:build e2e

package main

import (
	"strings"
	"testing"
)

// TestE2EFlavorsDeclaredTwice holds that previews and ups show in what flavors of the hub's stack differ from those of
// an outpost, in the stack of that outpost, and that the committed stacks declare none in two ways.
func TestE2EFlavorsDeclaredTwice(t *testing.T) {
	e := newEngine(t)
	check := func(stack, text string, want bool) {
		t.Helper()
		for _, command := range [][]string{{"preview"}, {"up", "--yes"}} {
			said := e.run(t, stack, command...)
			if strings.Contains(said, text) != want {
				t.Errorf("%s of %s: want %v for %q in\n%s", command[0], stack, want, text, said)
			}
		}
	}
	check("local", "flavors differs from", false)
	check("remote", "flavors differs from", false)
	e.set(t, "local", "outposts.0.flavors", "[{name: huge}]")
	e.set(t, "local", "outposts.1.flavors", "[{name: small, displayName: Tiny}, {name: large}]")
	check("local", "outposts:outposts[0].flavors differs from outposts:outpost.flavors: "+
		"it has huge (the outpost: large, small); leave outposts[0].flavors out", true)
	check("remote", "outposts:outpost.flavors differs from the flavors of this system in outposts:outposts of "+
		`organization/outposts/local: displayName of small is "Tiny" (the outpost: "Small"); leave`, true)
}
