//go:build e2e

package main

import (
	"maps"
	"strings"
	"testing"

	"github.com/outposts-dev/outposts/infra/infratest"
)

// TestE2ERotationIsPreviewed holds what the previews of both stacks list of a first up and of each rotation: the
// secrets, the objects that hold them, and what starts again. Every up runs with its preview.
func TestE2ERotationIsPreviewed(t *testing.T) {
	e := newEngine(t)
	var b strings.Builder
	show := func(stack, title string) {
		b.WriteString("== " + title + ": " + stack + "\n" + e.preview(t, stack) + "\n")
	}
	for _, stack := range []string{"local", "remote"} {
		show(stack, "first up")
		e.up(t, stack)
	}
	rotate := func(r rotation, words string) {
		for _, stack := range r.stacks() {
			e.set(t, stack, r.key, words)
		}
	}
	first := maps.Clone(e.configs["local"])
	for _, r := range rotations {
		e.set(t, "local", r.key, r.words)
		show("local", r.secret)
		e.configs["local"] = maps.Clone(first)
	}
	for _, r := range rotations {
		rotate(r, r.words)
		if r.remote {
			e.up(t, "local")
			show("remote", r.secret)
			e.up(t, "remote")
		}
	}
	e.up(t, "local")
	for _, r := range rotations {
		rotate(r, `"2"`)
	}
	for _, stack := range []string{"local", "remote"} {
		show(stack, "without the old words")
		e.up(t, stack)
	}
	for _, stack := range []string{"local", "remote"} {
		show(stack, "nothing to do")
	}
	infratest.Golden(t, "rotation.golden.txt", []byte(b.String()))
}
