package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What other programs print for people is read here; this is how it looks.
func TestLinesThatAreRead(t *testing.T) {
	const printed = `tools (built once, then cached)                         1 s
stack local                                            34 s
stack remote                                            9 s
SYSTEM  START   ROUTE   REQUEST  KERNEL  REMOVED FROM           VERDICT
local   11.1 s  direct  5 ms     52 ms   hub, cluster, outpost  ok
remote  15.6 s  tunnel  6 ms     520 ms  hub, cluster, outpost  ok
`
	if diff := cmp.Diff([][]string{
		{"stack local                                            34 s", "local", "34"},
		{"stack remote                                            9 s", "remote", "9"},
	}, stackLine.FindAllStringSubmatch(printed, -1)); diff != "" {
		t.Errorf("stacks (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([][]string{
		{"local   11.1 s  direct  5 ms     52 ms ", "local", "11.1", "5", "52"},
		{"remote  15.6 s  tunnel  6 ms     520 ms ", "remote", "15.6", "6", "520"},
	}, verifyLine.FindAllStringSubmatch(printed, -1)); diff != "" {
		t.Errorf("verify (-want +got):\n%s", diff)
	}
}
