package kube

import (
	"fmt"
	"slices"
	"strings"
)

// problems collects what is wrong with options and names, so that whoever sent them hears of all at once.
type problems struct {
	source string // where the options came from, put behind each name: "misc", "profile small"
	list   []string
}

// addf notes a problem of the option (or the part of it) called name.
func (p *problems) addf(name, format string, args ...any) {
	if p.source != "" {
		name += " (" + p.source + ")"
	}
	p.list = append(p.list, name+": "+fmt.Sprintf(format, args...))
}

// String returns all problems, sorted and separated by semicolons; empty if there are none.
func (p *problems) String() string {
	list := slices.Clone(p.list)
	slices.Sort(list)
	return strings.Join(slices.Compact(list), "; ")
}
