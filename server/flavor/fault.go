package flavor

import (
	"fmt"
	"strings"
)

// Fault is one thing that is wrong with a flavors or credits file, or that is likely a mistake.
type Fault struct {
	Line int    // 0 for none
	Key  string // "hubs.any-key.weight"
	Text string
}

// Error is the fault with its line.
func (f Fault) Error() string {
	if f.Line == 0 {
		return f.Key + ": " + f.Text
	}
	return fmt.Sprintf("line %d: %s: %s", f.Line, f.Key, f.Text)
}

// Faults is everything that is wrong with a file, in its order.
type Faults []Fault

// Error lists the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, one := range f {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}
