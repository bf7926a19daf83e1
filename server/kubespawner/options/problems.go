package options

import (
	"fmt"
	"slices"
	"strings"
)

// problems collects what is wrong with options and names, so that whoever sent them hears of all at once.
type Problems struct {
	Source string // where the options came from, put behind each name: "misc", "profile small"
	List   []string
}

// addf notes a problem of the option (or the part of it) called name.
func (p *Problems) Addf(name, format string, args ...any) {
	if p.Source != "" {
		name += " (" + p.Source + ")"
	}
	p.List = append(p.List, name+": "+fmt.Sprintf(format, args...))
}

// String returns all problems, sorted and separated by semicolons; empty if there are none.
func (p *Problems) String() string {
	list := slices.Clone(p.List)
	slices.Sort(list)
	return strings.Join(slices.Compact(list), "; ")
}
